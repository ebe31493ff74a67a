//! The threads of the daemon, and the channels between them.
//!
//! A room that fails, panics or merely ends brings the daemon down: without any one of them the
//! others would only seem to work.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use canh_service::exit::report;
use canh_service::signals::ShutdownTrigger;

use crate::passage::{Matched, Read};

/// Records that may wait between two rooms, for each matcher. A record has up to 4,096 events.
const MAX_RECORDS_WAITING: usize = 2;

/// The threads.
pub(crate) struct Rooms {
    daemon: &'static str,
    trigger: ShutdownTrigger,
    threads: Vec<(String, JoinHandle<anyhow::Result<()>>)>,
}

/// The channels before and after the matchers, one of each kind a matcher.
pub(crate) struct Channels {
    pub(crate) read_in: Vec<SyncSender<Read>>,
    pub(crate) read_out: Vec<Receiver<Read>>,
    pub(crate) matched_in: Vec<SyncSender<Matched>>,
    pub(crate) matched_out: Vec<Receiver<Matched>>,
}

/// Asks for the end when a room ends, in whatever way.
struct EndsDaemon(ShutdownTrigger);

impl Drop for EndsDaemon {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Channels {
    /// Returns the channels for so many matchers.
    pub(crate) fn new(matchers: usize) -> Self {
        let (read_in, read_out) = (0..matchers).map(|_| sync_channel(MAX_RECORDS_WAITING)).unzip();
        let (matched_in, matched_out) = (0..matchers).map(|_| sync_channel(MAX_RECORDS_WAITING)).unzip();
        Self { read_in, read_out, matched_in, matched_out }
    }
}

impl Rooms {
    /// Returns a house without rooms.
    pub(crate) fn new(daemon: &'static str, trigger: ShutdownTrigger) -> Self {
        Self { daemon, trigger, threads: Vec::new() }
    }

    /// Starts a room.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn spawn(
        &mut self,
        name: &str,
        room: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let ends_daemon = EndsDaemon(self.trigger.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ends_daemon = ends_daemon;
            room()
        });
        self.threads.push((name.to_owned(), thread.with_context(|| format!("while starting the thread {name}"))?));
        Ok(())
    }

    /// Waits for all rooms to end.
    ///
    /// # Errors
    /// The first failure; the others are printed.
    pub(crate) fn join(self) -> anyhow::Result<()> {
        let mut first = Ok(());
        for (name, thread) in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(anyhow!("the thread {name} panicked")));
            match (&first, ended) {
                (Ok(()), ended) => first = ended,
                (Err(_), Err(error)) => report(self.daemon, error.as_ref()),
                (Err(_), Ok(())) => {}
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use canh_service::signals::Shutdown;

    #[test]
    fn a_room_that_fails_or_panics_ends_the_daemon_and_is_named() {
        let (trigger, shutdown) = Shutdown::new();
        let mut rooms = Rooms::new("canh-test", trigger);
        let other = shutdown.clone();
        rooms
            .spawn("waits", move || {
                while !other.is_requested() {
                    thread::yield_now();
                }
                Ok(())
            })
            .unwrap();
        rooms.spawn("breaks", || panic!("as asked")).unwrap();
        let error = rooms.join().unwrap_err();
        assert!(shutdown.is_requested());
        assert_eq!(error.to_string(), "the thread breaks panicked");
    }
}
