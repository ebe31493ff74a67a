//! The few things a journal asks of a file system, as a trait, and the real one.
//!
//! Everything the journal does to a disk goes through [`Fs`] and [`FsFile`]: no more than a dozen
//! calls, so a fake can forget unsynced writes, fail the Nth call, or stop after any of them.
//! What a call promises after a power cut is part of its contract here.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::FallocateFlags;

/// Journal files are the owner's to write and the group's to read: the correlator reads the
/// collector's journal.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;
/// How much is written at a time where a file system cannot preallocate.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read it; it must be there.
    Read,
    /// To read and write it; it must be there.
    Update,
    /// To read and write it; it is made if it is not there and emptied if it is.
    CreateEmpty,
}

/// A file system, as far as a journal needs one.
pub trait Fs: Clone + fmt::Debug + Send + Sync + 'static {
    /// An open file.
    type File: FsFile;

    /// Makes a directory and its missing parents; they outlive a power cut once it returns.
    ///
    /// # Errors
    /// What the file system says; so for every call below.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Returns the names in a directory, in no order.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;

    /// Renames a file, in place of one that may be there.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes every creation, renaming and removal in a directory outlive a power cut.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Returns 128 random bits.
    ///
    /// # Errors
    /// If the system has none to give.
    fn random(&self) -> io::Result<[u8; 16]>;

    /// Returns the time of day, which is noted beside records and decides nothing about them.
    fn now(&self) -> SystemTime;
}

/// An open file, as far as a journal needs one.
pub trait FsFile: fmt::Debug + Send + Sync + 'static {
    /// Reads some bytes at an offset; 0 means the end of the file.
    ///
    /// # Errors
    /// What the file system says; so for every call below.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at an offset. They outlive a power cut only after [`FsFile::sync_data`].
    ///
    /// # Errors
    /// What the file system says.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all bytes written so far, and the file's length, outlive a power cut.
    ///
    /// # Errors
    /// What the file system says. After an error nothing is known of what was written, and a
    /// second call that succeeds proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves room on disk for the first `len` bytes; the file is then at least that long, and
    /// what was not written reads as zero.
    ///
    /// # Errors
    /// What the file system says, above all that there is no room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Returns the file's length in bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file has no bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Takes the file's lock for as long as it is open; false if somebody else holds it.
    ///
    /// # Errors
    /// What the file system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// A call to the file system that failed: what it was to do, and on which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FsError {
    /// What was to be done, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the file system said.
    #[source]
    pub source: io::Error,
}

impl FsError {
    /// Returns a function that says what failed, for `map_err`.
    pub(crate) fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::new(action, path, source)
    }

    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_path_buf(), source }
    }

    /// Returns whether the disk or a quota is full: waiting or making room helps.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Returns whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_full<H: FsFile>(file: &H, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFs;

impl Fs for DiskFs {
    type File = File;

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.create_dir(parent)?;
        match DirBuilder::new().mode(DIR_MODE).create(dir) {
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(DIR_MODE))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(error) => return Err(error),
        }
        self.sync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is no text is none of the journal's.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        let create = mode == OpenMode::CreateEmpty;
        let file = OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create(create)
            .truncate(create)
            .mode(FILE_MODE)
            .open(path)?;
        if create {
            // The umask may have taken the group's bit away.
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        }
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
        Ok(bytes)
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl FsFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeroes(self, len),
            done => Ok(done?),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        match File::try_lock(self) {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Reserves room by writing it, from the file's end on: slower, but it fails as early.
fn write_zeroes(file: &File, len: u64) -> io::Result<()> {
    let mut offset = file.metadata()?.len();
    while offset < len {
        let count = usize::try_from(len - offset).unwrap_or(usize::MAX).min(ZEROES.len());
        FileExt::write_all_at(file, ZEROES.get(..count).unwrap_or(&ZEROES), offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_0640_and_directories_0750() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        DiskFs.create_dir(&dir).unwrap();
        DiskFs.open(&dir.join("file"), OpenMode::CreateEmpty).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&root.path().join("a")), 0o750);
        assert_eq!(mode(&dir), 0o750);
        assert_eq!(mode(&dir.join("file")), 0o640);
    }

    #[test]
    fn allocated_room_reads_as_zero_either_way() {
        let root = tempfile::tempdir().unwrap();
        for (name, by_hand) in [("fallocate", false), ("by-hand", true)] {
            let file = DiskFs.open(&root.path().join(name), OpenMode::CreateEmpty).unwrap();
            FsFile::write_all_at(&file, b"abc", 0).unwrap();
            if by_hand {
                write_zeroes(&file, 200_000).unwrap()
            } else {
                file.allocate(200_000).unwrap()
            }
            let bytes = fs::read(root.path().join(name)).unwrap();
            assert_eq!((bytes.len(), &bytes[..3]), (200_000, b"abc".as_slice()));
            assert!(bytes[3..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn second_lock_is_refused_until_the_first_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        let first = DiskFs.open(&path, OpenMode::CreateEmpty).unwrap();
        let second = DiskFs.open(&path, OpenMode::CreateEmpty).unwrap();
        assert!(FsFile::try_lock(&first).unwrap());
        assert!(!FsFile::try_lock(&second).unwrap());
        drop(first);
        assert!(FsFile::try_lock(&second).unwrap());
    }
}
