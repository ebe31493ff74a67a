//! Gives certificates to hosts with a token and to agents that renew, and decides what they say.
//!
//! ```text
//!  ENROL ─ token? ─ name free? ─ sign ─ token used up, on disk ─ agent remembered ─► CREDENTIAL
//!  RENEW ─ revoked? ─ newest of its agent? ─ sign ─ remembered ────────────────────► CREDENTIAL
//! ```
//!
//! Everything is done under the folder's lock and on blocking threads, few at a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use canh_event::{AgentId, Timestamp};
use canh_wire::tls::AgentIdentity;
use canh_wire::{Credential, DenialCode, Denied, Enrol, MAX_AUTHORITIES, Renew};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::authority::{Authority, AuthorityError, Subject, Term, issued_at, trusted};
use crate::folder::{self, Folder, FolderError};
use crate::metrics::Metrics;
use crate::registry::{self, RegistryError, Standing};
use crate::revocation::{self, Entry, RevocationError, Revocations};
use crate::tokens::{self, State, Token, TokensError};

/// How long somebody who came while others were served is asked to wait.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long to wait if only an operator can change the cause.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(600);
/// The part of a certificate's life in which it is not renewed again: an agent has no reason to, and each
/// time costs a signature and three syncs.
const SHORTEST_USE: u32 = 10;
/// Certificates issued up to a second are revoked with it, so what replaces them is of the next.
const NEXT_SECOND: Duration = Duration::from_secs(1);

/// The room.
#[derive(Debug)]
pub(crate) struct Issuing {
    folder: Folder,
    /// How long agents' certificates hold.
    life: Duration,
    /// CAs that are trusted beside those of the folder, as DER.
    others: Vec<Box<[u8]>>,
    turns: Semaphore,
    metrics: Metrics,
}

/// Why somebody gets no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// For a reason that is theirs.
    #[error("{}", .0.as_str())]
    Denied(DenialCode),
    /// Not so soon.
    #[error("asked again too soon")]
    TooSoon(Duration),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The thread is gone.
    #[error("a blocking thread failed")]
    Thread,
}

impl Issuing {
    /// Returns the room of a folder; `turns` is how many are served at a time.
    pub(crate) fn new(
        folder: Folder,
        life: Duration,
        others: Vec<Box<[u8]>>,
        turns: usize,
        metrics: Metrics,
    ) -> Arc<Self> {
        Arc::new(Self { folder, life, others, turns: Semaphore::new(turns), metrics })
    }

    /// Serves a host with a token.
    ///
    /// # Errors
    /// [`Denied`], which has been logged and counted.
    pub(crate) async fn enrol(self: &Arc<Self>, enrol: Enrol, peer: std::net::IpAddr) -> Result<Credential, Denied> {
        let token = enrol.token;
        let Ok(_turn) = self.turns.try_acquire() else {
            return Err(self.count_enrolment(Denied { code: DenialCode::Busy, retry_after: BUSY_WAIT }));
        };
        let room = Arc::clone(self);
        let done = spawn_blocking(move || enrol_now(&room, &enrol, now())).await.unwrap_or(Err(Refused::Thread));
        match done {
            Ok(credential) => {
                self.metrics.enrolments.with_label_values(&["issued"]).inc();
                tracing::info!(agent = %credential.agent, agency = %credential.agency, %token, %peer, "agent enrolled");
                Ok(credential)
            }
            Err(refused) => {
                let (denied, error) = (refused.denied(), &refused as &dyn std::error::Error);
                if refused.is_ours() {
                    tracing::error!(error, %token, %peer, "no certificate could be issued");
                } else {
                    tracing::warn!(reason = denied.code.as_str(), %token, %peer, "enrolment refused");
                }
                Err(self.count_enrolment(denied))
            }
        }
    }

    /// Serves an agent whose certificate is to be followed by another.
    ///
    /// # Errors
    /// [`Denied`], which has been logged and counted.
    pub(crate) async fn renew(self: &Arc<Self>, who: AgentIdentity, renew: Renew) -> Result<Credential, Denied> {
        let agent = who.agent.clone();
        let _turn = self.turns.acquire().await;
        let room = Arc::clone(self);
        let done = spawn_blocking(move || renew_now(&room, &who, &renew, now())).await.unwrap_or(Err(Refused::Thread));
        match done {
            Ok(credential) => {
                self.metrics.renewals.with_label_values(&["issued"]).inc();
                tracing::info!(%agent, "certificate renewed");
                Ok(credential)
            }
            Err(refused) => {
                let (denied, error) = (refused.denied(), &refused as &dyn std::error::Error);
                if refused.is_ours() {
                    tracing::error!(error, %agent, "no certificate could be issued");
                } else {
                    tracing::warn!(reason = denied.code.as_str(), %agent, "renewal refused");
                }
                self.metrics.renewals.with_label_values(&[denied.code.as_str()]).inc();
                Err(denied)
            }
        }
    }

    /// Finds how a certificate that was shown stands; what cannot be found out is logged, and no reason
    /// to refuse records.
    pub(crate) async fn note_shown(self: &Arc<Self>, who: AgentIdentity) -> Standing {
        let room = Arc::clone(self);
        let noted = spawn_blocking(move || registry::note_shown(&room.folder, &who)).await;
        match noted {
            Ok(Ok(standing)) => standing,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an agent's certificates are not known");
                Standing::Unknown
            }
            Err(_) => Standing::Unknown,
        }
    }

    fn count_enrolment(&self, denied: Denied) -> Denied {
        self.metrics.enrolments.with_label_values(&[denied.code.as_str()]).inc();
        denied
    }

    fn authorities(&self) -> Result<Vec<Box<[u8]>>, AuthorityError> {
        let mut authorities = trusted(&self.folder)?;
        for other in &self.others {
            if authorities.len() < MAX_AUTHORITIES && !authorities.contains(other) {
                authorities.push(other.clone());
            }
        }
        Ok(authorities)
    }
}

