//! Keeps networks out for a while from which nothing good has come.
//!
//! A network is a /24 of IPv4 or a /56 of IPv6. Each failed handshake or enrolment costs its network a
//! point; points come back with time. A network without points is refused when it connects, before it
//! costs a handshake, unless the very address has shown a good certificate lately. Successes cost nothing,
//! so all agents behind one address may come back at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Points of a network nothing is known of: mistakes an honest office may make at once.
const POINTS: f64 = 64.0;
/// Points that come back in a second.
const POINTS_PER_SECOND: f64 = 1.0;
/// The lowest a network can fall: a minute without failures, and it is heard again.
const DEBT: f64 = -60.0;
/// How long a good certificate speaks for its address.
const GOOD_FOR: Duration = Duration::from_secs(3_600);
/// Networks and addresses remembered, each.
const MAX_REMEMBERED: usize = 16_384;

/// What is known of networks.
#[derive(Debug, Default)]
pub(crate) struct Networks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    failing: HashMap<Network, Score>,
    good: HashMap<IpAddr, Instant>,
}

/// The first bytes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u8; 7]),
}

#[derive(Clone, Copy, Debug)]
struct Score {
    points: f64,
    at: Instant,
}

impl Networks {
    /// Returns whether somebody at this address may try.
    pub(crate) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let known = self.lock();
        let Some(score) = known.failing.get(&Network::of(address)) else { return true };
        score.points_at(now) > 0.0
            || known.good.get(&canonical(address)).is_some_and(|at| now.saturating_duration_since(*at) < GOOD_FOR)
    }

    /// Notes a failure; `points` is what it costs.
    pub(crate) fn note_failure(&self, address: IpAddr, points: f64, now: Instant) {
        let mut known = self.lock();
        if known.failing.len() >= MAX_REMEMBERED {
            known.failing.retain(|_, score| score.points_at(now) < POINTS);
        }
        if known.failing.len() >= MAX_REMEMBERED {
            // So many networks at once: whom to forget does not matter, the bound does.
            known.failing.clear();
        }
        let score = known.failing.entry(Network::of(address)).or_insert(Score { points: POINTS, at: now });
        *score = Score { points: (score.points_at(now) - points).max(DEBT), at: now };
    }

    /// Notes that a good certificate has come from an address.
    pub(crate) fn note_success(&self, address: IpAddr, now: Instant) {
        let mut known = self.lock();
        if known.good.len() >= MAX_REMEMBERED {
            known.good.retain(|_, at| now.saturating_duration_since(*at) < GOOD_FOR / 2);
        }
        if known.good.len() < MAX_REMEMBERED {
            known.good.insert(canonical(address), now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match canonical(address) {
            IpAddr::V4(address) => Self::V4(address.octets().first_chunk().copied().unwrap_or_default()),
            IpAddr::V6(address) => Self::V6(address.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

impl Score {
    fn points_at(&self, now: Instant) -> f64 {
        let back = now.saturating_duration_since(self.at).as_secs_f64() * POINTS_PER_SECOND;
        (self.points + back).min(POINTS)
    }
}

/// An IPv4 address that came through an IPv6 socket is one.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_that_only_fails_is_kept_out_and_heard_again_after_a_while() {
        let (networks, now) = (Networks::default(), Instant::now());
        (0..63).for_each(|host| networks.note_failure(IpAddr::from([192, 0, 2, host]), 1.0, now));
        assert!(networks.may_try(ip("192.0.2.200"), now));
        networks.note_failure(ip("192.0.2.77"), 1.0, now);
        assert!(!networks.may_try(ip("192.0.2.200"), now) && !networks.may_try(ip("::ffff:192.0.2.1"), now));
        assert!(networks.may_try(ip("192.0.3.1"), now), "others are not affected");
        assert!(networks.may_try(ip("192.0.2.200"), now + Duration::from_secs(2)));
        (0..10_000).for_each(|_| networks.note_failure(ip("192.0.2.1"), 1.0, now));
        assert!(!networks.may_try(ip("192.0.2.1"), now + Duration::from_secs(59)));
        assert!(networks.may_try(ip("192.0.2.1"), now + Duration::from_secs(61)));
    }

    #[test]
    fn an_agent_among_attackers_is_heard() {
        let (networks, now) = (Networks::default(), Instant::now());
        networks.note_success(ip("2001:db8::7"), now);
        (0..100).for_each(|_| networks.note_failure(ip("2001:db8:0:12::1"), 1.0, now));
        assert!(networks.may_try(ip("2001:db8::7"), now));
        assert!(!networks.may_try(ip("2001:db8::8"), now));
        let later = now + GOOD_FOR;
        (0..100).for_each(|_| networks.note_failure(ip("2001:db8:0:12::1"), 1.0, later));
        assert!(!networks.may_try(ip("2001:db8::7"), later));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (networks, now) = (Networks::default(), Instant::now());
        for number in 0..3 * u32::try_from(MAX_REMEMBERED).unwrap() {
            let address = IpAddr::from((number << 8).to_be_bytes());
            networks.note_failure(address, 1.0, now);
            networks.note_success(address, now);
        }
        let known = networks.lock();
        assert!(known.failing.len() <= MAX_REMEMBERED && known.good.len() <= MAX_REMEMBERED);
    }
}
