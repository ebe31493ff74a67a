//! A small value in a file that is overwritten in place: two slots, written in turn.
//!
//! ```text
//! slot 0 at 0        magic u32 │ length u32 │ crc32c u32 │ zero u32 │ generation u64 │ value
//! slot 1 at stride   the same
//! ```
//!
//! The slot with the higher generation whose checksum fits holds the value. A write goes to the
//! other one, so a crash in the middle of it leaves the last value whole, and a reader in another
//! process that meets a half-written slot reads the one before.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{Fs, FsError, FsFile, OpenMode, read_full};

const MAGIC: u32 = u32::from_le_bytes(*b"CSL1");
const HEADER_BYTES: usize = 24;
/// How often a reader looks again when it met the writer in both slots.
const READ_ATTEMPTS: usize = 16;

/// A two-slot file open for writing.
#[derive(Debug)]
pub(crate) struct SlotFile<H> {
    file: H,
    path: PathBuf,
    stride: u64,
    generation: u64,
}

/// A value read from a two-slot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotValue {
    generation: u64,
    pub(crate) value: Vec<u8>,
}

impl<H: FsFile> SlotFile<H> {
    /// Makes the file in place of one that may be there; it is on disk when this returns.
    pub(crate) fn create<F: Fs<File = H>>(fs: &F, path: &Path, stride: u64, value: &[u8]) -> Result<Self, FsError> {
        let new_path = unfinished(path);
        let file = fs.open(&new_path, OpenMode::CreateEmpty).map_err(FsError::on("create", &new_path))?;
        file.allocate(stride * 2).map_err(FsError::on("reserve room for", &new_path))?;
        let mut slots = Self { file, path: new_path.clone(), stride, generation: 0 };
        slots.write(value)?;
        slots.sync()?;
        fs.rename(&new_path, path).map_err(FsError::on("rename", &new_path))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
        slots.path = path.to_path_buf();
        Ok(slots)
    }

    /// Opens the file for writing; no value means that neither slot holds one.
    pub(crate) fn open<F: Fs<File = H>>(fs: &F, path: &Path, stride: u64) -> Result<(Self, Option<Vec<u8>>), FsError> {
        let file = fs.open(path, OpenMode::Update).map_err(FsError::on("open", path))?;
        let newest = read_slots(&file, stride).map_err(FsError::on("read", path))?;
        let generation = newest.as_ref().map_or(0, |slot| slot.generation);
        Ok((Self { file, path: path.to_path_buf(), stride, generation }, newest.map(|slot| slot.value)))
    }

    /// Writes a value; it outlives a power cut only after [`SlotFile::sync`].
    ///
    /// # Contract
    /// The value fits a slot.
    pub(crate) fn write(&mut self, value: &[u8]) -> Result<(), FsError> {
        debug_assert!((HEADER_BYTES + value.len()) as u64 <= self.stride, "the caller has checked the length");
        let generation = self.generation.saturating_add(1);
        let mut tail = generation.to_le_bytes().to_vec();
        tail.extend_from_slice(value);
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&tail).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&tail);
        let offset = generation % 2 * self.stride;
        self.file.write_all_at(&bytes, offset).map_err(FsError::on("write", &self.path))?;
        self.generation = generation;
        Ok(())
    }

    /// Makes the last value written outlive a power cut.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        self.file.sync_data().map_err(FsError::on("sync", &self.path))
    }
}

/// Returns what the file is called until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".new");
    PathBuf::from(name)
}

/// Reads the newest value while somebody else may be writing; nothing if neither slot holds one.
pub(crate) fn read_shared<H: FsFile>(file: &H, stride: u64) -> io::Result<Option<Vec<u8>>> {
    for _ in 0..READ_ATTEMPTS {
        if let Some(slot) = read_slots(file, stride)? {
            return Ok(Some(slot.value));
        }
    }
    Ok(None)
}

fn read_slots<H: FsFile>(file: &H, stride: u64) -> io::Result<Option<SlotValue>> {
    let first = read_slot(file, 0, stride)?;
    let second = read_slot(file, stride, stride)?;
    Ok(first.into_iter().chain(second).max_by_key(|slot| slot.generation))
}

fn read_slot<H: FsFile>(file: &H, offset: u64, stride: u64) -> io::Result<Option<SlotValue>> {
    let mut header = [0; HEADER_BYTES];
    if read_full(file, &mut header, offset)? < HEADER_BYTES {
        return Ok(None);
    }
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3, _, _, _, _, generation @ ..] = header;
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC || HEADER_BYTES as u64 + length > stride {
        return Ok(None);
    }
    let mut value = vec![0; usize::try_from(length).unwrap_or(0)];
    if read_full(file, &mut value, offset + HEADER_BYTES as u64)? < value.len() {
        return Ok(None);
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&generation), &value);
    if crc != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(None);
    }
    Ok(Some(SlotValue { generation: u64::from_le_bytes(generation), value }))
}
