//! Who may come in, and who must leave: the list of revocations as it is now, and those it is held against.
//!
//! ```text
//!  file ── every half second ──► Revoked ── a handshake asks it ──► in, or turned away
//!                                   └────── sessions are held against it ──► cut off
//! ```
//!
//! A session enters [`Presence`] first and is held against the list after; the list changes first and is
//! held against everybody present after. So nobody slips through between the two.
//! A list that cannot be read lets nobody in, and after a second look nobody stays.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canh_event::Timestamp;
use canh_service::signals::Shutdown;
use canh_wire::tls::AgentIdentity;
use canh_wire::{Nack, NackCode};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use crate::folder::{self, Folder, Stamp};
use crate::issuing::{Issuing, now};
use crate::metrics::Metrics;
use crate::presence::{Place, Presence};
use crate::registry::Standing;
use crate::retry::retry_after;
use crate::revocation::{RevocationError, Revocations};
use crate::streams::SessionSignal;
use crate::throttle::Throttle;

/// How often the list is looked at: a tenth of what P6 allows.
const LOOK: Duration = Duration::from_millis(500);
/// Looks at an unreadable list before sessions are cut.
const PATIENCE: u32 = 2;
/// How often an unreadable list is reported.
const REPORT: Duration = Duration::from_secs(10);

/// What is known of revocations.
#[derive(Debug)]
pub(crate) enum Revoked {
    /// The list.
    Known(Revocations),
    /// It cannot be read: nobody is let in.
    Unreadable,
}

/// Why somebody with a certificate of ours is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error("the certificate is revoked")]
    Revoked,
    #[error("the list of revocations cannot be read, so nobody is let in")]
    ListUnreadable,
    #[error("two connections of this certificate are open already")]
    TooMany,
}

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) presence: Arc<Presence>,
    pub(crate) issuing: Arc<Issuing>,
    revoked: watch::Receiver<Arc<Revoked>>,
    metrics: Metrics,
    signs: Throttle,
}

/// Looks at the list, for as long as the daemon runs.
#[derive(Debug)]
pub(crate) struct Watcher {
    folder: Folder,
    stamp: Option<Stamp>,
    failures: u32,
    revoked: watch::Sender<Arc<Revoked>>,
    presence: Arc<Presence>,
    metrics: Metrics,
    reports: Throttle,
}

impl TurnedAway {
    /// Returns one word for it, for a label.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::ListUnreadable => "list_unreadable",
            Self::TooMany => "certificate_in_use",
        }
    }

    /// Returns what the agent is told.
    pub(crate) const fn nack(self) -> Nack {
        let code = match self {
            Self::Revoked => NackCode::Revoked,
            Self::ListUnreadable | Self::TooMany => NackCode::Overload,
        };
        Nack { code, retry_after: retry_after(code), place: None }
    }
}

impl Gate {
    /// Lets somebody in whose certificate has passed the handshake.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub(crate) async fn enter(
        &self,
        who: &AgentIdentity,
        peer: IpAddr,
        signal: &Arc<SessionSignal>,
    ) -> Result<Place, TurnedAway> {
        let place = self.presence.enter(who, peer, signal).map_err(|_| TurnedAway::TooMany);
        match &**self.revoked.borrow() {
            Revoked::Unreadable => return Err(TurnedAway::ListUnreadable),
            Revoked::Known(list) if list.find(who).is_some() => return Err(TurnedAway::Revoked),
            Revoked::Known(_) => {}
        }
        let place = place?;
        if let Some(elsewhere) = place.elsewhere {
            self.note_sign(who, "two_addresses", &format!("{elsewhere} and {peer}"));
        }
        if self.issuing.note_shown(who.clone()).await == Standing::Superseded {
            self.note_sign(who, "superseded_certificate", &peer.to_string());
        }
        Ok(place)
    }

    /// Notes the boot id of a machine that has come in.
    pub(crate) fn note_boot(&self, who: &AgentIdentity, boot: u128) {
        // Zero is said by a machine that does not know.
        if boot != 0 && self.presence.note_boot(who, boot) {
            self.note_sign(who, "boot_returned", "an earlier boot came back");
        }
    }

    fn note_sign(&self, who: &AgentIdentity, sign: &'static str, seen: &str) {
        self.metrics.clone_signs.with_label_values(&[sign]).inc();
        if let Some(held_back) = self.signs.pass(Instant::now()) {
            let (agent, serial) = (&who.agent, &who.serial);
            tracing::warn!(%agent, %serial, sign, seen, held_back, "two machines may have one key: cloned, or stolen");
        }
    }
}

