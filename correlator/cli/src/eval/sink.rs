//! Where the source puts blocks: each judge gets one in turn, so that what comes of them can be
//! collected in turn.

use std::sync::mpsc::{Receiver, SyncSender};

use crate::eval::block::{Block, Load};

/// Where blocks go: to each judge in turn.
#[derive(Debug)]
pub(super) struct Sink {
    judges: Vec<SyncSender<Block>>,
    next: usize,
    file: usize,
    spent: Receiver<Vec<u8>>,
    is_closed: bool,
}

impl Sink {
    /// Returns a sink to these judges, which takes buffers back from `spent`.
    pub(super) fn new(judges: Vec<SyncSender<Block>>, spent: Receiver<Vec<u8>>) -> Self {
        Self { judges, next: 0, file: 0, spent, is_closed: false }
    }

    /// Says which file the next blocks are of, by its place on the command line.
    pub(super) fn begin_file(&mut self, file: usize) {
        self.file = file;
    }

    /// Sends a block on; waits while the judge is busy. If nobody listens any more, nothing is sent.
    pub(super) fn send(&mut self, load: Load) {
        let block = Block { file: self.file, load };
        let judge = self.judges.get(self.next);
        self.is_closed |= judge.is_none_or(|judge| judge.send(block).is_err());
        self.next = (self.next + 1) % self.judges.len().max(1);
    }

    /// Returns whether nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns an empty buffer, one that was used before if there is any.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = self.spent.try_recv().unwrap_or_default();
        buffer.clear();
        buffer
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> (Self, Receiver<Block>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1_024);
        (Self::new(vec![sender], std::sync::mpsc::channel().1), receiver)
    }
}
