//! Enrolment tokens: made by an operator, used once, one small file each.
//!
//! ```text
//!  open ── used by a host ──► used
//!    ├──── time is over ────► expired
//!    └──── called back ─────► revoked
//! ```
//!
//! Only a hash of the secret is kept. That a token is used is on disk before the certificate leaves: after
//! a power cut a token may be used up for nothing, but never be good twice.

use std::fmt::Write;
use std::time::Duration;

use canh_event::{AgencyId, AgentId, Timestamp};
use canh_journal::{DiskFs, Fs};
use canh_wire::{EnrolToken, Fingerprint, Secret, TokenId};
use serde::Deserialize;

use crate::folder::{Folder, FolderError, SECRET_MODE};

const DIR: &str = "tokens";
/// Longest file of a token.
const MAX_BYTES: u64 = 4 << 10;
/// Most tokens, open or not.
const MAX_TOKENS: usize = 16_384;
/// How long a token that is of no use any more is still listed.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What an operator decides about a token.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) agency: AgencyId,
    /// The agent's name; without it the host proposes one.
    pub(crate) agent: Option<AgentId>,
    /// Whether an agent that is enrolled under this name is replaced.
    pub(crate) may_replace: bool,
    pub(crate) life: Duration,
}

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    secret_hash: String,
    authority: String,
    agency: String,
    agent: Option<String>,
    may_replace: bool,
    /// In seconds since 1970; so for every time here.
    created: i64,
    expires: i64,
    used: Option<i64>,
    used_by: Option<String>,
    revoked: Option<i64>,
}

/// A token as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: TokenId,
    secret_hash: Fingerprint,
    /// The CA it makes a host trust.
    authority: Fingerprint,
    pub(crate) agency: AgencyId,
    pub(crate) agent: Option<AgentId>,
    pub(crate) may_replace: bool,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    used: Option<(Timestamp, AgentId)>,
    revoked: Option<Timestamp>,
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Used { at: Timestamp, by: AgentId },
    Expired,
    Revoked { at: Timestamp },
}

/// A token that cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokensError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It is not what we write.
    #[error("the file of token {id} is damaged; remove it and make another token")]
    Damaged { id: TokenId },
    /// There is none of this id.
    #[error("there is no token {id}")]
    Missing { id: TokenId },
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already; those of no use are removed after 30 days")]
    Full,
    /// It is of no use any more as it is.
    #[error("token {id} is not open any more")]
    NotOpen { id: TokenId },
    /// There are no random numbers.
    #[error("no random numbers")]
    Random(#[source] std::io::Error),
}

/// Makes a token. Whoever has what it returns can use it.
///
/// # Contract
/// The caller holds the folder's lock; so for every change below.
pub(crate) fn create(
    folder: &Folder,
    order: &Order,
    authority: Fingerprint,
    now: Timestamp,
) -> Result<EnrolToken, TokensError> {
    forget_old(folder, now)?;
    if folder.names(DIR, MAX_TOKENS)?.len() >= MAX_TOKENS {
        return Err(TokensError::Full);
    }
    let random = || DiskFs.random().map_err(TokensError::Random);
    let id = TokenId(random()?.first_chunk().copied().map_or(0, u64::from_le_bytes));
    let secret = Secret::from_bytes(random()?);
    let Order { agency, agent, may_replace, life } = order.clone();
    let token = Token {
        id,
        secret_hash: secret.hash(),
        authority,
        agency,
        agent,
        may_replace,
        created: now,
        expires: now.saturating_add(life),
        used: None,
        revoked: None,
    };
    folder.make(DIR)?;
    token.write(folder)?;
    Ok(EnrolToken { id, secret, authority })
}

/// Returns every token, the newest last.
pub(crate) fn list(folder: &Folder) -> Result<Vec<Token>, TokensError> {
    let mut tokens = Vec::new();
    for name in folder.names(DIR, MAX_TOKENS)? {
        if let Ok(id) = name.parse() {
            tokens.extend(find(folder, id)?);
        }
    }
    tokens.sort_by_key(|token| (token.created, token.id));
    Ok(tokens)
}

