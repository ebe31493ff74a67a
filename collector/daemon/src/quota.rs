//! How much an agent and an agency may send: a rate of bytes and one of records, with a burst, so that
//! nobody takes the collector from everybody else. What is over it is never dropped here: the session
//! withholds credit, and the records wait in the agent's spool.
//!
//! A meter keeps the time until which what was sent is paid for at the rate. As long as that is no
//! further away than the burst, more may come.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use canh_event::{AgencyId, AgentId};

/// Meters that are kept although nobody is connected; past it those that owe nothing are forgotten.
const KEPT_METERS: usize = 4_096;

/// A rate; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: u64,
    pub(crate) records_per_second: u64,
}

/// The quotas of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuotaLimits {
    pub(crate) agent: Rate,
    pub(crate) agency: Rate,
    /// How long at its rate a sender that was silent may have sent all at once.
    pub(crate) burst: Duration,
}

/// Whose quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Agent,
    Agency,
}

/// All meters.
#[derive(Debug)]
pub(crate) struct Quotas {
    limits: QuotaLimits,
    agents: Mutex<HashMap<AgentId, Arc<Mutex<Meter>>>>,
    agencies: Mutex<HashMap<AgencyId, Arc<Mutex<Meter>>>>,
}

/// Holds back what costs little to send and something to store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace(Option<Instant>);

/// Accounts of one connection that are stored in a second, and as many seconds' worth at once: a whole
/// account of a thousand sources is four.
const ACCOUNTS_PER_SECOND: u64 = 4;
const ACCOUNT_BURST: Duration = Duration::from_secs(4);

impl Pace {
    /// Returns whether one more account may be stored now.
    pub(crate) fn allows_account(&mut self, now: Instant) -> bool {
        let before = self.0;
        let is_allowed = pay(&mut self.0, 1, ACCOUNTS_PER_SECOND, ACCOUNT_BURST, now).is_zero();
        if !is_allowed {
            self.0 = before;
        }
        is_allowed
    }
}

/// Until when what was sent is paid for.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    bytes: Option<Instant>,
    records: Option<Instant>,
}

/// One agent's quota, and its agency's.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    limits: QuotaLimits,
    agent: Arc<Mutex<Meter>>,
    agency: Arc<Mutex<Meter>>,
}

impl Scope {
    /// Returns its one word, for labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Agency => "agency",
        }
    }
}

impl Quotas {
    pub(crate) fn new(limits: QuotaLimits) -> Self {
        Self { limits, agents: Mutex::default(), agencies: Mutex::default() }
    }

    /// Returns the quota of an agent; it outlives its connections.
    pub(crate) fn of(&self, agent: &AgentId, agency: &AgencyId, now: Instant) -> Quota {
        Quota {
            limits: self.limits,
            agent: meter(&self.agents, agent, now),
            agency: meter(&self.agencies, agency, now),
        }
    }
}

fn meter<K: Clone + Eq + Hash>(
    meters: &Mutex<HashMap<K, Arc<Mutex<Meter>>>>,
    key: &K,
    now: Instant,
) -> Arc<Mutex<Meter>> {
    let mut meters = lock(meters);
    if meters.len() > KEPT_METERS && !meters.contains_key(key) {
        meters.retain(|_, meter| Arc::strong_count(meter) > 1 || lock(meter).owes(now));
    }
    Arc::clone(meters.entry(key.clone()).or_default())
}

impl Meter {
    fn owes(self, now: Instant) -> bool {
        [self.bytes, self.records].into_iter().flatten().any(|until| until > now)
    }

    /// Notes what was sent; returns how long nothing more may come.
    fn charge(&mut self, bytes: u64, records: u64, rate: Rate, burst: Duration, now: Instant) -> Duration {
        let by_bytes = pay(&mut self.bytes, bytes, rate.bytes_per_second, burst, now);
        by_bytes.max(pay(&mut self.records, records, rate.records_per_second, burst, now))
    }
}

fn pay(until: &mut Option<Instant>, amount: u64, per_second: u64, burst: Duration, now: Instant) -> Duration {
    if per_second == 0 {
        return Duration::ZERO;
    }
    let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
    let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    let from = until.unwrap_or(now).max(now);
    // A cost past the clock's range is as good as for ever.
    let paid = from.checked_add(cost).unwrap_or(from);
    *until = Some(paid);
    paid.saturating_duration_since(now).saturating_sub(burst)
}

