//! Hash-chained records: a journal in which no record can be changed, taken out or put in without
//! every later hash saying so.
//!
//! ```text
//! body of record n:  SHA-256(hash of record n-1 │ payload) 32 bytes │ payload
//! before the first:  32 zero bytes
//! ```
//!
//! A checksum finds what a disk breaks; the chain finds what a hand changes, unless it also writes
//! every later record anew. Whoever keeps an older head elsewhere ([`ChainReport::head`]) sees
//! that too, and sees an end that was cut off.

use std::path::Path;

use ring::digest::{Context, SHA256};

use crate::fs::{DiskFs, Fs};
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::options::JournalOptions;
use crate::reader::{ReadError, Reader};
use crate::recovery::{Damage, Recovery};
use crate::segment::JournalError;

/// Bytes of a record's hash.
pub const CHAIN_HASH_BYTES: usize = 32;

/// The hash of a record and of all before it.
pub type ChainHash = [u8; CHAIN_HASH_BYTES];

/// The hash before the first record.
const GENESIS: ChainHash = [0; CHAIN_HASH_BYTES];

/// A chain that cannot be opened or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The journal cannot be opened or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The last record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The last record is too short to hold a hash: the journal is no chain.
    #[error("record {lsn} holds no hash")]
    NoHash {
        /// Its place.
        lsn: Lsn,
    },
}

/// A journal whose records are chained.
#[derive(Debug)]
pub struct Chain<F: Fs = DiskFs> {
    journal: Journal<F>,
    head: ChainHash,
    /// Kept so that an append does not allocate.
    body: Vec<u8>,
}

/// Why a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainBreak {
    /// The record's hash is not that of its payload and the record before.
    Hash {
        /// Its place.
        lsn: Lsn,
    },
    /// Records are lost.
    Lost(Damage),
}

/// What walking a chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// How many records were read.
    pub records: u64,
    /// The first record kept.
    pub first: Option<Lsn>,
    /// The last record read.
    pub last: Option<Lsn>,
    /// The hash of the last record.
    pub head: ChainHash,
    /// The first break, if there is one. Reading stopped there.
    pub broken: Option<ChainBreak>,
}

impl Chain {
    /// Opens the chain in a directory, or makes one.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Recovery), ChainError> {
        let (journal, recovery) = Journal::open(dir, options)?;
        Ok((Self::resume(journal)?, recovery))
    }
}

impl<F: Fs> Chain<F> {
    /// Goes on with the chain in a journal just opened; an empty one begins it.
    ///
    /// # Errors
    /// [`ChainError`].
    ///
    /// # Contract
    /// Nothing has been appended to the journal since it was opened.
    pub fn resume(journal: Journal<F>) -> Result<Self, ChainError> {
        let mut head = GENESIS;
        if let Some(lsn) = journal.durable() {
            let mut reader = Reader::open_on(journal.fs().clone(), journal.dir())?;
            reader.seek(lsn)?;
            if let Some(entry) = reader.next()? {
                head = *split_chained(entry.body).ok_or(ChainError::NoHash { lsn })?.0;
            }
        }
        Ok(Self { journal, head, body: Vec::new() })
    }

    /// Appends a payload and returns its place; it is durable once [`Chain::sync`] has returned
    /// that place or a later one.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Lsn, JournalError> {
        let hash = link(&self.head, payload);
        self.body.clear();
        self.body.extend_from_slice(&hash);
        self.body.extend_from_slice(payload);
        let lsn = self.journal.append(kind, &self.body)?;
        self.head = hash;
        Ok(lsn)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// As [`Journal::sync`].
    pub fn sync(&mut self) -> Result<Lsn, JournalError> {
        self.journal.sync()
    }

    /// Returns the hash of the last record.
    pub fn head(&self) -> &ChainHash {
        &self.head
    }

    /// Returns the journal under the chain, to look at.
    pub fn journal(&self) -> &Journal<F> {
        &self.journal
    }
}

/// Splits a chained record's body into its hash and its payload; nothing if it is too short.
pub fn split_chained(body: &[u8]) -> Option<(&ChainHash, &[u8])> {
    body.split_first_chunk::<CHAIN_HASH_BYTES>()
}

/// Walks the chain in a directory from its first record to its last.
///
/// If older records have been dropped, the first one kept is taken at its word.
///
/// # Errors
/// [`ReadError`], but for damage, which is in the report.
pub fn verify_chain(dir: &Path) -> Result<ChainReport, ReadError> {
    verify_chain_on(DiskFs, dir)
}

/// Walks a chain on a given file system.
///
/// # Errors
/// As [`verify_chain`].
pub fn verify_chain_on<F: Fs>(fs: F, dir: &Path) -> Result<ChainReport, ReadError> {
    let mut reader = Reader::open_on(fs, dir)?;
    let mut report = ChainReport::default();
    let mut previous = (reader.position() == Lsn::FIRST).then_some(GENESIS);
    loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok(report),
            Err(ReadError::Damaged(damage)) => {
                report.broken = Some(ChainBreak::Lost(damage));
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        let chained = split_chained(entry.body);
        let holds = |(hash, payload): &(&ChainHash, &[u8])| previous.is_none_or(|head| link(&head, payload) == **hash);
        let Some((hash, _)) = chained.filter(holds) else {
            report.broken = Some(ChainBreak::Hash { lsn: entry.lsn });
            return Ok(report);
        };
        previous = Some(*hash);
        report.records += 1;
        report.first.get_or_insert(entry.lsn);
        report.last = Some(entry.lsn);
        report.head = *hash;
    }
}

fn link(previous: &ChainHash, payload: &[u8]) -> ChainHash {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(payload);
    let mut hash = GENESIS;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests;
