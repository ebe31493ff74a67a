//! Which agents there are, and the newest certificates of each: one small file an agent.
//!
//! ```text
//!  agents/web-01     agency, when it was enrolled, and up to two certificates, the newest first
//! ```
//!
//! A name has one key at a time. The certificate before the newest is remembered because an answer can be
//! lost on its way: until the newest has been seen in a handshake, the one before may ask again. Once it
//! has been seen, whoever still shows the one before is another machine.

use std::fmt::Write;

use canh_event::{AgencyId, AgentId, Timestamp};
use canh_wire::CertificateFacts;
use canh_wire::tls::AgentIdentity;
use serde::Deserialize;

use crate::authority::issued_at;
use crate::folder::{Folder, FolderError, PUBLIC_MODE};

const DIR: &str = "agents";
/// Longest file of an agent.
const MAX_BYTES: u64 = 4 << 10;
/// Most agents of a collector.
pub(crate) const MAX_AGENTS: usize = 65_536;

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registered {
    pub(crate) agency: String,
    /// When, in seconds since 1970; so for every time here.
    pub(crate) enrolled: i64,
    /// The newest first; one or two.
    pub(crate) certificate: Vec<KnownCertificate>,
}

/// A certificate as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownCertificate {
    pub(crate) serial: String,
    key: String,
    pub(crate) issued: i64,
    pub(crate) expires: i64,
    /// The key of the CA that signed it, as hexadecimal digits.
    authority: String,
    /// Whether it was shown in a handshake.
    pub(crate) is_seen: bool,
}

/// How a certificate stands to the newest of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the newest.
    Newest,
    /// It is the one before, and the newest was never seen.
    NewestUnseen,
    /// A newer one is in use.
    Superseded,
    /// Nothing is known of the agent.
    Unknown,
}

/// An agent that knows nothing of a new CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) agent: AgentId,
    /// When its certificate expires.
    pub(crate) until: Timestamp,
}

/// A file of an agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is not what we write.
    #[error("the file of agent {agent} is damaged: restore it, or enrol the agent anew with a --replace token")]
    Damaged { agent: AgentId },
    /// There are too many.
    #[error("{MAX_AGENTS} agents are registered already")]
    Full,
}

/// Reads what is known of an agent; nothing if it was never enrolled here.
pub(crate) fn read(folder: &Folder, agent: &AgentId) -> Result<Option<Registered>, RegistryError> {
    let text = match folder.read(&name_of(agent), MAX_BYTES) {
        Err(error) if error.is_missing() => return Ok(None),
        text => text?,
    };
    let registered: Registered = toml::from_str(&text).map_err(|_| RegistryError::Damaged { agent: agent.clone() })?;
    let is_whole = (1..=2).contains(&registered.certificate.len()) && registered.agency.parse::<AgencyId>().is_ok();
    if is_whole { Ok(Some(registered)) } else { Err(RegistryError::Damaged { agent: agent.clone() }) }
}

/// Remembers an agent's first certificate, in place of what was known.
///
/// # Contract
/// The caller holds the folder's lock; so for every change below.
pub(crate) fn enrol(
    folder: &Folder,
    agent: &AgentId,
    agency: &AgencyId,
    certificate: &CertificateFacts,
    now: Timestamp,
) -> Result<(), RegistryError> {
    if !folder.has(&name_of(agent)) && folder.names(DIR, MAX_AGENTS)?.len() >= MAX_AGENTS {
        return Err(RegistryError::Full);
    }
    let certificate = vec![KnownCertificate::of(certificate)];
    write(folder, agent, &Registered { agency: agency.to_string(), enrolled: now.secs(), certificate })
}

/// Remembers a certificate that was made by hand: as enrolled, whatever was known.
pub(crate) fn record_by_hand(
    folder: &Folder,
    agent: &AgentId,
    agency: &AgencyId,
    certificate: &CertificateFacts,
    now: Timestamp,
) -> Result<(), RegistryError> {
    enrol(folder, agent, agency, certificate, now)
}

