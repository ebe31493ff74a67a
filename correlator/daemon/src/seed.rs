//! The secret of the group hashes: drawn once for an installation, kept in the state directory.
//!
//! With a secret that everybody knows, a sender could make values that all fall into one bucket;
//! with a new one at each start, a replay would not be the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "seed";
const BYTES: usize = 16;

/// A secret that can be neither read nor made.
#[derive(Debug, thiserror::Error)]
#[error("the secret of the group hashes in {} cannot be used; if it is damaged, stop, remove it and the snapshot, start", .path.display())]
pub(crate) struct SeedError {
    path: PathBuf,
    source: io::Error,
}

/// Returns the installation's secret, drawing it if there is none.
///
/// # Errors
/// [`SeedError`]: the file cannot be read or written, or is no secret.
pub(crate) fn load_or_draw(state_dir: &Path) -> Result<[u64; 2], SeedError> {
    let path = state_dir.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => {
            bytes.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not 16 bytes long"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(state_dir, &path),
        Err(error) => Err(error),
    };
    let [a, b, c, d, e, f, g, h, rest @ ..]: [u8; BYTES] = bytes.map_err(|source| SeedError { path, source })?;
    Ok([u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest)])
}

/// Writes it under a passing name first, so that a crash leaves no half of it.
fn draw(state_dir: &Path, path: &Path) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let passing = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&passing)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&passing, path)?;
    File::open(state_dir)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_draw(dir.path()).unwrap();
        assert_eq!(load_or_draw(dir.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(load_or_draw(other.path()).unwrap(), first);
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), b"short").unwrap();
        assert!(load_or_draw(dir.path()).is_err());
    }
}
