//! Who is connected with which certificate: to cut off whoever is revoked, and to notice two of one kind.
//!
//! A certificate belongs to one machine. Two connections of it may be open at a time, for a line that was
//! lost is noticed late; a third is refused. Signs of a copied key: two open connections from two
//! addresses, and a boot id that comes back after another one (a machine never returns to an earlier boot).
//! Bounds: connections are bounded elsewhere, and so many certificates are remembered after they have left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use canh_event::AgentId;
use canh_wire::Nack;
use canh_wire::tls::AgentIdentity;

use crate::streams::SessionSignal;

/// Open connections of one certificate: the one in use, and one that has lost its line.
pub(crate) const MAX_CONNECTIONS_PER_CERTIFICATE: usize = 2;
/// Certificates remembered that nobody is connected with.
const MAX_REMEMBERED: usize = 16_384;
/// Boots remembered of a certificate.
const MAX_BOOTS: usize = 4;

/// Who is connected.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    here: HashMap<u64, Here>,
    certificates: HashMap<Key, Certificate>,
}

/// Which certificate: serial numbers are unique to a CA, and there may be several CAs.
type Key = (AgentId, Box<str>);

#[derive(Debug)]
struct Here {
    who: AgentIdentity,
    signal: Arc<SessionSignal>,
}

#[derive(Debug, Default)]
struct Certificate {
    open: Vec<(u64, IpAddr)>,
    /// The latest last.
    boots: Vec<u128>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    presence: Arc<Presence>,
    id: u64,
    certificate: Key,
    /// The address of an open connection of the same certificate, if it is another one.
    pub(crate) elsewhere: Option<IpAddr>,
}

/// As many connections of the certificate are open as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Presence {
    /// Counts a connection in.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn enter(
        self: &Arc<Self>,
        who: &AgentIdentity,
        peer: IpAddr,
        signal: &Arc<SessionSignal>,
    ) -> Result<Place, TooMany> {
        let mut inner = self.lock();
        if inner.certificates.len() >= MAX_REMEMBERED + inner.here.len() {
            inner.certificates.retain(|_, certificate| !certificate.open.is_empty());
        }
        let id = inner.next;
        let certificate = inner.certificates.entry(key_of(who)).or_default();
        if certificate.open.len() >= MAX_CONNECTIONS_PER_CERTIFICATE {
            return Err(TooMany);
        }
        let elsewhere = certificate.open.iter().map(|(_, address)| *address).find(|address| *address != peer);
        certificate.open.push((id, peer));
        inner.next += 1;
        inner.here.insert(id, Here { who: who.clone(), signal: Arc::clone(signal) });
        Ok(Place { presence: Arc::clone(self), id, certificate: key_of(who), elsewhere })
    }

    /// Notes the boot id a certificate's machine says; true if it was another in between.
    pub(crate) fn note_boot(&self, who: &AgentIdentity, boot: u128) -> bool {
        let mut inner = self.lock();
        let Some(certificate) = inner.certificates.get_mut(&key_of(who)) else { return false };
        if certificate.boots.last() == Some(&boot) {
            return false;
        }
        let is_back = certificate.boots.contains(&boot);
        if certificate.boots.len() >= MAX_BOOTS {
            certificate.boots.remove(0);
        }
        certificate.boots.push(boot);
        is_back
    }

    /// Ends every session of somebody `is_out` says yes to; returns how many were not ending yet.
    pub(crate) fn cut(&self, nack: &Nack, is_out: impl Fn(&AgentIdentity) -> bool) -> usize {
        let inner = self.lock();
        let out = inner.here.values().filter(|here| is_out(&here.who));
        out.filter(|here| here.signal.sever(nack.clone())).count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.presence.lock();
        inner.here.remove(&self.id);
        if let Some(certificate) = inner.certificates.get_mut(&self.certificate) {
            certificate.open.retain(|(id, _)| *id != self.id);
        }
    }
}

fn key_of(who: &AgentIdentity) -> Key {
    (who.agent.clone(), who.serial.clone())
}

#[cfg(test)]
mod tests {
    use canh_event::Timestamp;
    use canh_wire::{Fingerprint, NackCode};

    use super::*;

    fn who(serial: &str) -> AgentIdentity {
        AgentIdentity {
            agent: "web-01".parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            serial: serial.into(),
            not_before: Timestamp::EPOCH,
            not_after: Timestamp::EPOCH,
            key: Fingerprint::of(b""),
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_stolen_key_gets_no_third_connection_and_shows_itself() {
        let (presence, signal) = (Arc::new(Presence::default()), Arc::default());
        let own = presence.enter(&who("01"), address(1), &signal).unwrap();
        assert_eq!(own.elsewhere, None);
        let copy = presence.enter(&who("01"), address(2), &signal).unwrap();
        assert_eq!(copy.elsewhere, Some(address(1)));
        assert_eq!(presence.enter(&who("01"), address(1), &signal).unwrap_err(), TooMany);
        assert!(presence.enter(&who("02"), address(1), &signal).is_ok(), "other certificates are not affected");
        drop(own);
        assert!(presence.enter(&who("01"), address(2), &signal).unwrap().elsewhere.is_none());
    }

    #[test]
    fn a_boot_that_comes_back_is_another_machine() {
        let (presence, signal) = (Arc::new(Presence::default()), Arc::default());
        let place = presence.enter(&who("01"), address(1), &signal).unwrap();
        assert!(!presence.note_boot(&who("01"), 7) && !presence.note_boot(&who("01"), 7));
        drop(place);
        let _place = presence.enter(&who("01"), address(1), &signal).unwrap();
        assert!(!presence.note_boot(&who("01"), 8), "rebooted");
        assert!(presence.note_boot(&who("01"), 7) && presence.note_boot(&who("01"), 8));
        (0..100).for_each(|boot| assert!(boot < 8 || !presence.note_boot(&who("01"), boot + 100)));
        assert!(presence.lock().certificates[&key_of(&who("01"))].boots.len() <= MAX_BOOTS);
    }

    #[test]
    fn only_who_is_out_is_cut_off() {
        let presence = Arc::new(Presence::default());
        let (first, second) = (Arc::new(SessionSignal::default()), Arc::new(SessionSignal::default()));
        let _first = presence.enter(&who("01"), address(1), &first).unwrap();
        let _second = presence.enter(&who("02"), address(1), &second).unwrap();
        let nack = Nack { code: NackCode::Revoked, retry_after: std::time::Duration::ZERO, place: None };
        assert_eq!(presence.cut(&nack, |who| &*who.serial == "01"), 1);
        assert_eq!(presence.cut(&nack, |who| &*who.serial == "01"), 0, "once is enough");
        assert_eq!((first.verdict(), second.verdict()), (Some(nack), None));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (presence, signal) = (Arc::new(Presence::default()), Arc::default());
        for number in 0..2 * MAX_REMEMBERED {
            drop(presence.enter(&who(&number.to_string()), address(1), &signal).unwrap());
        }
        assert!(presence.lock().certificates.len() <= MAX_REMEMBERED + 1);
    }
}
