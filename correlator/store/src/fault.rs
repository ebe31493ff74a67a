//! What sled can do wrong.

use std::io;

/// What sled did wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SledFault {
    /// It said so.
    #[error(transparent)]
    Said(#[from] sled::Error),
    /// It panicked.
    #[error("sled panicked while it was opened")]
    Panicked,
    /// It did not come back.
    #[error("sled did not open within {secs} s")]
    TimedOut {
        /// The deadline.
        secs: u64,
    },
    /// No thread could be made for it.
    #[error("no thread to open sled on")]
    NoThread(#[source] io::Error),
}
