//! Who and what a detection is about: addresses, accounts, hosts, names, files.
//!
//! Comes in: (field, value) pairs of events. Goes out: [`Entity`] values in one spelling, so that
//! two detections about the same thing can be seen to be. Which field holds what is one table,
//! [`ENTITY_FIELDS`]; a field that is not in it says nothing.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Most entities kept for one detection.
pub const MAX_DETECTION_ENTITIES: usize = 32;

/// Longest value of an entity, in bytes; a longer one is no name of anything.
pub const MAX_ENTITY_BYTES: usize = 255;

/// What kind of thing an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// An IP address.
    Ip,
    /// An account.
    User,
    /// A host, as the log names it.
    Host,
    /// An agent of ours, as its certificate names it.
    Agent,
    /// A domain name.
    Domain,
    /// The hash of a file.
    Hash,
}

/// The part an entity plays in what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityRole {
    /// It did it: the source of a connection, the account that acted or was tried.
    Actor,
    /// It was done to it.
    Target,
    /// It took part, and no field says how.
    Other,
}

/// One thing a detection is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// What kind of thing.
    pub kind: EntityKind,
    /// Its name, in one spelling; an attacker's text.
    pub value: String,
    /// The part it plays.
    pub role: EntityRole,
}

/// Which field names hold an entity: name, kind, part played. Sigma's taxonomy first, then the
/// names of ECS and Zeek; compared as written.
pub const ENTITY_FIELDS: &[(&str, EntityKind, EntityRole)] = {
    use EntityKind::{Domain, Hash, Host, Ip, User};
    use EntityRole::{Actor, Other, Target};
    &[
        ("SourceIp", Ip, Actor),
        ("c-ip", Ip, Actor),
        ("src_ip", Ip, Actor),
        ("IpAddress", Ip, Actor),
        ("ClientAddress", Ip, Actor),
        ("ClientIP", Ip, Actor),
        ("SourceAddress", Ip, Actor),
        ("source.ip", Ip, Actor),
        ("client.ip", Ip, Actor),
        ("id.orig_h", Ip, Actor),
        ("DestinationIp", Ip, Target),
        ("dst_ip", Ip, Target),
        ("s-ip", Ip, Target),
        ("DestAddress", Ip, Target),
        ("DestinationAddress", Ip, Target),
        ("destination.ip", Ip, Target),
        ("server.ip", Ip, Target),
        ("id.resp_h", Ip, Target),
        ("User", User, Actor),
        ("SubjectUserName", User, Actor),
        ("cs-username", User, Actor),
        ("UserName", User, Actor),
        ("user.name", User, Actor),
        ("TargetUser", User, Target),
        ("TargetUserName", User, Target),
        ("user.target.name", User, Target),
        ("Hostname", Host, Target),
        ("Computer", Host, Target),
        ("ComputerName", Host, Target),
        ("host.name", Host, Target),
        ("QueryName", Domain, Other),
        ("DestinationHostname", Domain, Other),
        ("dns.question.name", Domain, Other),
        ("query", Domain, Other),
        ("Hashes", Hash, Other),
        ("md5", Hash, Other),
        ("sha1", Hash, Other),
        ("sha256", Hash, Other),
        ("file.hash.sha256", Hash, Other),
    ]
};

impl EntityKind {
    /// Returns its name in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::User => "user",
            Self::Host => "host",
            Self::Agent => "agent",
            Self::Domain => "domain",
            Self::Hash => "hash",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Entity {
    /// Returns the entity in its one spelling: addresses as the standard library writes them
    /// (an IPv4 address inside IPv6 as IPv4), names of hosts, domains and hashes in lower case
    /// without a final dot. `None` if the value names nothing: empty, `-`, too long, no address.
    pub fn new(kind: EntityKind, value: &str, role: EntityRole) -> Option<Self> {
        let value = value.trim();
        if value.is_empty() || value == "-" || value.len() > MAX_ENTITY_BYTES {
            return None;
        }
        let value = match kind {
            EntityKind::Ip => canonical_ip(value)?.to_string(),
            EntityKind::User | EntityKind::Agent => value.to_owned(),
            EntityKind::Host | EntityKind::Domain => value.trim_end_matches('.').to_lowercase(),
            EntityKind::Hash => canonical_hash(value)?,
        };
        (!value.is_empty()).then_some(Self { kind, value, role })
    }

    /// Returns the address if the entity is one.
    pub fn ip(&self) -> Option<IpAddr> {
        if self.kind == EntityKind::Ip { self.value.parse().ok() } else { None }
    }
}

/// Writes `ip 10.0.0.7`. The value is an attacker's text: escape it for where it goes.
impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.value)
    }
}

