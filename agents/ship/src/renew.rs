//! When an agent asks for its next certificate, and what it does with the answer.
//!
//! It asks on an open session once two thirds of the certificate's life are over, and goes on asking if it
//! is told to wait. With the new certificate it connects anew, which shows the collector that it arrived.

use std::time::Duration;

use canh_event::Timestamp;
use canh_wire::tls::AgentIdentity;
use canh_wire::{CERTIFICATE_SKEW, Credential, Denied};
use tokio::time::Instant;

use crate::config::ShipConfig;
use crate::connect::now;
use crate::enrol::advice;
use crate::identity::{IdentityFiles, PendingKey};
use crate::metrics::{RenewalResult, ShipMetrics};
use crate::shared::run_blocking;

/// Longest time between two looks at the clock: it may be set, and hosts may sleep.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// How long to wait for an answer before asking again.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// How long to wait after a refusal that only a person can lift.
const REFUSED_WAIT: Duration = Duration::from_secs(3_600);
/// Agents that were enrolled together ask within this part of a life, not all at once.
const SPREAD: u32 = 20;

/// The renewal of one agent's certificate.
#[derive(Debug)]
pub(crate) struct Renewal {
    files: Option<IdentityFiles>,
    /// When the certificate at hand should be followed by another; nothing if none is to be asked for.
    due: Option<Timestamp>,
    pending: Option<PendingKey>,
    /// When to look again.
    wakes: Instant,
}

impl Renewal {
    /// Returns the renewal of a configuration's certificate. One whose key is in a file of its own was
    /// put there by hand, and is nobody's to replace.
    pub(crate) fn of(config: &ShipConfig) -> Self {
        let is_enrolled = config.certificate == config.key;
        let files = IdentityFiles { identity: config.key.clone(), authorities: config.ca.clone() };
        Self { files: is_enrolled.then_some(files), due: None, pending: None, wakes: far() }
    }

    /// Returns the renewal of a certificate that is never renewed.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { files: None, due: None, pending: None, wakes: far() }
    }

    /// Looks at the certificate at hand, as a connection begins.
    pub(crate) fn begin(&mut self, who: Option<&AgentIdentity>) {
        self.pending = None;
        self.due = who.filter(|_| self.files.is_some()).map(due_of);
        self.wakes = Instant::now();
    }

    /// Returns when to look whether it is time.
    pub(crate) fn wakes(&self) -> Instant {
        if self.due.is_some() { self.wakes } else { far() }
    }

    /// Returns a request to send, if it is time.
    pub(crate) fn ask(&mut self) -> Option<Box<[u8]>> {
        let due = self.due?;
        if Instant::now() < self.wakes {
            return None;
        }
        let clock = now();
        if clock < due {
            self.wakes = Instant::now() + due.since(clock).min(LONGEST_LOOK);
            return None;
        }
        self.wakes = Instant::now() + ANSWER_WAIT;
        match PendingKey::make() {
            Ok(pending) => {
                let request = pending.request.clone();
                self.pending = Some(pending);
                Some(request)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the certificate is not renewed");
                None
            }
        }
    }

    /// Takes the next certificate; true if it is in place, and the connection to be made anew with it.
    pub(crate) async fn take(&mut self, credential: Credential, metrics: &ShipMetrics) -> bool {
        // What was not asked for, or twice, is not taken.
        let (Some(pending), Some(files)) = (self.pending.take(), self.files.clone()) else { return false };
        match run_blocking(move || files.install(&pending, &credential, now())).await {
            Ok(who) => {
                tracing::info!(agent = %who.agent, until = %who.not_after, "certificate renewed");
                metrics.count_renewal(RenewalResult::Done);
                true
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the renewed certificate is not taken");
                metrics.count_renewal(RenewalResult::Failed);
                self.wakes = Instant::now() + REFUSED_WAIT;
                false
            }
        }
    }

    /// Takes a refusal: asks again when told to, or seldom.
    pub(crate) fn refused(&mut self, denied: Denied, metrics: &ShipMetrics) {
        let wait = if denied.retry_after.is_zero() { REFUSED_WAIT } else { denied.retry_after.min(REFUSED_WAIT) };
        self.pending = None;
        self.wakes = Instant::now() + wait;
        metrics.count_renewal(RenewalResult::Refused);
        let (reason, advice) = (denied.code.as_str(), advice(denied.code));
        tracing::warn!(reason, advice, again_secs = wait.as_secs(), "the certificate is not renewed");
    }
}

