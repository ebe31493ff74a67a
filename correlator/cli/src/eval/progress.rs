//! How far the work is, on stderr if that is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it is said.
const EVERY: Duration = Duration::from_millis(200);

/// A line that is written over and over.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    read_bytes: Arc<AtomicU64>,
    total_bytes: Option<u64>,
    begun: Instant,
    said: Option<Instant>,
}

impl Progress {
    /// Returns a line on so many bytes; silent if nobody watches or wants it.
    pub(super) fn new(read_bytes: Arc<AtomicU64>, total_bytes: Option<u64>, is_wanted: bool) -> Self {
        let is_shown = is_wanted && std::io::stderr().is_terminal();
        Self { is_shown, read_bytes, total_bytes, begun: Instant::now(), said: None }
    }

    /// Says how far the work is, if it is time to.
    pub(super) fn show(&mut self, events: u64, hits: u64) {
        let is_due = self.said.unwrap_or(self.begun).elapsed() >= EVERY;
        if !self.is_shown || !is_due {
            return;
        }
        self.said = Some(Instant::now());
        let read = self.read_bytes.load(Ordering::Relaxed);
        let line = line(read, self.total_bytes, self.begun.elapsed(), events, hits);
        // Nobody is left to tell when stderr itself is gone.
        let _ = write!(std::io::stderr().lock(), "\r{line}\x1b[K");
    }

    /// Takes the line away, so that something else can be said.
    pub(super) fn clear(&mut self) {
        if self.said.take().is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(read: u64, total: Option<u64>, took: Duration, events: u64, hits: u64) -> String {
    let share = total.filter(|total| *total > 0).map_or(String::new(), |total| {
        // Reading runs ahead of judging by a few blocks, and a file may grow.
        format!("{:3} %  ", (u128::from(read) * 100 / u128::from(total)).min(100))
    });
    let seconds = took.as_secs_f64().max(1e-9);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = events as f64 / seconds;
    format!("{share}{} MB  {events} events  {rate:.0}/s  {hits} hits", read / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_said_where_the_whole_is_known() {
        let second = Duration::from_secs(2);
        assert_eq!(line(5_000_000, Some(20_000_000), second, 100, 3), " 25 %  5 MB  100 events  50/s  3 hits");
        assert_eq!(line(30, Some(20), second, 1, 0), "100 %  0 MB  1 events  0/s  0 hits");
        assert_eq!(line(5_000_000, None, second, 100, 3), "5 MB  100 events  50/s  3 hits");
    }
}