/// Returns a token; nothing if there is none of this id.
pub(crate) fn find(folder: &Folder, id: TokenId) -> Result<Option<Token>, TokensError> {
    let text = match folder.read(&name_of(id), MAX_BYTES) {
        Err(error) if error.is_missing() => return Ok(None),
        text => text?,
    };
    let stored: Stored = toml::from_str(&text).map_err(|_| TokensError::Damaged { id })?;
    Token::of(id, stored).map(Some).ok_or(TokensError::Damaged { id })
}

/// Calls an open token back.
pub(crate) fn revoke(folder: &Folder, id: TokenId, now: Timestamp) -> Result<(), TokensError> {
    let mut token = find(folder, id)?.ok_or(TokensError::Missing { id })?;
    if token.state(now) != State::Open {
        return Err(TokensError::NotOpen { id });
    }
    token.revoked = Some(now);
    token.write(folder)
}

/// Writes down that an agent has used a token, and has it on disk before it returns.
pub(crate) fn use_up(folder: &Folder, token: &Token, agent: &AgentId, now: Timestamp) -> Result<(), TokensError> {
    let used = Some((now, agent.clone()));
    Token { used, ..token.clone() }.write(folder)
}

/// Returns how many open tokens make hosts trust another CA than this one.
pub(crate) fn open_of_other_than(
    folder: &Folder,
    authority: &Fingerprint,
    now: Timestamp,
) -> Result<usize, TokensError> {
    let tokens = list(folder)?;
    let is_of_other = |token: &&Token| token.state(now) == State::Open && token.authority != *authority;
    Ok(tokens.iter().filter(is_of_other).count())
}

/// Removes what has been of no use for long.
fn forget_old(folder: &Folder, now: Timestamp) -> Result<(), TokensError> {
    let is_old = |token: &Token| token.state(now) != State::Open && now > token.expires.saturating_add(KEPT);
    for token in list(folder)?.into_iter().filter(is_old) {
        folder.remove(&name_of(token.id))?;
    }
    Ok(())
}

impl Token {
    fn of(id: TokenId, stored: Stored) -> Option<Self> {
        let used = match (stored.used, stored.used_by) {
            (Some(at), Some(by)) => Some((Timestamp::from_secs(at), by.parse().ok()?)),
            (None, None) => None,
            _ => return None,
        };
        Some(Self {
            id,
            secret_hash: stored.secret_hash.parse().ok()?,
            authority: stored.authority.parse().ok()?,
            agency: stored.agency.parse().ok()?,
            agent: stored.agent.map(|agent| agent.parse()).transpose().ok()?,
            may_replace: stored.may_replace,
            created: Timestamp::from_secs(stored.created),
            expires: Timestamp::from_secs(stored.expires),
            used,
            revoked: stored.revoked.map(Timestamp::from_secs),
        })
    }

    /// Returns what it is good for.
    pub(crate) fn state(&self, now: Timestamp) -> State {
        match (&self.used, self.revoked) {
            (Some((at, by)), _) => State::Used { at: *at, by: by.clone() },
            (None, Some(at)) => State::Revoked { at },
            (None, None) if now >= self.expires => State::Expired,
            (None, None) => State::Open,
        }
    }

    /// Returns whether a secret is this token's. Hashes are compared: how long that takes tells nothing
    /// about the secret.
    pub(crate) fn has_secret(&self, secret: &Secret) -> bool {
        secret.hash() == self.secret_hash
    }