/// Returns when two thirds of a certificate's life are over, and a little more that differs from agent to
/// agent.
fn due_of(who: &AgentIdentity) -> Timestamp {
    let issued = who.not_before.saturating_add(CERTIFICATE_SKEW);
    let life = who.not_after.since(issued);
    let spread = u32::from(who.key.bytes().first().copied().unwrap_or_default());
    issued.saturating_add(life / 3 * 2).saturating_add(life / SPREAD / 256 * spread)
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

#[cfg(test)]
mod tests {
    use canh_service::metrics::Metrics;
    use canh_wire::DenialCode;

    use super::*;
    use crate::identity::tests::Issuer;

    fn who(ago: u64, life: u64) -> AgentIdentity {
        let issued = now().saturating_sub(Duration::from_secs(ago));
        AgentIdentity {
            agent: "web-01".parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            serial: "01".into(),
            not_before: issued.saturating_sub(CERTIFICATE_SKEW),
            not_after: issued.saturating_add(Duration::from_secs(life)),
            key: canh_wire::Fingerprint::of(b""),
        }
    }

    fn renewal(dir: &std::path::Path) -> Renewal {
        Renewal { files: Some(IdentityFiles::in_dir(dir)), due: None, pending: None, wakes: far() }
    }

    fn metrics() -> ShipMetrics {
        ShipMetrics::new(&Metrics::new("test", "0").unwrap()).unwrap()
    }

    #[tokio::test]
    async fn it_asks_after_two_thirds_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut renewal = renewal(dir.path());
        renewal.begin(Some(&who(6_000, 10_000)));
        assert_eq!(renewal.ask(), None);
        assert!(renewal.wakes() <= Instant::now() + LONGEST_LOOK, "the clock may be set");
        renewal.begin(Some(&who(7_200, 10_000)));
        let first = renewal.ask().unwrap();
        assert_eq!(renewal.ask(), None, "one request at a time");
        renewal.begin(Some(&who(7_200, 10_000)));
        assert_ne!(renewal.ask().unwrap(), first, "a new key each time");
    }

    #[tokio::test]
    async fn a_certificate_put_there_by_hand_is_not_replaced() {
        let mut renewal = Renewal::none();
        renewal.begin(Some(&who(9_000, 10_000)));
        assert_eq!(renewal.ask(), None);
        assert!(renewal.wakes() > Instant::now() + LONGEST_LOOK);
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (mut renewal, issuer, metrics) = (renewal(dir.path()), Issuer::new(), metrics());
        renewal.begin(Some(&who(9_000, 10_000)));
        let other = issuer.issue(&PendingKey::make().unwrap(), |_| {});
        assert!(!renewal.take(other.clone(), &metrics).await);
        renewal.ask().unwrap();
        assert!(!renewal.take(other, &metrics).await, "it is for another key");
        renewal.begin(Some(&who(9_000, 10_000)));
        renewal.ask().unwrap();
        let own = issuer.issue(renewal.pending.as_ref().unwrap(), |_| {});
        assert!(renewal.take(own.clone(), &metrics).await);
        assert!(!renewal.take(own, &metrics).await, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_asked_again_when_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let (mut renewal, metrics) = (renewal(dir.path()), metrics());
        renewal.begin(Some(&who(9_000, 10_000)));
        renewal.ask().unwrap();
        renewal.refused(Denied { code: DenialCode::Busy, retry_after: Duration::from_secs(5) }, &metrics);
        assert_eq!(renewal.ask(), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(renewal.ask().is_some());
        renewal.refused(Denied { code: DenialCode::Superseded, retry_after: Duration::ZERO }, &metrics);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(renewal.ask(), None);
    }
}
