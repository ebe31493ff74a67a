//! Files of the repository that are made from code: a test compares, `UPDATE_GOLDEN` writes.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Returns the path if the file does not hold the text; with `UPDATE_GOLDEN` set in the environment
/// it is written instead.
pub(crate) fn stale(path: PathBuf, text: &str) -> io::Result<Option<PathBuf>> {
    if fs::read_to_string(&path).is_ok_and(|held| held == text) {
        return Ok(None);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_none() {
        return Ok(Some(path));
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(&path, text)?;
    Ok(None)
}