/// Remembers the certificate that follows the one `who` has shown.
pub(crate) fn renew(
    folder: &Folder,
    who: &AgentIdentity,
    newest: &CertificateFacts,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let known = read(folder, &who.agent)?;
    let shown = known.iter().flat_map(|known| &known.certificate).find(|it| *it.serial == *who.serial).cloned();
    let shown = shown.unwrap_or_else(|| KnownCertificate::of_identity(who));
    let certificate = vec![KnownCertificate::of(newest), KnownCertificate { is_seen: true, ..shown }];
    let enrolled = known.map_or(now.secs(), |known| known.enrolled);
    write(folder, &who.agent, &Registered { agency: who.agency.to_string(), enrolled, certificate })
}

/// Finds how a certificate that was shown stands, and remembers that it was.
pub(crate) fn note_shown(folder: &Folder, who: &AgentIdentity) -> Result<Standing, RegistryError> {
    let Some(known) = read(folder, &who.agent)? else { return Ok(Standing::Unknown) };
    let standing = known.standing(&who.serial);
    let is_first_time = standing == Standing::Newest && known.certificate.first().is_some_and(|it| !it.is_seen);
    if is_first_time {
        let _lock = folder.lock()?;
        // It may have changed before the lock was ours.
        if let Some(mut known) = read(folder, &who.agent)?
            && let Some(newest) = known.certificate.first_mut().filter(|newest| *newest.serial == *who.serial)
        {
            newest.is_seen = true;
            write(folder, &who.agent, &known)?;
        }
    }
    Ok(standing)
}

/// Returns every agent, in order of names.
pub(crate) fn all(folder: &Folder) -> Result<Vec<(AgentId, Registered)>, RegistryError> {
    let mut agents = Vec::new();
    for name in folder.names(DIR, MAX_AGENTS)? {
        let Ok(agent) = name.parse::<AgentId>() else { continue };
        agents.extend(read(folder, &agent)?.map(|known| (agent, known)));
    }
    Ok(agents)
}

