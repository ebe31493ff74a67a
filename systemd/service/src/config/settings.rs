//! Checked values, by key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::fault::ConfigFault;

/// One checked value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Bool(bool),
    Integer(i64),
    Duration(Duration),
    Bytes(u64),
    Address(SocketAddr),
    Path(PathBuf),
    List(Vec<Value>),
    Tables(Vec<Settings>),
    /// An optional key that the file does not hold.
    Absent,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) line: Option<u32>,
    pub(crate) reload: bool,
}

/// The checked values of one configuration file, or of one table of an array of tables.
///
/// # Panics
/// A getter panics if its key is not in the schema's table or is of another kind: that is a slip in
/// the daemon that any test which loads its configuration shows, and no file can cause it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What stands before a key's path in a fault: empty, or `file[2].`.
    pub(crate) prefix: String,
    pub(crate) entries: BTreeMap<&'static str, Entry>,
}

/// Where a value stands is not part of what it is.
impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self
                .entries
                .iter()
                .all(|(path, entry)| other.entries.get(path).is_some_and(|it| it.value == entry.value))
    }
}

/// A key whose value is not what it was before a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key's path.
    pub path: &'static str,
    /// Whether a reload takes it over.
    pub reloadable: bool,
}

impl Settings {
    /// Returns whether an optional key is in the file.
    pub fn has(&self, path: &str) -> bool {
        *self.value(path) != Value::Absent
    }

    /// Returns a text, label, choice or endpoint.
    pub fn text(&self, path: &str) -> &str {
        match self.value(path) {
            Value::Text(text) => text,
            _ => misused(path, "a text"),
        }
    }

    /// Returns a truth value.
    pub fn bool(&self, path: &str) -> bool {
        match self.value(path) {
            Value::Bool(value) => *value,
            _ => misused(path, "a truth value"),
        }
    }

    /// Returns a whole number.
    pub fn integer(&self, path: &str) -> i64 {
        match self.value(path) {
            Value::Integer(value) => *value,
            _ => misused(path, "an integer"),
        }
    }

    /// Returns a whole number that the schema holds at 0 or above.
    pub fn count(&self, path: &str) -> usize {
        usize::try_from(self.integer(path)).unwrap_or(0)
    }

    /// Returns a span of time.
    pub fn duration(&self, path: &str) -> Duration {
        match self.value(path) {
            Value::Duration(value) => *value,
            _ => misused(path, "a duration"),
        }
    }

    /// Returns an amount of bytes.
    pub fn bytes(&self, path: &str) -> u64 {
        match self.value(path) {
            Value::Bytes(value) => *value,
            _ => misused(path, "an amount of bytes"),
        }
    }

    /// Returns an address to bind.
    pub fn address(&self, path: &str) -> SocketAddr {
        match self.value(path) {
            Value::Address(value) => *value,
            _ => misused(path, "an address"),
        }
    }

    /// Returns a path, existing or not.
    pub fn path(&self, path: &str) -> &Path {
        match self.value(path) {
            Value::Path(value) => value,
            _ => misused(path, "a path"),
        }
    }

    /// Returns a list of texts, labels, choices or endpoints.
    pub fn list(&self, path: &str) -> Vec<&str> {
        let items = self.items(path).iter().map(|item| match item {
            Value::Text(text) => text.as_str(),
            _ => misused(path, "a list of texts"),
        });
        items.collect()
    }

    /// Returns a list of paths.
    pub fn paths(&self, path: &str) -> Vec<&Path> {
        let items = self.items(path).iter().map(|item| match item {
            Value::Path(value) => value.as_path(),
            _ => misused(path, "a list of paths"),
        });
        items.collect()
    }

    /// Returns the tables of an array of tables, in the order of the file.
    pub fn tables(&self, path: &str) -> &[Self] {
        match self.value(path) {
            Value::Tables(tables) => tables,
            Value::Absent => &[],
            _ => misused(path, "an array of tables"),
        }
    }

    /// Returns the line a key stands on; none if its default stands in.
    pub fn line(&self, path: &str) -> Option<u32> {
        self.entry(path).line
    }

    /// Makes a fault of what the daemon itself has against a value; `problem` completes the
    /// sentence "`key` ...", and says what to do.
    pub fn fault(&self, path: &str, problem: &str) -> ConfigFault {
        let key = format!("{}{path}", self.prefix);
        ConfigFault::Rejected { line: self.line(path), key, problem: problem.to_owned() }
    }

    /// Returns the keys whose values differ in `newer`, which is of the same schema.
    pub fn changes(&self, newer: &Self) -> Vec<Change> {
        let differs =
            |path: &&'static str| newer.entries.get(*path).map(|entry| &entry.value) != Some(self.value(path));
        let change = |path: &'static str| Change { path, reloadable: self.entry(path).reload };
        self.entries.keys().copied().filter(differs).map(change).collect()
    }

    fn items(&self, path: &str) -> &[Value] {
        match self.value(path) {
            Value::List(items) => items,
            Value::Absent => &[],
            _ => misused(path, "a list"),
        }
    }

    fn value(&self, path: &str) -> &Value {
        &self.entry(path).value
    }

    fn entry(&self, path: &str) -> &Entry {
        match self.entries.get(path) {
            Some(entry) => entry,
            None => misused(path, "a key of this schema"),
        }
    }
}

#[cold]
fn misused(path: &str, wanted: &str) -> ! {
    panic!("`{path}` is not {wanted}: the daemon's code and its table of keys disagree")
}
