//! Which certificates are not accepted any more, as a list in a file that the daemon watches.
//!
//! An entry takes an agent's name out of use, with every certificate issued up to then, or one
//! certificate by its serial number. A certificate issued later, to a machine set up anew, is accepted:
//! whoever stole the old key still has the old certificate only.
//!
//! The list says how many entries it has, so one that was cut short is not a shorter list. A list that
//! cannot be read lets nobody in.

use std::collections::HashMap;
use std::fmt::Write;

use canh_event::{AgentId, Timestamp};
use canh_wire::tls::AgentIdentity;
use serde::Deserialize;

use crate::authority::issued_at;
use crate::folder::{self, Folder, FolderError, PUBLIC_MODE};

/// Most entries.
const MAX_ENTRIES: usize = 65_536;
/// Longest list: every entry at its longest.
const MAX_BYTES: u64 = 64 << 20;
/// Longest reason, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 200;
/// Longest serial number, in hexadecimal digits (RFC 5280 section 4.1.2.2: 20 bytes).
const MAX_SERIAL_DIGITS: usize = 40;

/// A certificate's serial number as it is written: lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Serial(Box<str>);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) agent: AgentId,
    /// One certificate only.
    pub(crate) serial: Option<Serial>,
    /// Certificates issued up to here, if it is not one only.
    pub(crate) until: Timestamp,
    pub(crate) reason: String,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Revocations {
    agents: HashMap<AgentId, Entry>,
    serials: HashMap<(AgentId, Serial), Entry>,
}

/// A list that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevocationError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is not what we write.
    #[error("{} is no list of revocations: {problem}; restore it from a backup", path.display())]
    Damaged { path: std::path::PathBuf, problem: String },
    /// There are too many.
    #[error("the list has {MAX_ENTRIES} entries already")]
    Full,
    /// Nothing to take back.
    #[error("no such entry is on the list")]
    NotRevoked,
    /// A list is there.
    #[error("{} is there already", path.display())]
    Exists { path: std::path::PathBuf },
}

/// A text that is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 1 to {MAX_SERIAL_DIGITS} hexadecimal digits in lower case")]
pub(crate) struct SerialError;

/// The list as it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    entries: usize,
    #[serde(default)]
    revoked: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    agent: String,
    serial: Option<String>,
    until: i64,
    reason: String,
}

impl std::str::FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_serial = (1..=MAX_SERIAL_DIGITS).contains(&text.len()) && text.bytes().all(is_digit);
        if is_serial { Ok(Self(Box::from(text))) } else { Err(SerialError) }
    }
}

impl Revocations {
    /// Reads the list.
    pub(crate) fn load(folder: &Folder) -> Result<Self, RevocationError> {
        let text = folder.read(folder::REVOKED, MAX_BYTES)?;
        Self::parse(&text).map_err(|problem| RevocationError::Damaged { path: folder.path(folder::REVOKED), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let List { entries, revoked } = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if entries != revoked.len() || entries > MAX_ENTRIES {
            return Err(format!("it says it has {entries} entries and has {}", revoked.len()));
        }
        let mut list = Self::default();
        for Item { agent, serial, until, reason } in revoked {
            let agent = agent.parse().map_err(|_| "an agent's name is none".to_owned())?;
            let serial =
                serial.map(|serial| serial.parse()).transpose().map_err(|error: SerialError| error.to_string())?;
            list.put(Entry { agent, serial, until: Timestamp::from_secs(until), reason });
        }
        Ok(list)
    }

    /// Returns the entry a certificate is revoked by; none if it is accepted.
    pub(crate) fn find(&self, who: &AgentIdentity) -> Option<&Entry> {
        let of_name = self.agents.get(&who.agent).filter(|entry| issued_at(who.not_before) <= entry.until);
        of_name.or_else(|| self.serials.get(&(who.agent.clone(), Serial(who.serial.clone()))))
    }

    /// Returns until when certificates of an agent are revoked: a new one must be issued later.
    pub(crate) fn until(&self, agent: &AgentId) -> Option<Timestamp> {
        self.agents.get(agent).map(|entry| entry.until)
    }

    /// Returns how many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.agents.len() + self.serials.len()
    }

    /// Returns the entries, in order of names and serial numbers.
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.agents.values().chain(self.serials.values()).collect();
        entries.sort_unstable_by_key(|entry| (&entry.agent, entry.serial.as_ref().map(|serial| &serial.0)));
        entries
    }

    /// Puts an entry in place of one about the same; of a name the later one stays.
    fn put(&mut self, entry: Entry) {
        match &entry.serial {
            Some(serial) => drop(self.serials.insert((entry.agent.clone(), serial.clone()), entry)),
            None => {
                let until = self.until(&entry.agent).map_or(entry.until, |known| known.max(entry.until));
                self.agents.insert(entry.agent.clone(), Entry { until, ..entry });
            }
        }
    }

    fn write(&self, folder: &Folder) -> Result<(), RevocationError> {
        let mut text = format!("entries = {}\n", self.len());
        for Entry { agent, serial, until, reason } in self.entries() {
            let _ = write!(text, "\n[[revoked]]\nagent = \"{agent}\"\n");
            if let Some(Serial(serial)) = serial {
                let _ = writeln!(text, "serial = \"{serial}\"");
            }
            let _ = writeln!(text, "until = {}\nreason = \"{}\"", until.secs(), reason);
        }
        Ok(folder.write(folder::REVOKED, &text, PUBLIC_MODE)?)
    }
}

