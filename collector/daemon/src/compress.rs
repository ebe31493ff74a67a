//! Compresses the journal's full segments, one after another, on a thread of the lowest priority. It
//! shares nothing with the thread that commits but a short list, so an acknowledgement never waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use canh_journal::{JournalError, Segments};

use crate::metrics::Metrics;

/// How often to look for a segment that has become full.
const TICK: Duration = Duration::from_secs(1);
/// How long to wait after a failure, such as a full disk: what is not compressed is only longer.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// The lowest priority there is (nice(2)).
const NICE: i32 = 19;

/// Compresses segments until the sender of `stop` is dropped.
pub(crate) fn run(segments: &Segments, metrics: &Metrics, stop: &Receiver<()>) {
    // On Linux a priority is the thread's own; a kernel that refuses to lower it is no reason to stop.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the compressing thread keeps its priority");
    }
    let mut pause = Duration::ZERO;
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
        let go_on = || matches!(stop.try_recv(), Err(TryRecvError::Empty));
        pause = match segments.compress_next(&go_on) {
            Ok(Some(_)) => {
                metrics.journal_compressions.with_label_values(&["done"]).inc();
                Duration::ZERO
            }
            Ok(None) => TICK,
            Err(error) => {
                metrics.journal_compressions.with_label_values(&["failed"]).inc();
                let error: &JournalError = &error;
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "segment stays uncompressed, tried again later"
                );
                AFTER_FAILURE
            }
        };
    }
}
