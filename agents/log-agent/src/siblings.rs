//! The files beside a path that were at it before: where a rotated file went, and which files were
//! born and rotated away between two looks.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::glob::is_compressed;
use crate::position::FileId;

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// How often a directory is listed until two lists agree, or one has a file: names move while they are read.
const MAX_LISTINGS: usize = 5;

/// When a file was last written and, if the file system knows, born; nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) written: i64,
    pub(crate) born: Option<i64>,
}

/// A file beside a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    pub(crate) age: Age,
}

impl Age {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Self { written, born: born.and_then(|since| i64::try_from(since.as_nanos()).ok()) }
    }

    /// Returns whether a file of this age came after one of that age: it was not written last
    /// before the other was, and not born before it.
    fn is_after(self, other: Self) -> bool {
        self.written >= other.written && self.born.zip(other.born).is_none_or(|(own, others)| own >= others)
    }

    /// Returns when the file began, as far as is known.
    pub(crate) fn began(self) -> i64 {
        self.born.unwrap_or(self.written)
    }
}

/// Returns where a file of this identity is now, in the directory of the path or, if the path is a
/// symbolic link, in the directory of its target. A name that moves while the directory is listed may not
/// be in the list at all, so a file is nowhere only if several lists lack it.
pub(crate) fn locate(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    for _ in 0..MAX_LISTINGS {
        if let Some(place) = locate_once(path, id)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn locate_once(path: &Path, id: FileId) -> io::Result<Option<PathBuf>> {
    let target = fs::canonicalize(path).ok();
    let mut dirs: Vec<&Path> = [Some(path), target.as_deref()].into_iter().flatten().filter_map(Path::parent).collect();
    dirs.dedup();
    for dir in dirs {
        for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let is_it =
                entry.ino() == id.inode && entry.metadata().is_ok_and(|it| it.is_file() && FileId::of(&it) == id);
            if is_it {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// Returns the rotated files of a path that came after one of age `after`, oldest first. Compressed
/// ones are not among them.
pub(crate) fn rotated_since(path: &Path, after: Age) -> io::Result<Vec<Sibling>> {
    let mut last = list(path, after)?;
    for _ in 1..MAX_LISTINGS {
        let next = list(path, after)?;
        let is_settled = next == last;
        last = next;
        if is_settled {
            break;
        }
    }
    Ok(last)
}

fn list(path: &Path, after: Age) -> io::Result<Vec<Sibling>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let mut found: Vec<Sibling> = Vec::new();
    for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let entry = entry?;
        let entry_name = entry.file_name();
        if !is_rotated_name(name.as_bytes(), entry_name.as_bytes()) || is_compressed(&entry_name) {
            continue;
        }
        // A name that has moved on meanwhile is seen under its next one.
        let Ok(metadata) = entry.metadata() else { continue };
        let (id, age) = (FileId::of(&metadata), Age::of(&metadata));
        if metadata.is_file() && age.is_after(after) && !found.iter().any(|it| it.id == id) {
            found.push(Sibling { path: entry.path(), id, age });
        }
    }
    // Times are coarse; among equal ones the higher number of logrotate's scheme is the older.
    found.sort_by_key(|it| (it.age.began(), std::cmp::Reverse(number(&it.path)), it.path.clone()));
    Ok(found)
}

/// Whether `other` is what a rotation makes of `name`: the same with a number, a date or the like
/// at its end (`auth.log.1`, `auth.log-20261124`, `auth.log.old`) or before its last dot
/// (`app-2026-11-24.log`). Anything else may be a log of its own.
fn is_rotated_name(name: &[u8], other: &[u8]) -> bool {
    if let Some(rest) = other.strip_prefix(name) {
        return is_rotation_mark(rest);
    }
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else { return false };
    let (stem, end) = name.split_at(dot);
    let middle = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(end));
    middle.is_some_and(is_rotation_mark)
}

fn is_rotation_mark(rest: &[u8]) -> bool {
    let Some((first, mark)) = rest.split_first() else { return false };
    if *first == b'~' {
        return mark.is_empty();
    }
    let is_word = [b"old".as_slice(), b"bak", b"prev", b"save"].contains(&mark);
    let is_stamp =
        mark.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'T' | b'Z'));
    matches!(first, b'.' | b'-' | b'_') && !mark.is_empty() && (is_word || is_stamp)
}

/// Returns the small number a name ends with.
fn number(path: &Path) -> Option<u32> {
    let (_, end) = path.file_name()?.to_str()?.rsplit_once('.')?;
    end.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_told_from_logs_of_their_own() {
        for name in
            ["auth.log.1", "auth.log-20261124", "auth.log.old", "auth.log~", "auth-2026-11-24T10:00.log", "auth.1.log"]
        {
            assert!(is_rotated_name(b"auth.log", name.as_bytes()), "{name}");
        }
        for name in [
            "auth.log",
            "auth.log.error",
            "auth-error.log",
            "auth.logs",
            "auth.log.",
            "other.log.1",
            "auth",
            "authlog.1",
        ] {
            assert!(!is_rotated_name(b"auth.log", name.as_bytes()), "{name}");
        }
        assert!(is_rotated_name(b"messages", b"messages.1") && !is_rotated_name(b".log", b".1.log"));
    }

    #[test]
    fn files_between_are_found_oldest_first_and_older_and_compressed_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let write = |name: &str| {
            fs::write(dir.path().join(name), name).unwrap();
            Age::of(&fs::metadata(dir.path().join(name)).unwrap())
        };
        write("a.log.9");
        let wait_for_tick = |after: Age| {
            // Born later than `after` by the file system's own clock.
            while write("probe").written <= after.written {
                fs::remove_file(dir.path().join("probe")).unwrap();
            }
        };
        let old = write("a.log.8");
        wait_for_tick(old);
        let known = write("a.log.4");
        wait_for_tick(known);
        write("a.log.3");
        write("a.log.2");
        write("a.log.1.gz");
        write("a.log.error");
        let id = FileId::of(&fs::metadata(dir.path().join("a.log.4")).unwrap());
        let found: Vec<_> = rotated_since(&path, known).unwrap().into_iter().filter(|it| it.id != id).collect();
        let names: Vec<_> = found.iter().map(|it| it.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.log.3", "a.log.2"]);
        assert_eq!(locate(&path, id).unwrap(), Some(dir.path().join("a.log.4")));
        assert_eq!(locate(&path, FileId { device: 0, inode: 0 }).unwrap(), None);
    }
}
