//! The correlator's snapshot as a file: whole or not there.
//!
//! ```text
//! magic "CSS" │ version u8 │ position u64 │ ledger u64 │ length u64 │ crc32c u32 │ bytes
//! ```
//!
//! Written beside the old one, synced, renamed over it, and the directory synced: a power cut
//! leaves the old or the new one. The checksum covers everything but itself.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"CSS\x01";
const HEADER_BYTES: usize = 32;

/// A snapshot and what it was taken at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The journal position up to which the state has taken events in.
    pub position: u64,
    /// The last ledger record at that moment.
    pub ledger: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

/// A snapshot that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFileError {
    /// A call to the file system failed.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written. The state can be made again from the journal.
    #[error("the snapshot {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

fn snapshot_path(dir: &Path) -> PathBuf {
    dir.join("correlator.snapshot")
}

/// Writes a snapshot; it is durable on return.
pub(crate) fn save(dir: &Path, snapshot: &StoredSnapshot) -> Result<(), SnapshotFileError> {
    let path = snapshot_path(dir);
    let temporary = dir.join("correlator.snapshot.new");
    let failed = |doing, path: &Path| {
        let path = path.to_path_buf();
        move |source| SnapshotFileError::File { doing, path, source }
    };
    let header = header_of(snapshot);
    let checksum = checksum(&header, &snapshot.bytes);
    let mut file = File::create(&temporary).map_err(failed("create", &temporary))?;
    let written = file
        .write_all(&header)
        .and_then(|()| file.write_all(&checksum.to_le_bytes()))
        .and_then(|()| file.write_all(&snapshot.bytes))
        .and_then(|()| file.sync_all());
    written.map_err(failed("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(failed("rename", &temporary))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// Reads the snapshot, if there is one.
pub(crate) fn load(dir: &Path) -> Result<Option<StoredSnapshot>, SnapshotFileError> {
    let path = snapshot_path(dir);
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SnapshotFileError::File { doing: "read", path, source }),
    };
    decode(&content).map(Some).ok_or(SnapshotFileError::Damaged { path })
}

fn header_of(snapshot: &StoredSnapshot) -> [u8; HEADER_BYTES - 4] {
    let mut header = [0; HEADER_BYTES - 4];
    let parts = [
        MAGIC.as_slice(),
        &snapshot.position.to_le_bytes(),
        &snapshot.ledger.to_le_bytes(),
        &(snapshot.bytes.len() as u64).to_le_bytes(),
    ];
    for (slot, byte) in header.iter_mut().zip(parts.concat()) {
        *slot = byte;
    }
    header
}

fn checksum(header: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), bytes)
}

fn decode(content: &[u8]) -> Option<StoredSnapshot> {
    let (header, rest) = content.split_at_checked(HEADER_BYTES - 4)?;
    let (stored, bytes) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*stored) != checksum(header, bytes) {
        return None;
    }
    let numbers = header.strip_prefix(MAGIC.as_slice())?;
    let (position, numbers) = numbers.split_first_chunk::<8>()?;
    let (ledger, length) = numbers.split_first_chunk::<8>()?;
    let is_whole = *length == (bytes.len() as u64).to_le_bytes();
    let (position, ledger) = (u64::from_le_bytes(*position), u64::from_le_bytes(*ledger));
    is_whole.then(|| StoredSnapshot { position, ledger, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_and_every_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), None);
        let snapshot = StoredSnapshot { position: 17, ledger: 4, bytes: b"state".to_vec() };
        save(dir.path(), &StoredSnapshot { position: 1, ..snapshot.clone() }).unwrap();
        save(dir.path(), &snapshot).unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(snapshot));

        let path = snapshot_path(dir.path());
        let content = fs::read(&path).unwrap();
        for place in 0..content.len() {
            let mut damaged = content.clone();
            damaged[place] ^= 0x40;
            fs::write(&path, damaged).unwrap();
            assert!(matches!(load(dir.path()), Err(SnapshotFileError::Damaged { .. })), "byte {place}");
            fs::write(&path, &content[..place]).unwrap();
            assert!(load(dir.path()).is_err(), "cut to {place}");
        }
    }

    #[test]
    fn a_half_written_new_one_does_not_hide_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = StoredSnapshot { position: 17, ledger: 4, bytes: b"state".to_vec() };
        save(dir.path(), &snapshot).unwrap();
        fs::write(dir.path().join("correlator.snapshot.new"), b"CSS").unwrap();
        assert_eq!(load(dir.path()).unwrap(), Some(snapshot));
    }
}
