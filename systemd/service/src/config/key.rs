//! The table a daemon's configuration is declared by: a path, a kind, a default or an example, and
//! the reason for the key.

use std::time::Duration;

use crate::config::quantity;

/// What a key's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text without control characters, 1 to 1,024 bytes.
    Text,
    /// A name: 1 to 63 characters of `a-z 0-9 - _ .`, beginning with a letter or digit.
    Label,
    /// One of a closed list of words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The least one.
        min: i64,
        /// The greatest one.
        max: i64,
    },
    /// A span of time with its unit: `"250ms"`, `"10s"`, `"5m"`, `"2h"`, `"7d"`.
    Duration {
        /// The shortest one.
        min: Duration,
        /// The longest one.
        max: Duration,
    },
    /// An amount of bytes with its unit: `"512B"`, `"64KiB"`, `"1MiB"`, `"2GiB"`, `"1TiB"`.
    Bytes {
        /// The least one.
        min: u64,
        /// The greatest one.
        max: u64,
    },
    /// An IP address and port to bind: `"127.0.0.1:9601"`, `"[::1]:9601"`.
    Address,
    /// A host name or address and port to connect to: `"collector.example.vn:6514"`.
    Endpoint,
    /// An absolute path; whether something is there is not looked at.
    Path,
    /// An absolute path of a file that exists and can be read.
    ExistingFile,
    /// As [`Kind::ExistingFile`], and other users of the host can neither read nor write it.
    SecretFile,
    /// An absolute path of a directory that exists and can be listed.
    ExistingDir,
    /// An array whose items are all of one kind.
    List(&'static Kind),
    /// An array of tables, `[[name]]`, each with these keys.
    Tables(&'static [Key]),
}

/// Whether a key has to be in the file, and what stands in if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The file must hold the key; the example is what the shipped file shows.
    Required(&'static str),
    /// This stands in.
    Default(&'static str),
    /// Nothing stands in; the example is what the shipped file shows.
    Optional(&'static str),
}

/// One key of a daemon's configuration.
///
/// Defaults and examples are written as in the file, but text without its quotes: `10s`,
/// `/var/lib/canh`, `true`, and a list as TOML, `["a", "b"]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    pub(crate) unit: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) reload: bool,
}

impl Key {
    /// Declares a key that has a default.
    pub const fn with_default(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { path, kind, presence: Presence::Default(default), unit: "", doc, reload: false }
    }

    /// Declares a key that the file must hold. Of [`Kind::Tables`]: at least one table, and the
    /// example is not used.
    pub const fn required(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Self {
        Self { path, kind, presence: Presence::Required(example), unit: "", doc, reload: false }
    }

    /// Declares a key that may be left out, for which nothing stands in: ask [`super::Settings::has`].
    pub const fn optional(path: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Self {
        Self { path, kind, presence: Presence::Optional(example), unit: "", doc, reload: false }
    }

    /// Names the unit, where the kind does not already say it: `records`, `connections`.
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Marks the key as one that a reload takes over; all others need a restart.
    pub const fn reloadable(mut self) -> Self {
        self.reload = true;
        self
    }

    /// Returns the key's path, with dots between tables: `ship.spool_dir`.
    pub const fn path(&self) -> &'static str {
        self.path
    }
}

/// Joins two tables of keys into one of `N` keys, so that keys several daemons have are declared once.
///
/// # Contract
/// `N` is the sum of both lengths; anything else does not compile where it is used in a constant.
pub const fn joined<const N: usize>(first: &[Key], second: &[Key]) -> [Key; N] {
    assert!(first.len() + second.len() == N, "the table holds both, and nothing else");
    let mut all = [Key::optional("", Kind::Bool, "", ""); N];
    let mut place = 0;
    let (mut left, mut right) = (first, second);
    while let Some((slot, _)) = all.split_at_mut(place).1.split_first_mut() {
        if let Some((key, rest)) = left.split_first() {
            *slot = *key;
            left = rest;
        } else if let Some((key, rest)) = right.split_first() {
            *slot = *key;
            right = rest;
        }
        place += 1;
    }
    all
}

impl Kind {
    /// Returns the kind in words, as a fault and the reference page name it.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Text => "text of 1 to 1024 bytes without control characters".to_owned(),
            Self::Label => "a name of 1 to 63 characters a-z, 0-9, '-', '_' or '.'".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration { min, max } => format!(
                "a duration from {} to {}, in quotes and with its unit, like \"10s\"",
                quantity::duration_text(*min),
                quantity::duration_text(*max)
            ),
            Self::Bytes { min, max } => format!(
                "an amount of bytes from {} to {}, in quotes and with its unit, like \"64MiB\"",
                quantity::bytes_text(*min),
                quantity::bytes_text(*max)
            ),
            Self::Address => "an IP address and port, like \"127.0.0.1:9601\"".to_owned(),
            Self::Endpoint => "a host and port, like \"collector.example.vn:6514\"".to_owned(),
            Self::Path => "an absolute path".to_owned(),
            Self::ExistingFile => "the absolute path of a readable file".to_owned(),
            Self::SecretFile => "the absolute path of a file that other users can neither read nor write".to_owned(),
            Self::ExistingDir => "the absolute path of a directory".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.in_words()),
            Self::Tables(_) => "tables, one [[...]] for each".to_owned(),
        }
    }

    /// Returns whether a value of the kind is written in quotes.
    pub(crate) const fn is_quoted(&self) -> bool {
        !matches!(self, Self::Bool | Self::Integer { .. } | Self::List(_) | Self::Tables(_))
    }
}