    fn write(&self, folder: &Folder) -> Result<(), TokensError> {
        let mut text = format!(
            "secret_hash = \"{}\"\nauthority = \"{}\"\nagency = \"{}\"\nmay_replace = {}\ncreated = {}\nexpires = {}\n",
            self.secret_hash,
            self.authority,
            self.agency,
            self.may_replace,
            self.created.secs(),
            self.expires.secs(),
        );
        if let Some(agent) = &self.agent {
            let _ = writeln!(text, "agent = \"{agent}\"");
        }
        if let Some((at, by)) = &self.used {
            let _ = writeln!(text, "used = {}\nused_by = \"{by}\"", at.secs());
        }
        if let Some(at) = self.revoked {
            let _ = writeln!(text, "revoked = {}", at.secs());
        }
        Ok(folder.write(&name_of(self.id), &text, SECRET_MODE)?)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Used { at, by } => write!(f, "used by {by} at {at}"),
            Self::Expired => f.write_str("expired"),
            Self::Revoked { at } => write!(f, "revoked at {at}"),
        }
    }
}

fn name_of(id: TokenId) -> String {
    format!("{DIR}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn order() -> Order {
        let (agency, agent) = ("so-tttt".parse().unwrap(), Some("web-01".parse().unwrap()));
        Order { agency, agent, may_replace: false, life: Duration::from_secs(3_600) }
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        (dir, folder)
    }

    fn made(folder: &Folder) -> (EnrolToken, Token) {
        let handed_out = create(folder, &order(), Fingerprint::of(b"ca"), NOW).unwrap();
        let kept = find(folder, handed_out.id).unwrap().unwrap();
        (handed_out, kept)
    }

    #[test]
    fn the_secret_is_in_what_is_handed_out_and_not_in_what_is_kept() {
        let (_dir, folder) = folder();
        let (handed_out, kept) = made(&folder);
        assert!(kept.has_secret(&handed_out.secret));
        assert!(!kept.has_secret(&Secret::from_bytes([0; 16])));
        let file = std::fs::read_to_string(folder.path(&name_of(kept.id))).unwrap();
        assert!(file.contains(&handed_out.secret.hash().to_string()) && !handed_out.to_text().contains(&file));
        let other = made(&folder).0;
        assert_ne!((other.id, other.secret), (handed_out.id, handed_out.secret));
    }

    #[test]
    fn a_token_is_open_until_it_is_used_called_back_or_too_old() {
        let (_dir, folder) = folder();
        let (_, token) = made(&folder);
        assert_eq!(token.state(NOW), State::Open);
        assert_eq!(token.state(NOW.saturating_add(Duration::from_secs(3_600))), State::Expired);
        let by: AgentId = "web-01".parse().unwrap();
        use_up(&folder, &token, &by, NOW).unwrap();
        let used = find(&folder, token.id).unwrap().unwrap();
        assert_eq!(used.state(NOW), State::Used { at: NOW, by });
        assert!(matches!(revoke(&folder, token.id, NOW), Err(TokensError::NotOpen { .. })));
        let (_, other) = made(&folder);
        revoke(&folder, other.id, NOW).unwrap();
        assert_eq!(find(&folder, other.id).unwrap().unwrap().state(NOW), State::Revoked { at: NOW });
        assert!(matches!(revoke(&folder, TokenId(1), NOW), Err(TokensError::Missing { .. })));
        assert_eq!(list(&folder).unwrap().len(), 2);
    }

    #[test]
    fn damage_is_no_token_and_what_is_of_no_use_goes_after_a_while() {
        let (_dir, folder) = folder();
        let (_, token) = made(&folder);
        let later = NOW.saturating_add(KEPT).saturating_add(Duration::from_secs(3_601));
        made(&folder);
        create(&folder, &order(), Fingerprint::of(b"ca"), later).unwrap();
        assert_eq!(list(&folder).unwrap().len(), 1);
        assert!(find(&folder, token.id).unwrap().is_none());
        folder.write(&name_of(token.id), "agency = \"so-tttt\"\n", SECRET_MODE).unwrap();
        assert!(matches!(find(&folder, token.id), Err(TokensError::Damaged { .. })));
    }
}
