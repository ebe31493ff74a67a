//! A daemon's schema: from a path to checked settings.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::check;
use crate::config::fault::{ConfigFault, ConfigFaults};
use crate::config::key::Key;
use crate::config::settings::Settings;

/// Longest configuration file, in bytes: a thousand times what a real one has.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A daemon's name and the table of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub(crate) daemon: &'static str,
    pub(crate) keys: &'static [Key],
}

impl Schema {
    /// Declares a schema. The keys stand in the order they are to be documented in, those of one
    /// table together.
    pub const fn new(daemon: &'static str, keys: &'static [Key]) -> Self {
        Self { daemon, keys }
    }

    /// Returns the daemon's name.
    pub const fn daemon(&self) -> &'static str {
        self.daemon
    }

    /// Returns where the file is unless `--config` says otherwise: `/etc/canh/<daemon>.toml`.
    pub fn default_path(&self) -> PathBuf {
        Path::new("/etc/canh").join(format!("{}.toml", self.daemon))
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every fault of the file, each with its line. A file that other users can write, or that
    /// belongs to neither root nor the user the daemon runs as, is refused unread.
    pub fn load(&self, path: &Path) -> Result<Settings, ConfigFaults> {
        let text = read(path).map_err(|fault| ConfigFaults::new(path, vec![fault]))?;
        self.parse(path, &text)
    }

    /// Checks the text of a configuration file; `path` only stands in the faults.
    ///
    /// # Errors
    /// Every fault of the text, each with its line.
    pub fn parse(&self, path: &Path, text: &str) -> Result<Settings, ConfigFaults> {
        let (settings, faults) = check::check(self.keys, text);
        if faults.is_empty() { Ok(settings) } else { Err(ConfigFaults::new(path, faults)) }
    }
}

fn read(path: &Path) -> Result<String, ConfigFault> {
    let unreadable = |source| ConfigFault::Unreadable { source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    // Asked of the open file, so that it cannot be another one than is read.
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(ConfigFault::OthersCanWrite { mode });
    }
    let own = fs::metadata("/proc/self").map_or(0, |it| it.uid());
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(ConfigFault::ForeignOwner { owner: metadata.uid() });
    }
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(ConfigFault::TooLarge { limit: MAX_CONFIG_BYTES });
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
