//! What can be wrong with a configuration file. Every fault is the operator's, names its line and
//! says what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Most faults that are printed; the rest are counted.
const MAX_SHOWN: usize = 100;

/// One fault of a configuration file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// The file itself cannot be read.
    #[error("the configuration file cannot be read; create it or name another with --config")]
    Unreadable {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is longer than a configuration can be.
    #[error("the configuration file has more than {limit} bytes; is this the right file?")]
    TooLarge {
        /// The longest one, in bytes.
        limit: u64,
    },
    /// Somebody other than its owner and group can write the file.
    #[error("other users can write the configuration file (mode {mode:03o}); run chmod o-w on it")]
    OthersCanWrite {
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to neither root nor the user the daemon runs as.
    #[error("the configuration file belongs to user id {owner}; run chown root on it")]
    ForeignOwner {
        /// Its owner.
        owner: u32,
    },
    /// The text is not TOML.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// Where.
        line: u32,
        /// What the TOML reader says.
        message: String,
    },
    /// No such key.
    #[error("unknown key `{key}`; {advice}")]
    UnknownKey {
        /// Where.
        line: u32,
        /// The key's path.
        key: String,
        /// The nearest known key, or what to do.
        advice: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, got {found}")]
    WrongType {
        /// Where; nowhere if it is a default.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A value of the right type that is out of range or malformed.
    #[error("`{key}` must be {expected}, got {found}")]
    BadValue {
        /// Where; nowhere if it is a default.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file or directory that is not there, or cannot be read.
    #[error("`{key}` names the {wanted} {path:?}, which cannot be read; create it or correct the path")]
    MissingFile {
        /// Where; nowhere if it is a default.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// `file` or `directory`.
        wanted: &'static str,
        /// What was looked for.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// A secret that others can read or write.
    #[error(
        "`{key}` names the secret {path:?}, which other users can read or write (mode {mode:03o}); run chmod o-rwx on it"
    )]
    ExposedSecret {
        /// Where; nowhere if it is a default.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key that must be there is not.
    #[error("`{key}` is missing; add {advice}")]
    MissingKey {
        /// The line of the table that should hold it, if there is one.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// What to add.
        advice: String,
    },
    /// What the daemon itself has against a value.
    #[error("`{key}` {problem}")]
    Rejected {
        /// Where; nowhere if it is a default.
        line: Option<u32>,
        /// The key's path.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigFault {
    /// Returns the line of the file the fault is on, counted from 1.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::OthersCanWrite { .. }
            | Self::ForeignOwner { .. } => None,
            Self::Syntax { line, .. } | Self::UnknownKey { line, .. } => Some(*line),
            Self::WrongType { line, .. }
            | Self::BadValue { line, .. }
            | Self::MissingFile { line, .. }
            | Self::ExposedSecret { line, .. }
            | Self::MissingKey { line, .. }
            | Self::Rejected { line, .. } => *line,
        }
    }
}

/// All faults of one configuration file, in the order of their lines.
///
/// Prints one line a fault: `path:line: fault: cause`.
#[derive(Debug)]
pub struct ConfigFaults {
    path: PathBuf,
    faults: Vec<ConfigFault>,
}

impl ConfigFaults {
    /// Gathers faults found by a daemon's own checks; those without a line come first.
    pub fn new(path: &Path, mut faults: Vec<ConfigFault>) -> Self {
        faults.sort_by_key(ConfigFault::line);
        Self { path: path.to_owned(), faults }
    }

    /// Returns the faults.
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.path.display().to_string().escape_debug().to_string();
        for (index, fault) in self.faults.iter().take(MAX_SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match fault.line() {
                Some(line) => write!(f, "{place}:{line}: {fault}")?,
                None => write!(f, "{place}: {fault}")?,
            }
            let mut cause = std::error::Error::source(fault);
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        match self.faults.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n{place}: and {more} more faults"),
        }
    }
}

/// The causes are part of the text, because there is one a fault.
impl std::error::Error for ConfigFaults {}
