//! How far a capture file has been spooled, so that another run goes on where the last one was and
//! nothing is sent twice, whether that one crashed, was stopped, or had finished.
//!
//! The meter gives the same records in the same order for the same file and limits, so a count of
//! records is a place in the file. It is kept as the source's cursor, in the same spool record as
//! the records it counts:
//!
//! ```text
//! version u8 │ fingerprint u64 │ records spooled u64         little endian
//! ```
//!
//! The fingerprint is of what the count depends on: the file's size and time, the filter, the
//! limits. Who wants a file sent once more gives it another time (`touch`).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use canh_flow::MeterLimits;

const VERSION: u8 = 1;

/// A file's place, and what it is a place in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileProgress {
    fingerprint: u64,
    spooled: u64,
}

impl FileProgress {
    /// Returns the beginning of a file as it would be metered now.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub(crate) fn of(file: &Path, filter: Option<&str>, limits: &MeterLimits) -> io::Result<Self> {
        let metadata = std::fs::metadata(file)?;
        let times = [limits.idle_timeout, limits.open_timeout, limits.active_timeout];
        let mut hash = Fnv::new();
        hash.write(&metadata.size().to_le_bytes());
        hash.write(&metadata.mtime().to_le_bytes());
        hash.write(&metadata.mtime_nsec().to_le_bytes());
        hash.write(&limits.max_flows.to_le_bytes());
        times.iter().for_each(|time| hash.write(&time.as_nanos().to_le_bytes()));
        hash.write(filter.unwrap_or_default().as_bytes());
        Ok(Self { fingerprint: hash.0, spooled: 0 })
    }

    /// Takes over the place of an earlier run, if it was in the same file.
    pub(crate) fn resume(self, cursor: &[u8]) -> Self {
        let same = |earlier: &Self| earlier.fingerprint == self.fingerprint;
        Self::decode(cursor).filter(same).unwrap_or(self)
    }

    /// Returns how many records are spooled.
    pub(crate) fn spooled(&self) -> u64 {
        self.spooled
    }

    pub(crate) fn advance(&mut self, records: u64) {
        self.spooled += records;
    }

    /// Returns the cursor of the place.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.fingerprint.to_le_bytes());
        bytes.extend_from_slice(&self.spooled.to_le_bytes());
        bytes
    }

    fn decode(cursor: &[u8]) -> Option<Self> {
        let (version, rest) = cursor.split_first()?;
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (spooled, rest) = rest.split_first_chunk()?;
        let is_known = *version == VERSION && rest.is_empty();
        let progress = Self { fingerprint: u64::from_le_bytes(*fingerprint), spooled: u64::from_le_bytes(*spooled) };
        is_known.then_some(progress)
    }
}

/// FNV-1a, 64 bits: not against an attacker, only to tell one file of an operator from another.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_taken_over_only_in_the_same_file_metered_in_the_same_way() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pcap");
        std::fs::write(&file, b"abc").unwrap();
        let limits = MeterLimits::default();
        let begin = FileProgress::of(&file, None, &limits).unwrap();
        let mut later = begin;
        later.advance(7);
        assert_eq!(begin.resume(&later.encode()), later);
        assert_eq!(begin.resume(&[later.encode(), vec![0]].concat()), begin);
        assert_eq!(begin.resume(b""), begin);
        assert_eq!(begin.resume(&later.encode()[..16]), begin);
        let filtered = FileProgress::of(&file, Some("tcp"), &limits).unwrap();
        assert_eq!(filtered.resume(&later.encode()), filtered);
        std::fs::write(&file, b"abcd").unwrap();
        let grown = FileProgress::of(&file, None, &limits).unwrap();
        assert_eq!(grown.resume(&later.encode()), grown);
    }
}
