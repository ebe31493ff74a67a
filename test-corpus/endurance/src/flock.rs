//! What the agents of a herd share, and what they are called.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use canh_wire::Packer;

/// What all members share.
#[derive(Debug)]
pub(crate) struct Flock {
    pub(crate) collector: SocketAddr,
    pub(crate) agents: u64,
    pub(crate) packer: Mutex<Packer>,
    pub(crate) is_sending: AtomicBool,
    pub(crate) connected: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    /// Connections that did not come about or broke.
    pub(crate) failures: AtomicU64,
    pub(crate) broken: Mutex<Option<String>>,
}

impl Flock {
    /// Notes a broken promise.
    pub(crate) fn complain(&self, text: String) {
        if let Ok(mut broken) = self.broken.lock() {
            broken.get_or_insert(text);
        }
    }
}

/// Returns the folder of an agent's certificate.
pub(crate) fn folder_of(certificates: &Path, number: u64) -> PathBuf {
    certificates.join(name_of(number))
}

/// Returns an agent's name.
pub(crate) fn name_of(number: u64) -> String {
    format!("agent-{number:05}")
}