/// Returns the gate of a folder and what watches its list, which has been looked at once.
pub(crate) fn open(folder: &Folder, issuing: Arc<Issuing>, metrics: &Metrics) -> (Arc<Gate>, Watcher) {
    let (sender, revoked) = watch::channel(Arc::new(Revoked::Unreadable));
    let presence = Arc::new(Presence::default());
    let mut watcher = Watcher {
        folder: folder.clone(),
        stamp: None,
        failures: 0,
        revoked: sender,
        presence: Arc::clone(&presence),
        metrics: metrics.clone(),
        reports: Throttle::new(REPORT),
    };
    watcher.look(now());
    let signs = Throttle::new(Duration::from_secs(1));
    (Arc::new(Gate { presence, issuing, revoked, metrics: metrics.clone(), signs }), watcher)
}

impl Watcher {
    /// Looks at the list until the shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.wait() => return,
            }
            let looked = spawn_blocking(move || {
                self.look(now());
                self
            });
            match looked.await {
                Ok(watcher) => self = watcher,
                Err(error) => {
                    tracing::error!(%error, "revocations are not watched any more");
                    return;
                }
            }
        }
    }

    /// Reads the list if it has changed, and ends the sessions of whoever must leave.
    fn look(&mut self, now: Timestamp) {
        match self.read() {
            Ok(None) => {}
            Ok(Some(list)) => {
                self.metrics.revocations.set(i64::try_from(list.len()).unwrap_or(i64::MAX));
                tracing::info!(entries = list.len(), "list of revocations read");
                self.revoked.send_replace(Arc::new(Revoked::Known(list)));
            }
            Err(error) => self.close(&error),
        }
        self.metrics.revocations_unreadable.set(i64::from(self.failures > 0));
        let revoked = Arc::clone(&self.revoked.borrow());
        let cut = match &*revoked {
            Revoked::Known(list) => {
                let is_out = |who: &AgentIdentity| list.find(who).is_some() || who.not_after <= now;
                self.presence.cut(&TurnedAway::Revoked.nack(), is_out)
            }
            Revoked::Unreadable if self.failures >= PATIENCE => {
                self.presence.cut(&TurnedAway::ListUnreadable.nack(), |_| true)
            }
            Revoked::Unreadable => 0,
        };
        if cut > 0 {
            tracing::warn!(sessions = cut, "sessions ended: revoked, expired, or not to be judged");
        }
    }

    /// Returns the list if it is another than before.
    fn read(&mut self) -> Result<Option<Revocations>, RevocationError> {
        let stamp = self.folder.stamp(folder::REVOKED)?;
        if self.stamp == Some(stamp) {
            return Ok(None);
        }
        let list = Revocations::load(&self.folder)?;
        (self.stamp, self.failures) = (Some(stamp), 0);
        Ok(Some(list))
    }

    fn close(&mut self, error: &RevocationError) {
        (self.stamp, self.failures) = (None, self.failures.saturating_add(1));
        self.revoked.send_replace(Arc::new(Revoked::Unreadable));
        if self.reports.pass(Instant::now()).is_some() {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "the list of revocations cannot be read: nobody is let in until it can");
        }
    }
}

#[cfg(test)]
mod tests;
