//! The durable mark: how far a journal is surely on disk, for readers in other processes.
//!
//! The writer overwrites it after every sync, without a sync of its own: after a power cut it may
//! be older than the log, never newer. So what it names was once on disk, and if it is gone now,
//! it was lost: the mark tells a torn tail from damage where the log alone cannot.
//!
//! ```text
//! two slots (slots.rs) of: uuid 16 │ durable lsn u64 │ its segment's first lsn u64 │ end offset u64
//! ```

use std::path::{Path, PathBuf};

use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::lsn::Lsn;
use crate::slots::{SlotFile, read_shared};

const FILE_NAME: &str = "durable";
/// A page for each slot: what the system writes back as one does not hold both.
const STRIDE: u64 = 4_096;

/// No journal comes this far, at a million records a second not in 290,000 years. A mark beyond it is
/// forged, and behind it places would come to their end.
const LAST_PLACE: Lsn = Lsn(u64::MAX >> 1);

/// How far a journal is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) uuid: [u8; 16],
    /// The last record that is on disk, [`Lsn::ZERO`] if there is none.
    pub(crate) durable: Lsn,
    /// The segment being written.
    pub(crate) segment: Lsn,
    /// Where in it the durable bytes end.
    pub(crate) end: u64,
}

/// The mark as its writer has it.
#[derive(Debug)]
pub(crate) struct MarkWriter<H> {
    slots: SlotFile<H>,
}

/// The mark as its readers have it.
#[derive(Debug)]
pub(crate) struct MarkReader<H> {
    file: H,
    path: PathBuf,
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.uuid.to_vec();
        for number in [self.durable.0, self.segment.0, self.end] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (uuid, rest) = bytes.split_first_chunk::<16>()?;
        let (durable, rest) = rest.split_first_chunk::<8>()?;
        let (segment, rest) = rest.split_first_chunk::<8>()?;
        let end = <[u8; 8]>::try_from(rest).ok()?;
        let [durable, segment] = [durable, segment].map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
        let mark = Self { uuid: *uuid, durable, segment, end: u64::from_le_bytes(end) };
        (durable <= LAST_PLACE).then_some(mark)
    }
}

impl<H: FsFile> MarkWriter<H> {
    /// Writes a mark in place of whatever is there; it is on disk when this returns.
    pub(crate) fn create<F: Fs<File = H>>(fs: &F, dir: &Path, mark: &Mark) -> Result<Self, FsError> {
        let slots = SlotFile::create(fs, &mark_path(dir), STRIDE, &mark.encode())?;
        Ok(Self { slots })
    }

    /// Opens the mark and returns what it says; nothing if there is none or it cannot be read.
    pub(crate) fn open<F: Fs<File = H>>(fs: &F, dir: &Path) -> Result<Option<(Self, Mark)>, FsError> {
        match SlotFile::open(fs, &mark_path(dir), STRIDE) {
            Ok((slots, value)) => Ok(value.as_deref().and_then(Mark::decode).map(|mark| (Self { slots }, mark))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells readers how far they may go.
    ///
    /// # Contract
    /// The bytes the mark speaks of have been synced.
    pub(crate) fn publish(&mut self, mark: &Mark) -> Result<(), FsError> {
        self.slots.write(&mark.encode())
    }
}

impl<H: FsFile> MarkReader<H> {
    /// Opens the mark of a journal.
    pub(crate) fn open<F: Fs<File = H>>(fs: &F, dir: &Path) -> Result<Self, FsError> {
        let path = mark_path(dir);
        let file = fs.open(&path, OpenMode::Read).map_err(FsError::on("open", &path))?;
        Ok(Self { file, path })
    }

    /// Returns what the mark says now; nothing if it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Mark>, FsError> {
        let value = read_shared(&self.file, STRIDE).map_err(FsError::on("read", &self.path))?;
        Ok(value.as_deref().and_then(Mark::decode))
    }
}

fn mark_path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_comes_back_as_it_was_and_one_that_no_journal_reaches_is_none() {
        let mark = |durable| Mark { uuid: [4; 16], durable, segment: Lsn(7), end: 64 };
        for durable in [Lsn::ZERO, Lsn(9), LAST_PLACE] {
            assert_eq!(Mark::decode(&mark(durable).encode()), Some(mark(durable)));
        }
        for durable in [LAST_PLACE.next(), Lsn(u64::MAX)] {
            assert_eq!(Mark::decode(&mark(durable).encode()), None);
        }
    }
}