/// Makes an empty list where there is none.
pub(crate) fn make_empty(folder: &Folder) -> Result<(), RevocationError> {
    if folder.has(folder::REVOKED) {
        return Err(RevocationError::Exists { path: folder.path(folder::REVOKED) });
    }
    Revocations::default().write(folder)
}

/// Puts an entry on the list. What of its reason could break the file or a terminal is left out.
///
/// # Contract
/// The caller holds the folder's lock; so for [`take_back`].
pub(crate) fn revoke(folder: &Folder, entry: Entry) -> Result<(), RevocationError> {
    let mut list = Revocations::load(folder)?;
    if list.len() >= MAX_ENTRIES {
        return Err(RevocationError::Full);
    }
    let reason = plain(&entry.reason);
    list.put(Entry { reason, ..entry });
    list.write(folder)
}

/// Takes an entry off the list.
pub(crate) fn take_back(folder: &Folder, agent: &AgentId, serial: Option<&Serial>) -> Result<(), RevocationError> {
    let mut list = Revocations::load(folder)?;
    let taken = match serial {
        Some(serial) => list.serials.remove(&(agent.clone(), serial.clone())),
        None => list.agents.remove(agent),
    };
    if taken.is_none() { Err(RevocationError::NotRevoked) } else { list.write(folder) }
}

fn plain(reason: &str) -> String {
    let mut text = String::new();
    for letter in reason.chars().filter(|letter| !letter.is_control() && !matches!(letter, '"' | '\\')) {
        if text.len() + letter.len_utf8() > MAX_REASON_BYTES {
            break;
        }
        text.push(letter);
    }
    text
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use canh_wire::{CERTIFICATE_SKEW, Fingerprint};

    use super::*;

    fn who(serial: &str, issued: i64) -> AgentIdentity {
        let issued = Timestamp::from_secs(issued);
        AgentIdentity {
            agent: "web-01".parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            serial: serial.into(),
            not_before: issued.saturating_sub(CERTIFICATE_SKEW),
            not_after: issued.saturating_add(CERTIFICATE_SKEW),
            key: Fingerprint::of(b""),
        }
    }

    fn entry(serial: Option<&str>, until: i64, reason: &str) -> Entry {
        let serial = serial.map(|serial| serial.parse().unwrap());
        Entry { agent: "web-01".parse().unwrap(), serial, until: Timestamp::from_secs(until), reason: reason.into() }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        make_empty(&folder).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_name_is_out_with_what_was_issued_until_then() {
        let (_dir, folder) = folder();
        revoke(&folder, entry(None, 1_000, "stolen \"box\"\n\u{1b}[2J")).unwrap();
        let list = Revocations::load(&folder).unwrap();
        assert_eq!(list.find(&who("01", 1_000)).unwrap().reason, "stolen box[2J");
        assert!(list.find(&who("01", 1_001)).is_none(), "set up anew");
        revoke(&folder, entry(None, 900, "earlier")).unwrap();
        let list = Revocations::load(&folder).unwrap();
        assert!(list.find(&who("01", 1_000)).is_some(), "an entry never lets anybody in again");
        take_back(&folder, &who("01", 0).agent, None).unwrap();
        assert!(Revocations::load(&folder).unwrap().find(&who("01", 1_000)).is_none());
        assert!(matches!(take_back(&folder, &who("01", 0).agent, None), Err(RevocationError::NotRevoked)));
    }

    #[test]
    fn one_certificate_is_out_and_the_others_of_the_agent_are_not() {
        let (_dir, folder) = folder();
        revoke(&folder, entry(Some("0a"), 1_000, "")).unwrap();
        let list = Revocations::load(&folder).unwrap();
        assert!(list.find(&who("0a", 2_000)).is_some() && list.find(&who("0b", 500)).is_none());
        take_back(&folder, &who("0a", 0).agent, Some(&"0a".parse().unwrap())).unwrap();
        assert_eq!(Revocations::load(&folder).unwrap().len(), 0);
        for wrong in ["", "0A", "0a\"", &"0".repeat(41)] {
            assert_eq!(wrong.parse::<Serial>(), Err(SerialError), "{wrong}");
        }
    }

    #[test]
    fn a_list_that_was_cut_short_anywhere_is_no_list() {
        let (_dir, folder) = folder();
        revoke(&folder, entry(None, 1_000, "stolen")).unwrap();
        revoke(&folder, entry(Some("0a"), 1_000, "leaked")).unwrap();
        let whole = std::fs::read_to_string(folder.path(folder::REVOKED)).unwrap();
        for length in 0..whole.trim_end().len() {
            let parsed = Revocations::parse(&whole[..length]);
            assert!(parsed.is_err(), "{length}: {:?}", &whole[..length]);
        }
        assert_eq!(Revocations::parse(&whole).unwrap().len(), 2);
        assert!(Revocations::parse(&whole.replace("web-01", "../x")).is_err());
        assert!(matches!(make_empty(&folder), Err(RevocationError::Exists { .. })));
    }
}
