//! How long to wait before the next connection: longer each time, at random, up to a bound.

use std::time::Duration;

use crate::config::RetryPolicy;

/// Waits that grow.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Returns waits that begin anew; `seed` keeps agents apart.
    pub(crate) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self { policy, failures: 0, random: seed }
    }

    /// Returns the next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = self.policy.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        self.part_of(doubled.min(self.policy.longest))
    }

    /// Returns a wait near the longest: only a person can change the cause.
    pub(crate) fn longest(&mut self) -> Duration {
        self.policy.longest / 2 + self.part_of(self.policy.longest / 2)
    }

    /// Begins anew, after a connection that was worth something.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns a random part of a span (splitmix64; nobody gains by guessing it).
    fn part_of(&mut self, span: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandths = u32::try_from((mixed ^ (mixed >> 31)) % 1_001).unwrap_or(0);
        span / 1_000 * thousandths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

    #[test]
    fn waits_grow_to_their_bound_and_begin_anew() {
        let mut backoff = Backoff::new(POLICY, 7);
        for bound in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs).into_iter().chain([POLICY.longest; 60]) {
            assert!(backoff.next() <= bound);
        }
        backoff.reset();
        assert!(backoff.next() <= POLICY.first);
        for _ in 0..50 {
            let wait = backoff.longest();
            assert!(wait >= POLICY.longest / 2 && wait <= POLICY.longest);
        }
    }

    #[test]
    fn agents_do_not_wait_alike() {
        let mut waits: Vec<_> = (0..50).map(|seed| Backoff::new(POLICY, seed).next()).collect();
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 40, "{waits:?}");
        assert!(
            waits[0] < POLICY.first / 4 && waits[waits.len() - 1] > POLICY.first * 3 / 4,
            "all of the span is used"
        );
    }
}
