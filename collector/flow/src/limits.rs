//! How many flows a meter keeps, and for how long.

use std::time::Duration;

/// What a meter keeps within. Values outside the ranges named are held at their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterLimits {
    /// Most live flows, 1 to 16,777,216. A flow takes 128 bytes, and its place in the index 6 to 23 more.
    pub max_flows: u32,
    /// A flow without a packet for so long is over, 1 s to 1 h; does not hold for open TCP connections.
    pub idle_timeout: Duration,
    /// An open TCP connection without a packet for so long is over, 1 s to 1 h. Longer than
    /// `idle_timeout`, because a connection kept alive is silent for minutes, and one given up too
    /// early comes back with its sides mistaken for each other.
    pub open_timeout: Duration,
    /// A flow that goes on is recorded in pieces of at most this length, 1 s to 24 h.
    pub active_timeout: Duration,
}

/// A TCP connection that was seen to end waits so long for its last packets.
pub(crate) const CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// How far behind the newest packet another may be without being taken for a step of the clock:
/// interfaces and queues hand packets over a little out of order.
pub(crate) const MAX_REORDER: Duration = Duration::from_secs(1);

const MAX_FLOWS: u32 = 1 << 24;
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
const MAX_ACTIVE_TIMEOUT: Duration = Duration::from_secs(86_400);

impl MeterLimits {
    /// Returns the limits with every value held within its range.
    pub(crate) fn held(self) -> Self {
        Self {
            max_flows: self.max_flows.clamp(1, MAX_FLOWS),
            idle_timeout: self.idle_timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT),
            open_timeout: self.open_timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT),
            active_timeout: self.active_timeout.clamp(MIN_TIMEOUT, MAX_ACTIVE_TIMEOUT),
        }
    }
}

/// 262,144 flows (36 MB when all are live); 30 s idle, 5 min for open connections (Zeek's
/// `tcp_inactivity_timeout`), 5 min active.
impl Default for MeterLimits {
    fn default() -> Self {
        Self {
            max_flows: 1 << 18,
            idle_timeout: Duration::from_secs(30),
            open_timeout: Duration::from_secs(300),
            active_timeout: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_held_at_its_ends() {
        let wild = MeterLimits {
            max_flows: 0,
            idle_timeout: Duration::ZERO,
            open_timeout: Duration::MAX,
            active_timeout: Duration::MAX,
        };
        let held = wild.held();
        assert_eq!((held.max_flows, held.idle_timeout), (1, MIN_TIMEOUT));
        assert_eq!((held.open_timeout, held.active_timeout), (MAX_TIMEOUT, MAX_ACTIVE_TIMEOUT));
        assert_eq!(MeterLimits::default().held(), MeterLimits::default());
    }
}