/// Returns a time as it is remembered.
pub(crate) fn time(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// Returns the agents whose certificate holds and whose last answer came before `authority` issued.
pub(crate) fn not_of(
    folder: &Folder,
    authority: &CertificateFacts,
    now: Timestamp,
) -> Result<Vec<Waiting>, RegistryError> {
    let key = hex(authority.subject_key.as_deref().unwrap_or_default());
    let mut waiting = Vec::new();
    for (agent, known) in all(folder)? {
        let holds = |it: &&KnownCertificate| it.expires > now.secs();
        // A newest one that was never seen may have been lost on its way.
        let in_use = known.certificate.iter().find(|it| it.is_seen).or(known.certificate.first());
        if let Some(old) = in_use.filter(holds).filter(|it| it.authority != key) {
            waiting.push(Waiting { agent, until: Timestamp::from_secs(old.expires) });
        }
    }
    Ok(waiting)
}

impl Registered {
    /// Returns how the certificate with a serial number stands.
    pub(crate) fn standing(&self, serial: &str) -> Standing {
        match self.certificate.as_slice() {
            [newest, ..] if newest.serial == serial => Standing::Newest,
            [newest, before] if before.serial == serial && !newest.is_seen => Standing::NewestUnseen,
            _ => Standing::Superseded,
        }
    }
}

impl KnownCertificate {
    fn of(facts: &CertificateFacts) -> Self {
        Self {
            serial: facts.serial.to_string(),
            key: facts.key.to_string(),
            issued: issued_at(facts.not_before).secs(),
            expires: facts.not_after.secs(),
            authority: hex(facts.authority_key.as_deref().unwrap_or_default()),
            is_seen: false,
        }
    }

    fn of_identity(who: &AgentIdentity) -> Self {
        Self {
            serial: who.serial.to_string(),
            key: who.key.to_string(),
            issued: issued_at(who.not_before).secs(),
            expires: who.not_after.secs(),
            authority: String::new(),
            is_seen: true,
        }
    }
}

fn write(folder: &Folder, agent: &AgentId, registered: &Registered) -> Result<(), RegistryError> {
    folder.make(DIR)?;
    let mut text = format!("agency = \"{}\"\nenrolled = {}\n", registered.agency, registered.enrolled);
    for KnownCertificate { serial, key, issued, expires, authority, is_seen } in &registered.certificate {
        let _ = writeln!(
            text,
            "\n[[certificate]]\nserial = \"{serial}\"\nkey = \"{key}\"\nissued = {issued}\nexpires = {expires}\n\
             authority = \"{authority}\"\nis_seen = {is_seen}",
        );
    }
    Ok(folder.write(&name_of(agent), &text, PUBLIC_MODE)?)
}

/// A name of an agent is a name of a file: no slash, no dot at its beginning.
fn name_of(agent: &AgentId) -> String {
    format!("{DIR}/{agent}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use canh_wire::Fingerprint;

    use super::*;

    fn facts(serial: &str, authority: u8) -> CertificateFacts {
        CertificateFacts {
            common_name: "web-01".into(),
            serial: serial.into(),
            not_before: Timestamp::from_secs(1_000),
            not_after: Timestamp::from_secs(9_000),
            key: Fingerprint::of(serial.as_bytes()),
            fingerprint: Fingerprint::of(b""),
            authority_key: Some(Box::from([authority])),
            subject_key: Some(Box::from([authority])),
        }
    }

    fn who(serial: &str) -> AgentIdentity {
        let CertificateFacts { not_before, not_after, key, .. } = facts(serial, 1);
        let (agent, agency) = ("web-01".parse().unwrap(), "so-tttt".parse().unwrap());
        AgentIdentity { agent, agency, serial: serial.into(), not_before, not_after, key }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        (dir, folder)
    }

    const NOW: Timestamp = Timestamp::from_secs(2_000);

    #[test]
    fn an_answer_that_was_lost_may_be_asked_for_again_and_one_that_arrived_may_not() {
        let (_dir, folder) = folder();
        let (first, second, third) = (facts("01", 1), facts("02", 1), facts("03", 1));
        assert_eq!(note_shown(&folder, &who("01")).unwrap(), Standing::Unknown);
        enrol(&folder, &who("01").agent, &who("01").agency, &first, NOW).unwrap();
        assert_eq!(note_shown(&folder, &who("01")).unwrap(), Standing::Newest);
        renew(&folder, &who("01"), &second, NOW).unwrap();
        assert_eq!(note_shown(&folder, &who("01")).unwrap(), Standing::NewestUnseen);
        renew(&folder, &who("01"), &third, NOW).unwrap();
        assert_eq!(note_shown(&folder, &who("02")).unwrap(), Standing::Superseded, "it was never handed out");
        assert_eq!(note_shown(&folder, &who("03")).unwrap(), Standing::Newest);
        assert_eq!(note_shown(&folder, &who("01")).unwrap(), Standing::Superseded);
    }

    #[test]
    fn agents_that_do_not_know_a_new_ca_are_named_until_their_certificates_are_over() {
        let (_dir, folder) = folder();
        enrol(&folder, &who("01").agent, &who("01").agency, &facts("01", 1), NOW).unwrap();
        note_shown(&folder, &who("01")).unwrap();
        let new = facts("ca", 2);
        let waiting = not_of(&folder, &new, NOW).unwrap();
        assert_eq!(waiting, [Waiting { agent: who("01").agent, until: Timestamp::from_secs(9_000) }]);
        renew(&folder, &who("01"), &facts("02", 2), NOW).unwrap();
        assert_eq!(not_of(&folder, &new, NOW).unwrap().len(), 1, "the answer may have been lost");
        note_shown(&folder, &who("02")).unwrap();
        assert!(not_of(&folder, &new, NOW).unwrap().is_empty());
        assert_eq!(not_of(&folder, &facts("ca", 1), NOW).unwrap().len(), 1);
        assert!(not_of(&folder, &facts("ca", 1), Timestamp::from_secs(9_000)).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_stranger() {
        let (_dir, folder) = folder();
        enrol(&folder, &who("01").agent, &who("01").agency, &facts("01", 1), NOW).unwrap();
        let whole = std::fs::read_to_string(folder.path("agents/web-01")).unwrap();
        for damaged in ["", &whole[..whole.len() / 2], &whole.replace("so-tttt", "So"), &format!("{whole}x = 1\n")] {
            folder.write("agents/web-01", damaged, PUBLIC_MODE).unwrap();
            assert!(matches!(read(&folder, &who("01").agent), Err(RegistryError::Damaged { .. })), "{damaged}");
        }
    }
}
