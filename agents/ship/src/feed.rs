//! Reads the spool for a connection: parts in order, from a sequence on, as they come in.
//!
//! Comes in: the spool's directory, a place to start. Goes out: parts with their sequences; at the
//! end it waits for more. Files are read on a blocking thread, a megabyte or so at a time.

use std::collections::VecDeque;
use std::path::Path;

use canh_event::RecordSequence;
use canh_journal::{Lsn, ReadError, Reader};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::parts::{TrimError, trim};
use crate::spooled::{KIND_RECORDS, Part, SpooledBatch};

/// How much is read ahead of the connection, packed.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// The spool cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    /// The journal under it cannot be read.
    #[error("the spool cannot be read")]
    Read(#[from] ReadError),
    /// A part cannot be cut to what the collector has not got.
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
}

/// Reads the spool.
#[derive(Debug)]
struct SpoolReader {
    reader: Reader,
    /// What comes before is not wanted.
    wanted: RecordSequence,
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

impl SpoolReader {
    fn open(dir: &Path, place: Lsn, wanted: RecordSequence) -> Result<Self, FeedError> {
        let mut reader = Reader::open(dir)?;
        reader.seek(place)?;
        Ok(Self { reader, wanted })
    }

    /// Reads some parts; none if there is nothing more yet.
    fn read(&mut self) -> Result<Vec<Piece>, FeedError> {
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while bytes < READ_AHEAD_BYTES {
            let Some(batch) = self.next_batch()? else { break };
            let mut first = batch.first;
            for part in batch.parts {
                let piece = Piece { first, part };
                first = piece.next();
                if let Some(piece) = self.wanted_of(piece)? {
                    bytes += piece.part.packed.bytes().len();
                    self.wanted = piece.next();
                    pieces.push(piece);
                }
            }
        }
        Ok(pieces)
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
        Ok(Some(Piece { first: self.wanted, part: trim(&piece.part, skip)? }))
    }

    /// Returns the next batch that can be read. What cannot is logged here, and reported as a gap
    /// when the next one that can does not follow.
    fn next_batch(&mut self) -> Result<Option<SpooledBatch>, FeedError> {
        loop {
            match self.reader.next() {
                Ok(Some(entry)) if entry.kind == KIND_RECORDS => match SpooledBatch::decode(entry.body) {
                    Ok(batch) => return Ok(Some(batch)),
                    Err(error) => error!(lsn = %entry.lsn, %error, "spooled batch cannot be read"),
                },
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(ReadError::Damaged(damage)) => {
                    error!(from = %damage.from, to = %damage.to, "spool is damaged");
                    self.reader.skip_damage();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Feed {
    /// Opens a feed that begins with `wanted`, to be found from `place` on.
    ///
    /// Reads from disk: call it on a blocking thread.
    pub(crate) fn open(
        dir: &Path,
        place: Lsn,
        wanted: RecordSequence,
        spooled: watch::Receiver<RecordSequence>,
    ) -> Result<Self, FeedError> {
        let reader = SpoolReader::open(dir, place, wanted)?;
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
                self.spooled.mark_unchanged();
                self.reading = Some(tokio::task::spawn_blocking(move || {
                    let read = reader.read();
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
