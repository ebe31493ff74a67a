//! One file of the log: its name, and how it comes to be.
//!
//! ```text
//! 00000000000000000001.seg      twenty digits: the place of its first record
//! ┌────────────────────────────────────────────────────────────────┐
//! │ header (header.rs)                                             │  64 bytes
//! ├────────────────────────────────────────────────────────────────┤
//! │ record │ record │ ...                                          │
//! ├────────────────────────────────────────────────────────────────┤
//! │ zeroes: room reserved while it is the last one, cut off after  │
//! └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A segment is made under another name, its room reserved and its header synced, and only then
//! renamed: a file that ends in `.seg` always has a whole header, and a full disk is met here and
//! never in the middle of a record. Once it is sealed, a shorter form may take its place under the
//! same name (`packed.rs`): one renaming, so there is always one form and never two.

use std::path::{Path, PathBuf};

use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::header::{LATEST_VERSION, SegmentHeader};
use crate::lsn::Lsn;
use crate::record::MAX_BODY_BYTES;

const SUFFIX: &str = ".seg";
/// What a segment is called until its header is on disk.
const NEW_SUFFIX: &str = ".new";
/// What a file is called that has a segment's name but is none.
const QUARANTINE_SUFFIX: &str = ".quarantined";

/// A journal that cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A call to the file system failed.
    #[error(transparent)]
    File(#[from] FsError),
    /// There is no room for another segment. Nothing was written; the same call succeeds once
    /// there is room.
    #[error("no room for another segment of {bytes} bytes")]
    NoSpace {
        /// Bytes that were to be reserved.
        bytes: u64,
        /// The call that failed.
        #[source]
        source: FsError,
    },
    /// Another process has the journal open for writing.
    #[error("journal {} is in use by another process", dir.display())]
    Locked {
        /// The journal's directory.
        dir: PathBuf,
    },
    /// The record is longer than a journal takes. Nothing was written.
    #[error("record is {bytes} bytes, limit is {MAX_BODY_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// An earlier write or sync failed. What the disk holds is no longer known, so the journal
    /// takes nothing more; opening it anew finds out.
    #[error("journal stopped after an earlier failure")]
    Stopped,
    /// The journal was written by a release this one does not know.
    #[error("segment {} has version {got}, this release reads {LATEST_VERSION}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        got: u16,
    },
}

/// Returns the path of the segment that begins with `first`.
pub(crate) fn segment_path(dir: &Path, first: Lsn) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", first.0))
}

/// Returns what the file is called that is to be that segment, until it is whole.
pub(crate) fn unfinished_path(dir: &Path, first: Lsn) -> PathBuf {
    dir.join(format!("{:020}{NEW_SUFFIX}", first.0))
}

/// Returns the first places of all segments in a directory, in order.
pub(crate) fn list_segments<F: Fs>(fs: &F, dir: &Path) -> Result<Vec<Lsn>, FsError> {
    let names = fs.list(dir).map_err(FsError::on("list", dir))?;
    let mut firsts: Vec<Lsn> = names.iter().filter_map(|name| parse_name(name, SUFFIX)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

fn parse_name(name: &str, suffix: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(suffix)?;
    let valid = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| valid).map(Lsn)
}

/// Makes a segment with room for `bytes` bytes; it is on disk when this returns.
///
/// # Errors
/// [`JournalError::NoSpace`] with nothing left behind, [`JournalError::File`].
pub(crate) fn create_segment<F: Fs>(
    fs: &F,
    dir: &Path,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<F::File, JournalError> {
    let (path, new_path) = (segment_path(dir, header.first), unfinished_path(dir, header.first));
    let file = prepare(fs, &new_path, header, bytes).map_err(|source| {
        // Best effort: what stays is removed when the journal is next opened.
        let _ = fs.remove(&new_path);
        if source.is_no_space() { JournalError::NoSpace { bytes, source } } else { JournalError::File(source) }
    })?;
    fs.rename(&new_path, &path).map_err(FsError::on("rename", &new_path))?;
    fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
    Ok(file)
}

fn prepare<F: Fs>(fs: &F, path: &Path, header: &SegmentHeader, bytes: u64) -> Result<F::File, FsError> {
    let file = fs.open(path, OpenMode::CreateEmpty).map_err(FsError::on("create", path))?;
    file.allocate(bytes).map_err(FsError::on("reserve room for", path))?;
    file.write_all_at(&header.encode(), 0).map_err(FsError::on("write", path))?;
    file.sync_data().map_err(FsError::on("sync", path))?;
    Ok(file)
}

/// Removes what a crash left half made.
pub(crate) fn remove_unfinished<F: Fs>(fs: &F, dir: &Path) -> Result<(), FsError> {
    let names = fs.list(dir).map_err(FsError::on("list", dir))?;
    // Nothing but our own: a consumer may be making its cursor beside them just now.
    for name in names.iter().filter(|name| parse_name(name, NEW_SUFFIX).is_some()) {
        let path = dir.join(name);
        fs.remove(&path).map_err(FsError::on("remove", &path))?;
    }
    Ok(())
}

/// Renames a file that has a segment's name but is none, and returns its new path.
pub(crate) fn quarantine<F: Fs>(fs: &F, dir: &Path, first: Lsn) -> Result<PathBuf, FsError> {
    let path = segment_path(dir, first);
    let taken = fs.list(dir).map_err(FsError::on("list", dir))?;
    let mut name = format!("{:020}{QUARANTINE_SUFFIX}", first.0);
    let mut count = 1;
    while taken.contains(&name) {
        count += 1;
        name = format!("{:020}{QUARANTINE_SUFFIX}-{count}", first.0);
    }
    let to = dir.join(name);
    fs.rename(&path, &to).map_err(FsError::on("rename", &path))?;
    fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_sort_and_nothing_else_passes() {
        assert_eq!(parse_name("00000000000000000042.seg", SUFFIX), Some(Lsn(42)));
        assert_eq!(parse_name("18446744073709551615.seg", SUFFIX), Some(Lsn(u64::MAX)));
        for name in ["42.seg", "0000000000000000042x.seg", "99999999999999999999.seg", "00000000000000000042.new"] {
            assert_eq!(parse_name(name, SUFFIX), None, "{name}");
        }
    }
}
