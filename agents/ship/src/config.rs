//! What a shipper is told: which stream it ships, where it keeps what is not acknowledged, and to
//! whom it goes.

use std::path::PathBuf;
use std::time::Duration;

use canh_event::StreamName;

use crate::priority::WhenFull;

/// A shipper's configuration, checked by the daemon that owns the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipConfig {
    /// The stream: `log` or `flow`.
    pub stream: StreamName,
    /// The daemon's name and version as the collector is told, such as `canh-log-agent 0.1.0`;
    /// cut at 63 bytes.
    pub software: String,
    /// Where records wait until they are acknowledged. Made if it is not there.
    pub spool_dir: PathBuf,
    /// Most bytes on disk that may wait; past it records of low priority are dropped, oldest first, and
    /// then `when_full` says what becomes of the rest.
    pub spool_max_bytes: u64,
    /// What a full spool does with records of normal and high priority.
    pub when_full: WhenFull,
    /// How often the agent states its account, while there is news.
    pub account_interval: Duration,
    /// How long after a failover the collectors before the one in use are tried again.
    pub fail_back: Duration,
    /// The collectors as `host:port`, in the order they are tried.
    pub collectors: Vec<String>,
    /// The name that the collector's certificate must hold.
    pub server_name: String,
    /// PEM file of the CA that the collector's certificate must be of.
    pub ca: PathBuf,
    /// PEM file of the agent's certificate. It and the key are read again for every connection,
    /// so that renewed ones are taken up.
    pub certificate: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
    /// How long to wait between connections.
    pub retry: RetryPolicy,
}

/// How long to wait before the next connection: at random up to `first`, and after each round of
/// failures up to twice as long as before, at most up to `longest`.
///
/// At random, so that ten thousand agents do not come back in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Longest wait after the first failure.
    pub first: Duration,
    /// Longest wait after any number of failures.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}