/// Collects the entities of events, each once, in order of first appearance, bounded by
/// [`MAX_DETECTION_ENTITIES`].
pub fn extract_entities<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, into: &mut Vec<Entity>) {
    for (name, value) in fields {
        let Some((_, kind, role)) = ENTITY_FIELDS.iter().find(|(known, _, _)| *known == name) else { continue };
        if name == "Hashes" {
            // Sysmon writes `SHA1=...,MD5=...,IMPHASH=...`: an import hash names no file.
            for part in value.split(',') {
                match part.split_once('=') {
                    Some((algorithm, _)) if algorithm.trim().eq_ignore_ascii_case("imphash") => {}
                    Some((_, digest)) => add_entity(into, Entity::new(*kind, digest, *role)),
                    None => add_entity(into, Entity::new(*kind, part, *role)),
                }
            }
        } else {
            add_entity(into, Entity::new(*kind, value, *role));
        }
    }
}

/// Adds an entity that is not there yet, whatever part it plays, if there is room.
pub fn add_entity(into: &mut Vec<Entity>, entity: Option<Entity>) {
    let Some(entity) = entity else { return };
    let is_known = into.iter().any(|known| known.kind == entity.kind && known.value == entity.value);
    if !is_known && into.len() < MAX_DETECTION_ENTITIES {
        into.push(entity);
    }
}

fn canonical_ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    // A zone (`fe80::1%eth0`) names an interface of one host, not an address.
    let bare = bare.split('%').next().unwrap_or(bare);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn canonical_hash(text: &str) -> Option<String> {
    let text = text.trim();
    // MD5, SHA-1, SHA-256, SHA-512.
    let is_digest = matches!(text.len(), 32 | 40 | 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_zero = text.bytes().all(|byte| byte == b'0');
    (is_digest && !is_zero).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Vec<String> {
        let mut entities = Vec::new();
        extract_entities(fields.iter().copied(), &mut entities);
        entities.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_thing_has_one_spelling() {
        let fields = [("SourceIp", "::ffff:10.0.0.7"), ("c-ip", "10.0.0.7"), ("Hostname", "Web-01.")];
        assert_eq!(of(&fields), ["ip 10.0.0.7", "host web-01"]);
        assert_eq!(of(&[("IpAddress", "[2001:DB8::1%eth0]")]), ["ip 2001:db8::1"]);
    }

    #[test]
    fn what_names_nothing_is_no_entity() {
        let long = "a".repeat(MAX_ENTITY_BYTES + 1);
        let fields = [("SourceIp", "localhost"), ("User", "-"), ("User", ""), ("User", &long), ("Message", "10.0.0.7")];
        assert!(of(&fields).is_empty());
    }

    #[test]
    fn sysmon_hashes_are_taken_apart() {
        let md5 = "D41D8CD98F00B204E9800998ECF8427E";
        let text = format!("MD5={md5},IMPHASH={md5},SHA256={}", "0".repeat(64));
        assert_eq!(of(&[("Hashes", &text)]), [format!("hash {}", md5.to_lowercase())]);
    }

    #[test]
    fn entities_are_bounded() {
        let values: Vec<String> = (0..100).map(|index| format!("user{index}")).collect();
        let fields: Vec<(&str, &str)> = values.iter().map(|value| ("User", value.as_str())).collect();
        assert_eq!(of(&fields).len(), MAX_DETECTION_ENTITIES);
    }
}
