//! Who is on the other side of a connection: what the kernel vouches for, nothing a client says.

use canh_incident::Actor;

use crate::api::users;

/// The user of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    uid: u32,
    name: String,
}

impl Peer {
    /// Returns the user with a number.
    pub(crate) fn of_uid(uid: u32) -> Self {
        Self { uid, name: users::name_of(uid) }
    }

    /// Returns the user's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user as the ledger writes it.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User { name: self.name.clone(), uid: Some(self.uid) }
    }
}
