//! The floor: the first record that is kept, noted on disk before anything below it is removed.
//!
//! Removals may reach the disk in any order, or in part. With the floor noted first, a crash in the
//! middle leaves nothing but work to finish: what lies below goes at the next start, and a segment
//! missing from the floor on was not dropped but lost, and is named.
//!
//! ```text
//! two slots (slots.rs) of: uuid 16 │ first lsn kept u64
//! ```

use std::path::{Path, PathBuf};

use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::lsn::Lsn;
use crate::slots::{SlotFile, read_shared};

const FILE_NAME: &str = "floor";
/// As for the durable mark: a page for each slot.
const STRIDE: u64 = 4_096;

/// The floor as its writer has it.
#[derive(Debug)]
pub(crate) struct Floor<H> {
    uuid: [u8; 16],
    lsn: Lsn,
    slots: SlotFile<H>,
    /// Set while a change is under way, and for good if it failed: what the disk holds is not known.
    is_stopped: bool,
}

impl<H: FsFile> Floor<H> {
    /// Opens the floor of a journal; nothing if there is none, or it is another journal's.
    pub(crate) fn open<F: Fs<File = H>>(fs: &F, dir: &Path, uuid: [u8; 16]) -> Result<Option<Self>, FsError> {
        match SlotFile::open(fs, &floor_path(dir), STRIDE) {
            Ok((slots, value)) => {
                let lsn = value.as_deref().and_then(|value| decode(value, &uuid));
                Ok(lsn.map(|lsn| Self { uuid, lsn, slots, is_stopped: false }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a floor in place of whatever is there; it is on disk when this returns.
    pub(crate) fn create<F: Fs<File = H>>(fs: &F, dir: &Path, uuid: [u8; 16], lsn: Lsn) -> Result<Self, FsError> {
        let slots = SlotFile::create(fs, &floor_path(dir), STRIDE, &encode(&uuid, lsn))?;
        Ok(Self { uuid, lsn, slots, is_stopped: false })
    }

    /// Returns the first record kept.
    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Returns whether an earlier change failed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Raises the floor; it is on disk when this returns.
    pub(crate) fn raise(&mut self, lsn: Lsn) -> Result<(), FsError> {
        self.is_stopped = true;
        self.slots.write(&encode(&self.uuid, lsn))?;
        self.slots.sync()?;
        self.is_stopped = false;
        self.lsn = lsn;
        Ok(())
    }
}

/// Returns the first record that a journal says it keeps; nothing if it does not say so.
pub(crate) fn read_floor<F: Fs>(fs: &F, dir: &Path, uuid: &[u8; 16]) -> Result<Option<Lsn>, FsError> {
    let path = floor_path(dir);
    let file = match fs.open(&path, OpenMode::Read).map_err(FsError::on("open", &path)) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let value = read_shared(&file, STRIDE).map_err(FsError::on("read", &path))?;
    Ok(value.and_then(|value| decode(&value, uuid)))
}

fn floor_path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

fn encode(uuid: &[u8; 16], lsn: Lsn) -> Vec<u8> {
    [uuid.as_slice(), &lsn.0.to_le_bytes()].concat()
}

fn decode(bytes: &[u8], uuid: &[u8; 16]) -> Option<Lsn> {
    let lsn = bytes.strip_prefix(uuid)?;
    Lsn(u64::from_le_bytes(lsn.try_into().ok()?)).known()
}
