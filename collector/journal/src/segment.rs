//! One file of the log: its name, its header, and how it comes to be.
//!
//! ```text
//! 00000000000000000001.seg      twenty digits: the place of its first record
//! ┌────────────────────────────────────────────────────────────────┐
//! │ "CANHJRNL" │ crc32c u32 │ version u16 │ zero u16 │ uuid 16     │  64 bytes
//! │ first lsn u64 │ previous segment's first lsn u64 │ zero 16     │
//! ├────────────────────────────────────────────────────────────────┤
//! │ record │ record │ ...                                          │
//! ├────────────────────────────────────────────────────────────────┤
//! │ zeroes: room reserved while it is the last one, cut off after  │
//! └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A segment is made under another name, its room reserved and its header synced, and only then
//! renamed: a file that ends in `.seg` always has a whole header, and a full disk is met here and
//! never in the middle of a record.

use std::path::{Path, PathBuf};

use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::lsn::Lsn;
use crate::record::MAX_BODY_BYTES;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER_BYTES as u64;

const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"CANHJRNL";
/// Bytes of the header that its checksum covers.
const FIELDS_BYTES: usize = HEADER_BYTES - 12;
const VERSION: u16 = 1;
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
    #[error("segment {} has version {got}, this release reads {VERSION}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        got: u16,
    },
}

/// A segment of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The place of its first record.
    pub first: Lsn,
    /// Its length on disk in bytes.
    pub bytes: u64,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) uuid: [u8; 16],
    pub(crate) first: Lsn,
    /// The first record of the segment before, [`Lsn::ZERO`] if it is the first ever.
    pub(crate) previous: Lsn,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// They are something else, or damaged.
    NotAHeader,
    /// They are of an unknown version.
    Version(u16),
}

impl SegmentHeader {
    fn encode(&self) -> Vec<u8> {
        let mut fields = VERSION.to_le_bytes().to_vec();
        fields.extend_from_slice(&[0, 0]);
        fields.extend_from_slice(&self.uuid);
        fields.extend_from_slice(&self.first.0.to_le_bytes());
        fields.extend_from_slice(&self.previous.0.to_le_bytes());
        fields.resize(FIELDS_BYTES, 0);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
        bytes.extend_from_slice(&fields);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let fault = HeaderFault::NotAHeader;
        let rest = bytes.strip_prefix(MAGIC).ok_or(fault)?;
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(fault)?;
        let fields = rest.first_chunk::<FIELDS_BYTES>().ok_or(fault)?;
        if crc32c::crc32c(fields) != u32::from_le_bytes(*crc) {
            return Err(fault);
        }
        let (version, rest) = fields.split_first_chunk::<2>().ok_or(fault)?;
        match u16::from_le_bytes(*version) {
            VERSION => {}
            other => return Err(HeaderFault::Version(other)),
        }
        let (_, rest) = rest.split_first_chunk::<2>().ok_or(fault)?;
        let (uuid, rest) = rest.split_first_chunk::<16>().ok_or(fault)?;
        let (first, rest) = rest.split_first_chunk::<8>().ok_or(fault)?;
        let (previous, _) = rest.split_first_chunk::<8>().ok_or(fault)?;
        let [first, previous] = [first, previous].map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
        Ok(Self { uuid: *uuid, first, previous })
    }

    /// Reads the header of an open segment.
    pub(crate) fn read<H: FsFile>(file: &H) -> std::io::Result<Result<Self, HeaderFault>> {
        let mut bytes = [0; HEADER_BYTES];
        let count = read_full(file, &mut bytes, 0)?;
        Ok(Self::decode(bytes.get(..count).unwrap_or_default()))
    }
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_full<H: FsFile>(file: &H, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Returns the path of the segment that begins with `first`.
pub(crate) fn segment_path(dir: &Path, first: Lsn) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", first.0))
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
    let path = segment_path(dir, header.first);
    let new_path = path.with_extension(NEW_SUFFIX.trim_start_matches('.'));
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
    fn header_comes_back_as_it_was_and_any_flipped_byte_is_seen() {
        let header = SegmentHeader { uuid: [9; 16], first: Lsn(u64::MAX), previous: Lsn(7) };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 0..HEADER_BYTES {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&changed), Err(HeaderFault::NotAHeader), "byte {at}");
        }
        let mut newer = bytes;
        newer[12] = 2;
        let crc = crc32c::crc32c(&newer[12..]).to_le_bytes();
        newer[8..12].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderFault::Version(2)));
    }

    #[test]
    fn names_of_segments_sort_and_nothing_else_passes() {
        assert_eq!(parse_name("00000000000000000042.seg", SUFFIX), Some(Lsn(42)));
        assert_eq!(parse_name("18446744073709551615.seg", SUFFIX), Some(Lsn(u64::MAX)));
        for name in ["42.seg", "0000000000000000042x.seg", "99999999999999999999.seg", "00000000000000000042.new"] {
            assert_eq!(parse_name(name, SUFFIX), None, "{name}");
        }
    }
}
