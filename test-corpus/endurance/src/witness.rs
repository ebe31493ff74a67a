//! An agent of the harness's own that writes down every acknowledgement. What it holds is its spool:
//! kept until acknowledged, sent again on the next connection.
//!
//! A broken line is expected here; what is not is a collector that asks again for a record which it
//! has acknowledged: that is looked at with every WELCOME.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use canh_event::{Epoch, RecordBatch, RecordSequence, Source, Timestamp};
use canh_wire::{Batch, DEFAULT_LEVEL, Packer, Resume, StreamState};

use crate::conversation::Conversation;
use crate::line;
use crate::oracle::Oracle;

/// Lines of one batch.
const BATCH_LINES: usize = 200;
/// More than the raw bytes of one.
const BATCH_BYTES: usize = 64 << 10;

/// The witness.
pub(crate) struct Witness {
    address: SocketAddr,
    files: PathBuf,
    epoch: Epoch,
    packer: Packer,
    oracle: Arc<Mutex<Oracle>>,
    /// Number and text of each line that is not acknowledged.
    held: VecDeque<(u64, String)>,
    /// Up to which record of the stream it is acknowledged.
    acknowledged: u64,
    /// How many of those held have been sent on this connection.
    sent: usize,
    conversation: Option<Conversation>,
}

impl Witness {
    /// Returns a witness with the certificate in a folder; nothing is connected yet.
    ///
    /// # Errors
    /// No packer can be made.
    pub(crate) fn new(
        address: SocketAddr,
        files: PathBuf,
        epoch: u64,
        oracle: Arc<Mutex<Oracle>>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            address,
            files,
            epoch: Epoch(u128::from(epoch)),
            packer: Packer::try_new(DEFAULT_LEVEL)?,
            oracle,
            held: VecDeque::new(),
            acknowledged: 0,
            sent: 0,
            conversation: None,
        })
    }

    /// Adds a line to what is to be sent.
    pub(crate) fn hold(&mut self, id: u64, text: String) {
        self.held.push_back((id, text));
    }

    /// Returns how many lines are not acknowledged.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Connects, unless it is connected. Returns whether it is now.
    ///
    /// # Errors
    /// The collector's promise is broken.
    pub(crate) fn connect(&mut self) -> anyhow::Result<bool> {
        if self.conversation.is_some() {
            return Ok(true);
        }
        let last = self.acknowledged + self.held.len() as u64;
        let state = StreamState {
            stream: "log".parse()?,
            epoch: self.epoch,
            oldest: RecordSequence(self.acknowledged + 1),
            last: RecordSequence(last),
        };
        let Ok((conversation, resume)) = Conversation::open(self.address, &self.files, state) else {
            return Ok(false);
        };
        match resume {
            Resume::From { next, .. } => {
                let durable = next.0.saturating_sub(1);
                ensure!(
                    durable >= self.acknowledged,
                    "{} was acknowledged, {} is asked for",
                    self.acknowledged,
                    next.0
                );
                self.settle(durable);
            }
            Resume::AfterGap(gap) => bail!("{} was acknowledged, {} is missing", self.acknowledged, gap.from.0),
            Resume::SpoolBehind { durable, .. } => bail!("{last} was sent at most, the collector has {}", durable.0),
        }
        self.sent = 0;
        self.conversation = Some(conversation);
        Ok(true)
    }

    /// Sends what is held and not sent yet, as far as there is room. A line that breaks is let go.
    ///
    /// # Errors
    /// A batch cannot be made.
    pub(crate) fn send(&mut self) -> anyhow::Result<()> {
        while self.sent < self.held.len() && self.conversation.as_ref().is_some_and(|it| it.has_room(BATCH_BYTES)) {
            let count = BATCH_LINES.min(self.held.len() - self.sent);
            let batch = self.batch(self.sent, count)?;
            self.sent += count;
            if self.conversation.as_mut().is_some_and(|it| it.send(batch).is_err()) {
                self.conversation = None;
            }
        }
        Ok(())
    }

    /// Waits for an acknowledgement. Returns whether one came; a line that breaks is let go.
    pub(crate) fn listen(&mut self, patience: Duration) -> bool {
        let Some(conversation) = &mut self.conversation else { return false };
        match conversation.acknowledgement(patience) {
            Ok(Some(durable)) => {
                self.settle(durable.0);
                true
            }
            Ok(None) => false,
            Err(_) => {
                self.conversation = None;
                false
            }
        }
    }

    /// Sends everything held and waits for its acknowledgements, over as many connections as it takes.
    ///
    /// # Errors
    /// It does not succeed in time, or the collector's promise is broken.
    pub(crate) fn drain(&mut self, patience: Duration) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + patience;
        while !self.held.is_empty() {
            ensure!(std::time::Instant::now() < deadline, "{} lines are not acknowledged in time", self.held.len());
            if !self.connect()? {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.send()?;
            self.listen(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Lets the line go, as if the host had been unplugged.
    pub(crate) fn hang_up(&mut self) {
        self.conversation = None;
    }

    fn settle(&mut self, durable: u64) {
        let mut oracle = self.oracle.lock().unwrap_or_else(PoisonError::into_inner);
        while self.acknowledged < durable {
            let Some((id, _)) = self.held.pop_front() else { break };
            oracle.acknowledge(id);
            self.acknowledged += 1;
            self.sent = self.sent.saturating_sub(1);
        }
    }

    fn batch(&mut self, from: usize, count: usize) -> anyhow::Result<Batch> {
        let mut records = RecordBatch::new();
        let (name, host, format) = ("witness".parse()?, Box::from("witness"), "syslog".parse()?);
        let source = records.source(&Source { name, host, format, utc_offset_secs: 0 })?;
        let received: Timestamp = line::now();
        for (_, text) in self.held.iter().skip(from).take(count) {
            records.push(source, received, text.as_bytes())?;
        }
        let first = self.acknowledged + 1 + u64::try_from(from)?;
        let body = self.packer.pack(&records).context("while packing a batch")?;
        let (stream, epoch, count) = ("log".parse()?, self.epoch, u32::try_from(count)?);
        Ok(Batch { stream, epoch, first: RecordSequence(first), count, body })
    }
}
