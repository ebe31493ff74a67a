//! A file system in memory that never fails and never forgets.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use canh_journal::{Fs, FsFile, OpenMode};

/// Longest file: what a damaged length may ask for is refused as a full disk.
const MAX_FILE_BYTES: u64 = 32 << 20;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files by path; a clone is the same file system.
#[derive(Clone, Debug, Default)]
pub struct MemoryFs {
    files: Arc<Mutex<BTreeMap<PathBuf, Bytes>>>,
}

/// An open file.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    bytes: Bytes,
}

impl MemoryFs {
    /// Puts a file there.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        held(&self.files).insert(path.to_path_buf(), Arc::new(Mutex::new(bytes)));
    }

    /// Returns a copy of the files as they are now.
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        for (path, bytes) in held(&self.files).iter() {
            copy.put(path, held(bytes).clone());
        }
        copy
    }
}

impl Fs for MemoryFs {
    type File = MemoryFile;

    fn create_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let files = held(&self.files);
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str()).map(str::to_owned).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> Result<MemoryFile> {
        if mode == OpenMode::CreateEmpty {
            self.put(path, Vec::new());
        }
        let bytes = held(&self.files).get(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(MemoryFile { bytes })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = held(&self.files);
        let bytes = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_path_buf(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        held(&self.files).remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn random(&self) -> Result<[u8; 16]> {
        Ok([7; 16])
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }
}

impl FsFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let bytes = held(&self.bytes);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, new: &[u8], offset: u64) -> Result<()> {
        let end = bounded(offset.saturating_add(new.len() as u64))?;
        let mut bytes = held(&self.bytes);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[end - new.len()..end].copy_from_slice(new);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let end = bounded(len)?;
        let mut bytes = held(&self.bytes);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        held(&self.bytes).truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn len(&self) -> Result<u64> {
        Ok(held(&self.bytes).len() as u64)
    }

    fn try_lock(&self) -> Result<bool> {
        Ok(true)
    }
}

fn bounded(len: u64) -> Result<usize> {
    let len = (len <= MAX_FILE_BYTES).then_some(len).ok_or(Error::from(ErrorKind::StorageFull))?;
    usize::try_from(len).map_err(|_| ErrorKind::StorageFull.into())
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
