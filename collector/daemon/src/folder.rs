//! The folder in which the collector keeps who is who: the CA, tokens, agents, revocations.
//!
//! ```text
//!  identity/
//!    ca.pem         every CA that is trusted, the one that issues first       for everybody to read
//!    issuer.pem     the CA that issues: certificate and key                   0600
//!    previous.pem   the CA before it, while both are trusted                  0600
//!    bridge.pem     the CA before it, vouched for by the one that issues
//!    server.pem     the collector's own certificate and key                   0600
//!    hosts          the names agents reach the collector by, one a line
//!    tokens/ID      one enrolment token each
//!    agents/NAME    the newest certificates of one agent each
//!    revoked        which certificates are not accepted any more
//!    lock           held while somebody changes something
//! ```
//!
//! Every change is a new file, synced and renamed into place, with the folder synced after it: a power
//! cut leaves the old file or the new one. What is read is bounded. The command line is mostly run by
//! root and the daemon is not; a file made by root is given to the owner of its folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Gid, Uid};
use rustix::io::Errno;

/// Others of the group may look; keys are the owner's only.
const DIR_MODE: u32 = 0o750;
/// Of files that hold nothing secret.
pub(crate) const PUBLIC_MODE: u32 = 0o644;
/// Of files with keys.
pub(crate) const SECRET_MODE: u32 = 0o600;

pub(crate) const CA: &str = "ca.pem";
pub(crate) const ISSUER: &str = "issuer.pem";
pub(crate) const PREVIOUS: &str = "previous.pem";
pub(crate) const BRIDGE: &str = "bridge.pem";
pub(crate) const SERVER: &str = "server.pem";
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const REVOKED: &str = "revoked";
const LOCK: &str = "lock";

/// How long to wait for others; what is done under the lock takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Longest file of certificates and keys.
pub(crate) const MAX_PEM_BYTES: u64 = 64 << 10;

/// The folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    dir: PathBuf,
}

/// Something in the folder cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The system says so.
    #[error("cannot {action} {}", path.display())]
    System {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is longer than anything we write.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLong { path: PathBuf, limit: u64 },
}

/// While it lives nobody else changes the folder, in this process or another.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FolderError {
    fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, path: path.to_owned(), source }
    }

    /// Returns whether the file is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::System { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Folder {
    /// Returns the folder at a path, whether it is there or not.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Returns where a file of it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns whether a file of it is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Makes the folder, and one in it if `name` is not empty.
    ///
    /// # Errors
    /// [`FolderError`]; so for every call below.
    pub(crate) fn make(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        if path.is_dir() {
            return Ok(());
        }
        make_dir(&path).map_err(FolderError::on("make", &path))
    }

    /// Waits until nobody else changes the folder, but not for ever: a command that was stopped half way
    /// must not hold the daemon up.
    pub(crate) fn lock(&self) -> Result<Lock, FolderError> {
        let path = self.path(LOCK);
        let take = || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(SECRET_MODE).open(&path)?;
            give_to_owner_of_folder(&file, &self.dir)?;
            let begin = Instant::now();
            loop {
                match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => return Ok(Lock { _file: file }),
                    Err(Errno::WOULDBLOCK) if begin.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_RETRY),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        take().map_err(FolderError::on("lock", &path))
    }

    /// Reads a file of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<String, FolderError> {
        let path = self.path(name);
        let read = || {
            let mut text = String::new();
            File::open(&path)?.take(limit + 1).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(FolderError::on("read", &path))?;
        if text.len() as u64 > limit { Err(FolderError::TooLong { path, limit }) } else { Ok(text) }
    }

    /// Writes a file in place of the one that may be there, and has it on disk before it returns.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), FolderError> {
        let path = self.path(name);
        replace(&path, text, mode).map_err(FolderError::on("write", &path))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        let remove = || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_dir(&path),
        };
        remove().map_err(FolderError::on("remove", &path))
    }

    /// Returns the names in a folder of it, at most `limit`, in order; none if it is not there.
    pub(crate) fn names(&self, name: &str, limit: usize) -> Result<Vec<String>, FolderError> {
        let path = self.path(name);
        let list = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)?.take(limit) {
                // What begins with a dot is half written.
                names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
            }
            names.sort_unstable();
            io::Result::Ok(names)
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(FolderError::on("list", &path)),
        }
    }

    /// Returns what tells a state of a file from another. The file is opened: one that has become
    /// unreadable is an error, not unchanged.
    pub(crate) fn stamp(&self, name: &str) -> Result<Stamp, FolderError> {
        let path = self.path(name);
        let file = File::open(&path).and_then(|file| file.metadata()).map_err(FolderError::on("read", &path))?;
        Ok(Stamp {
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// Makes a folder and its missing parents, each its parent's owner's.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    make_dir(parent)?;
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => give_to_owner_of_folder(&File::open(path)?, parent)?,
    }
    sync_dir(path)
}

/// Writes a file in place of the one that may be there: whole, and on disk, or not at all.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write_half(&half, parent_of(path), text, mode).and_then(|()| fs::rename(&half, path));
    if written.is_err() {
        // The first error is the one that is told.
        let _ = fs::remove_file(&half);
    }
    written.and_then(|()| sync_dir(path))
}