impl Quota {
    /// Notes what was sent; returns how long nothing more may come, and whose quota says so.
    pub(crate) fn charge(&self, bytes: u64, records: u64, now: Instant) -> Option<(Duration, Scope)> {
        let QuotaLimits { agent, agency, burst } = self.limits;
        let own = lock(&self.agent).charge(bytes, records, agent, burst, now);
        let shared = lock(&self.agency).charge(bytes, records, agency, burst, now);
        let (wait, scope) = if shared > own { (shared, Scope::Agency) } else { (own, Scope::Agent) };
        (wait > Duration::ZERO).then_some((wait, scope))
    }

    /// Returns how long nothing may come now.
    pub(crate) fn wait(&self, now: Instant) -> Option<(Duration, Scope)> {
        self.charge(0, 0, now)
    }
}

/// What these locks hold is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn quotas(agent: u64, agency: u64, burst: Duration) -> Quotas {
        let rate = |records_per_second| Rate { bytes_per_second: 0, records_per_second };
        Quotas::new(QuotaLimits { agent: rate(agent), agency: rate(agency), burst })
    }

    fn quota(quotas: &Quotas, agent: &str, now: Instant) -> Quota {
        quotas.of(&agent.parse().unwrap(), &"so-tttt".parse().unwrap(), now)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_holds() {
        let now = Instant::now();
        let quota = quota(&quotas(100, 0, 10 * SECOND), "a", now);
        assert_eq!(quota.charge(0, 1_000, now), None);
        assert_eq!(quota.charge(0, 100, now), Some((SECOND, Scope::Agent)));
        assert_eq!(quota.wait(now + SECOND / 2), Some((SECOND / 2, Scope::Agent)));
        assert_eq!(quota.wait(now + SECOND), None);
        assert_eq!(quota.charge(0, 100, now + 2 * SECOND), None);
        // Whoever was silent for long has the whole burst again, and no more.
        let later = now + 3_600 * SECOND;
        assert_eq!(quota.charge(0, 1_000, later), None);
        assert!(quota.charge(0, 1, later).is_some());
    }

    #[test]
    fn agents_of_one_agency_share_its_quota_and_those_of_another_do_not() {
        let now = Instant::now();
        let quotas = quotas(0, 100, SECOND);
        let (a, b) = (quota(&quotas, "a", now), quota(&quotas, "b", now));
        assert_eq!(a.charge(0, 200, now), Some((SECOND, Scope::Agency)));
        assert_eq!(b.wait(now), Some((SECOND, Scope::Agency)));
        let other = quotas.of(&"c".parse().unwrap(), &"xa-lan".parse().unwrap(), now);
        assert_eq!(other.charge(0, 100, now), None);
    }

    #[test]
    fn quota_outlives_a_connection_and_what_owes_nothing_is_forgotten() {
        let now = Instant::now();
        let quotas = quotas(1, 0, Duration::ZERO);
        quota(&quotas, "a", now).charge(0, 5, now);
        assert_eq!(quota(&quotas, "a", now).wait(now), Some((5 * SECOND, Scope::Agent)));
        for number in 0..KEPT_METERS + 10 {
            quota(&quotas, &format!("agent-{number}"), now);
        }
        assert!(lock(&quotas.agents).len() < KEPT_METERS);
        assert!(quota(&quotas, "a", now).wait(now).is_some(), "it is no way out of a debt");
    }

    #[test]
    fn accounts_come_at_a_pace() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!((0..100).filter(|_| pace.allows_account(now)).count(), 16);
        assert_eq!((0..100).filter(|_| pace.allows_account(now + SECOND)).count(), 4);
    }

    #[test]
    fn bytes_and_records_are_both_held() {
        let now = Instant::now();
        let agent = Rate { bytes_per_second: 1_000, records_per_second: 10 };
        let quotas = Quotas::new(QuotaLimits { agent, agency: Rate::default(), burst: Duration::ZERO });
        assert_eq!(quota(&quotas, "a", now).charge(2_000, 10, now), Some((2 * SECOND, Scope::Agent)));
        assert_eq!(quota(&quotas, "b", now).charge(1_000, 50, now), Some((5 * SECOND, Scope::Agent)));
        assert_eq!(quota(&quotas, "c", now).charge(u64::MAX, 0, now).map(|(_, scope)| scope), Some(Scope::Agent));
    }
}
