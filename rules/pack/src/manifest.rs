//! What a pack says of itself: `pack.toml` at its root.

use serde::{Deserialize, Serialize};

/// The manifest's file name.
pub const MANIFEST_NAME: &str = "pack.toml";

/// What a pack says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The pack's name, 1 to 63 characters of `a-z`, `0-9`, `-`.
    pub name: String,
    /// Its version, as its makers count.
    pub version: String,
    /// What is in it; may be empty.
    #[serde(default)]
    pub description: String,
    /// The licence of its rules, an SPDX expression; may be empty.
    #[serde(default)]
    pub licence: String,
}

/// A manifest that is not right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is not TOML, a key is missing or one is not known.
    #[error("the pack's manifest cannot be read")]
    Syntax(#[source] toml::de::Error),
    /// The name is not one.
    #[error("a pack's name is 1 to 63 characters of a-z, 0-9 and '-', got {name:?}")]
    Name {
        /// The name, cut.
        name: String,
    },
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`], naming what is wrong.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(ManifestError::Syntax)?;
        let is_name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&manifest.name.len()) || !manifest.name.bytes().all(is_name_byte) {
            return Err(ManifestError::Name { name: manifest.name.chars().take(80).collect() });
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse("name = \"linux-base\"\nversion = \"1.2\"\n").unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("linux-base", "1.2"));
    }

    #[test]
    fn a_wrong_manifest_is_refused() {
        assert!(matches!(Manifest::parse("name = \"A b\"\nversion = \"1\""), Err(ManifestError::Name { .. })));
        assert!(matches!(Manifest::parse("nam = \"a\""), Err(ManifestError::Syntax(_))));
    }
}
