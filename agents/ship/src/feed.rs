//! Reads the spool for a connection: parts in order, from a sequence on, as they come in.
//!
//! Comes in: the spool's directory, a place to start, what the collector takes in one frame. Goes out:
//! parts with their sequences, whichever journal they are in; at the end it waits for more. Files are
//! read on a blocking thread, a megabyte or so at a time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use canh_event::{RecordSequence, SourceAccount};
use canh_journal::{Lsn, ReadError, Reader};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::lane::lane_dir;
use crate::parts::{FrameLimits, TrimError, split, trim};
use crate::priority::Priority;
use crate::spooled::{KIND_RECORDS, Part, SpooledBatch};

/// How much is read ahead of the connection, packed.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// The spool cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    /// The journal under it cannot be read.
    #[error("the spool cannot be read")]
    Read(#[from] ReadError),
    /// A part cannot be cut to what the collector has not got, or takes.
    #[error("a spooled batch cannot be cut")]
    Trim(#[from] TrimError),
    /// The thread that reads has panicked.
    #[error("reading the spool has panicked")]
    Panicked,
}

/// A part with its place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) first: RecordSequence,
    pub(crate) part: Part,
    /// What the sources of its batch have produced, if it is the last of the batch.
    pub(crate) closes: Option<Arc<[SourceAccount]>>,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub(crate) struct FeedStart {
    pub(crate) dir: PathBuf,
    /// From where on to look in each journal there is.
    pub(crate) places: Vec<(Priority, Lsn)>,
    /// The first record wanted.
    pub(crate) wanted: RecordSequence,
    pub(crate) limits: FrameLimits,
}

/// Reads one journal of the spool.
#[derive(Debug)]
struct LaneReader {
    reader: Reader,
    /// Its next batch, read and not handed over.
    ahead: Option<SpooledBatch>,
}

/// Reads the spool.
#[derive(Debug)]
struct SpoolReader {
    dir: PathBuf,
    /// A journal that is not there yet may come.
    lanes: [Option<LaneReader>; 3],
    /// What comes before is not wanted.
    wanted: RecordSequence,
    limits: FrameLimits,
}

type Read = (SpoolReader, Result<Vec<Piece>, FeedError>);

/// Hands out parts as they are spooled.
#[derive(Debug)]
pub(crate) struct Feed {
    reader: Option<SpoolReader>,
    reading: Option<JoinHandle<Read>>,
    ready: VecDeque<Piece>,
    spooled: watch::Receiver<RecordSequence>,
}

impl Piece {
    /// Returns the sequence after its last record.
    pub(crate) fn next(&self) -> RecordSequence {
        RecordSequence(self.first.0.saturating_add(u64::from(self.part.count)))
    }
}

impl LaneReader {
    /// Opens the journal of a priority; nothing if there is none yet.
    fn open(spool: &Path, priority: Priority, place: Option<Lsn>) -> Result<Option<Self>, FeedError> {
        let dir = lane_dir(spool, priority);
        if place.is_none() && !dir.is_dir() {
            return Ok(None);
        }
        let mut reader = match Reader::open(&dir) {
            Err(ReadError::NoJournal { .. }) => return Ok(None),
            opened => opened?,
        };
        if let Some(place) = place {
            match reader.seek(place) {
                // The reader stands at the oldest, which is right behind what was dropped.
                Err(ReadError::Dropped { .. }) => {}
                sought => sought?,
            }
        }
        Ok(Some(Self { reader, ahead: None }))
    }

    /// Looks for the next batch that can be read. What cannot is logged here, and reported as a gap
    /// when the next one that can does not follow.
    fn look_ahead(&mut self) -> Result<Option<&SpooledBatch>, FeedError> {
        while self.ahead.is_none() {
            match self.reader.next() {
                Ok(Some(entry)) if entry.kind == KIND_RECORDS => match SpooledBatch::decode(entry.body) {
                    // Cursors and figures alone are nothing to send.
                    Ok(batch) if batch.parts.is_empty() => {}
                    Ok(batch) => self.ahead = Some(batch),
                    Err(error) => error!(lsn = %entry.lsn, %error, "spooled batch cannot be read"),
                },
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(ReadError::Damaged(damage)) => {
                    error!(from = %damage.from, to = %damage.to, "spool is damaged");
                    self.reader.skip_damage();
                }
                Err(ReadError::Dropped { oldest, .. }) => self.reader.seek(oldest)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.ahead.as_ref())
    }
}

impl SpoolReader {
    fn open(start: FeedStart) -> Result<Self, FeedError> {
        let FeedStart { dir, places, wanted, limits } = start;
        let mut lanes = [None, None, None];
        for (lane, priority) in lanes.iter_mut().zip(Priority::ALL) {
            if let Some((_, place)) = places.iter().find(|(known, _)| *known == priority) {
                *lane = LaneReader::open(&dir, priority, Some(*place))?;
            }
        }
        Ok(Self { dir, lanes, wanted, limits })
    }

    /// Reads some parts up to a record that is spooled; none if there is nothing more yet.
    fn read(&mut self, spooled: RecordSequence) -> Result<Vec<Piece>, FeedError> {
        for (lane, priority) in self.lanes.iter_mut().zip(Priority::ALL) {
            if lane.is_none() {
                *lane = LaneReader::open(&self.dir, priority, None)?;
            }
        }
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while bytes < READ_AHEAD_BYTES {
            let Some(batch) = self.next_batch(spooled)? else { break };
            bytes += self.take_apart(batch, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Returns the next batch of all journals. Up to `spooled` everything was durable before the journals
    /// are looked at, so a lower sequence cannot turn up later.
    fn next_batch(&mut self, spooled: RecordSequence) -> Result<Option<SpooledBatch>, FeedError> {
        let mut least: Option<(RecordSequence, usize)> = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(lane) = lane
                && let Some(batch) = lane.look_ahead()?
                && batch.first <= spooled
                && least.is_none_or(|(first, _)| batch.first < first)
            {
                least = Some((batch.first, index));
            }
        }
        let lane = least.and_then(|(_, index)| self.lanes.get_mut(index)).and_then(Option::as_mut);
        Ok(lane.and_then(|lane| lane.ahead.take()))
    }

    /// Takes a batch apart into what is wanted of it, in frames the collector takes; returns how many
    /// bytes they have.
    fn take_apart(&mut self, batch: SpooledBatch, pieces: &mut Vec<Piece>) -> Result<usize, FeedError> {
        let (mut first, mut bytes, before) = (batch.first, 0, pieces.len());
        for part in batch.parts {
            let piece = Piece { first, part, closes: None };
            first = piece.next();
            let Some(piece) = self.wanted_of(piece)? else { continue };
            self.wanted = piece.next();
            let mut first = piece.first;
            for part in split(piece.part, self.limits)? {
                let piece = Piece { first, part, closes: None };
                first = piece.next();
                bytes += piece.part.packed_len();
                pieces.push(piece);
            }
        }
        if let Some(last) = pieces.get_mut(before..).and_then(<[Piece]>::last_mut) {
            last.closes = Some(batch.tallies.into_iter().map(|tally| tally.account).collect());
        }
        Ok(bytes)
    }

    /// Cuts a piece to what is wanted of it.
    fn wanted_of(&self, piece: Piece) -> Result<Option<Piece>, FeedError> {
        if piece.next() <= self.wanted {
            return Ok(None);
        }
        let skip = self.wanted.0.saturating_sub(piece.first.0);
        let Some(skip) = u32::try_from(skip).ok().filter(|skip| *skip > 0) else {
            return Ok(Some(piece));
        };
        Ok(Some(Piece { first: self.wanted, part: trim(&piece.part, skip)?, closes: None }))
    }
}

impl Feed {
    /// Opens a feed.
    ///
    /// Reads from disk: call it on a blocking thread.
    pub(crate) fn open(start: FeedStart, spooled: watch::Receiver<RecordSequence>) -> Result<Self, FeedError> {
        let reader = SpoolReader::open(start)?;
        Ok(Self { reader: Some(reader), reading: None, ready: VecDeque::new(), spooled })
    }

    /// Returns the next part, as soon as there is one. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Piece, FeedError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(piece);
            }
            if let Some(mut reader) = self.reader.take() {
                // What is spooled from here on is seen as a change.
                let spooled = *self.spooled.borrow_and_update();
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    let read = reader.read(spooled);
                    (reader, read)
                }));
            }
            let Some(reading) = &mut self.reading else { return Err(FeedError::Panicked) };
            let joined = reading.await;
            self.reading = None;
            let (reader, read) = joined.map_err(|_| FeedError::Panicked)?;
            self.reader = Some(reader);
            self.ready.extend(read?);
            if self.ready.is_empty() && self.spooled.changed().await.is_err() {
                // Whoever spools is gone; so is, soon, whoever waits here.
                std::future::pending::<()>().await;
            }
        }
    }
}