impl Refused {
    fn is_ours(&self) -> bool {
        !matches!(self, Self::Denied(_) | Self::TooSoon(_) | Self::Authority(AuthorityError::Request))
    }

    fn denied(&self) -> Denied {
        let (code, retry_after) = match self {
            Self::Denied(code @ DenialCode::Unavailable) => (*code, UNAVAILABLE_WAIT),
            Self::Denied(code) => (*code, Duration::ZERO),
            Self::TooSoon(wait) => (DenialCode::Busy, *wait),
            Self::Authority(AuthorityError::Request) => (DenialCode::Request, Duration::ZERO),
            _ => (DenialCode::Unavailable, UNAVAILABLE_WAIT),
        };
        Denied { code, retry_after }
    }
}

fn enrol_now(room: &Issuing, enrol: &Enrol, now: Timestamp) -> Result<Credential, Refused> {
    let folder = &room.folder;
    if !folder.has(folder::ISSUER) {
        return Err(Refused::Denied(DenialCode::Unavailable));
    }
    let _lock = folder.lock()?;
    let token = usable(tokens::find(folder, enrol.token)?, enrol, now)?;
    let agent = name_for(&token, enrol)?;
    let revoked = Revocations::load(folder)?.until(&agent);
    let is_taken = registry::read(folder, &agent)?.is_some() || revoked.is_some();
    if is_taken && !token.may_replace {
        return Err(Refused::Denied(DenialCode::NameTaken));
    }
    // What replaces an agent is issued after everything that is revoked of it.
    let until = revoked.map_or(now, |until| until.max(now));
    let issued = if is_taken { until.saturating_add(NEXT_SECOND) } else { now };
    let authorities = room.authorities()?;
    let subject = Subject::Agent { agent: agent.clone(), agency: token.agency.clone() };
    let authority = Authority::load(folder)?;
    let certificate = authority.sign(&enrol.request, &subject, Term { issued, life: room.life })?;
    tokens::use_up(folder, &token, &agent, now)?;
    if is_taken {
        let reason = format!("replaced by token {}", token.id);
        revocation::revoke(folder, Entry { agent: agent.clone(), serial: None, until, reason })?;
    }
    registry::enrol(folder, &agent, &token.agency, &certificate.facts, now)?;
    Ok(Credential { agent, agency: token.agency, certificate: certificate.der, authorities })
}

/// Returns the token if it is good. Whoever does not know the secret learns nothing about it.
fn usable(token: Option<Token>, enrol: &Enrol, now: Timestamp) -> Result<Token, Refused> {
    let token = token.filter(|token| token.has_secret(&enrol.secret));
    let token = token.ok_or(Refused::Denied(DenialCode::TokenUnknown))?;
    match token.state(now) {
        State::Open => Ok(token),
        State::Used { .. } => Err(Refused::Denied(DenialCode::TokenUsed)),
        State::Expired => Err(Refused::Denied(DenialCode::TokenExpired)),
        State::Revoked { .. } => Err(Refused::Denied(DenialCode::TokenRevoked)),
    }
}

fn name_for(token: &Token, enrol: &Enrol) -> Result<AgentId, Refused> {
    match (&token.agent, &enrol.name) {
        (Some(decided), Some(wanted)) if decided != wanted => Err(Refused::Denied(DenialCode::NameOther)),
        (Some(name), _) | (None, Some(name)) => Ok(name.clone()),
        (None, None) => Err(Refused::Denied(DenialCode::NameMissing)),
    }
}

fn renew_now(room: &Issuing, who: &AgentIdentity, renew: &Renew, now: Timestamp) -> Result<Credential, Refused> {
    let folder = &room.folder;
    if !folder.has(folder::ISSUER) {
        return Err(Refused::Denied(DenialCode::Unavailable));
    }
    let _lock = folder.lock()?;
    if Revocations::load(folder)?.find(who).is_some() {
        return Err(Refused::Denied(DenialCode::Revoked));
    }
    let known = registry::read(folder, &who.agent)?;
    if known.as_ref().is_some_and(|known| known.standing(&who.serial) == Standing::Superseded) {
        return Err(Refused::Denied(DenialCode::Superseded));
    }
    let newest = known.as_ref().and_then(|known| known.certificate.first()).map(|it| Timestamp::from_secs(it.issued));
    let again = newest.unwrap_or(issued_at(who.not_before)).saturating_add(room.life / SHORTEST_USE);
    if now < again {
        return Err(Refused::TooSoon(again.since(now)));
    }
    let authorities = room.authorities()?;
    let subject = Subject::Agent { agent: who.agent.clone(), agency: who.agency.clone() };
    let term = Term { issued: now, life: room.life };
    let certificate = Authority::load(folder)?.sign(&renew.request, &subject, term)?;
    registry::renew(folder, who, &certificate.facts, now)?;
    let (agent, agency) = (who.agent.clone(), who.agency.clone());
    Ok(Credential { agent, agency, certificate: certificate.der, authorities })
}

/// Returns the time of this host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}

#[cfg(test)]
mod tests;