fn write_half(half: &Path, dir: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Left behind by a process of the same number that was cut off.
    let _ = fs::remove_file(half);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(half)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    give_to_owner_of_folder(&file, dir)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn give_to_owner_of_folder(file: &File, dir: &Path) -> io::Result<()> {
    let (owner, own) = (fs::metadata(dir)?, file.metadata()?);
    if rustix::process::geteuid().is_root() && (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
    }
    Ok(())
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(&dir.path().join("a/b"));
        folder.make("tokens").unwrap();
        let _lock = folder.lock().unwrap();
        for text in ["first", "second"] {
            folder.write("tokens/x", text, SECRET_MODE).unwrap();
            assert_eq!(folder.read("tokens/x", 100).unwrap(), text);
        }
        assert_eq!(fs::metadata(folder.path("tokens/x")).unwrap().mode() & 0o777, SECRET_MODE);
        assert_eq!(fs::read_dir(folder.path("tokens")).unwrap().count(), 1);
        assert_eq!(folder.names("tokens", 10).unwrap(), ["x"]);
        assert!(folder.names("agents", 10).unwrap().is_empty());
        folder.remove("tokens/x").unwrap();
        folder.remove("tokens/x").unwrap();
        assert!(folder.read("tokens/x", 100).unwrap_err().is_missing());
    }

    #[test]
    fn one_at_a_time_and_nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let lock = folder.lock().unwrap();
        let begin = Instant::now();
        assert!(folder.lock().is_err());
        assert!(begin.elapsed() >= LOCK_PATIENCE);
        let other = thread::spawn({
            let folder = folder.clone();
            move || folder.lock().is_ok()
        });
        drop(lock);
        assert!(other.join().unwrap());
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.write("x", &"a".repeat(101), PUBLIC_MODE).unwrap();
        assert!(matches!(folder.read("x", 100), Err(FolderError::TooLong { limit: 100, .. })));
        assert_eq!(folder.read("x", 101).unwrap().len(), 101);
    }

    #[test]
    fn every_change_changes_the_stamp_and_what_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(folder.stamp("x").unwrap_err().is_missing());
        folder.write("x", "a", PUBLIC_MODE).unwrap();
        let first = folder.stamp("x").unwrap();
        assert_eq!(folder.stamp("x").unwrap(), first);
        folder.write("x", "b", PUBLIC_MODE).unwrap();
        assert_ne!(folder.stamp("x").unwrap(), first, "same length, another file");
    }

    #[test]
    fn files_made_by_root_belong_to_the_folders_owner() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root makes files for others");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let own = File::open(dir.path()).unwrap();
        rustix::fs::fchown(&own, Some(Uid::from_raw(12_345)), Some(Gid::from_raw(12_346))).unwrap();
        let folder = Folder::new(dir.path());
        folder.make("tokens").unwrap();
        folder.write("tokens/x", "a", SECRET_MODE).unwrap();
        for name in ["tokens", "tokens/x"] {
            let file = fs::metadata(folder.path(name)).unwrap();
            assert_eq!((file.uid(), file.gid()), (12_345, 12_346), "{name}");
        }
    }
}
