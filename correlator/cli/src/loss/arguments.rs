//! The words of `canh loss`.

use std::path::PathBuf;
use std::time::Duration;

use canh_event::{AgencyId, AgentId, Timestamp};
use clap::Args;

pub(crate) const LOSS_EXAMPLES: &str = "\
Examples:
  canh loss                              every agent: produced = journalled + spooled + dropped
  canh loss --agent web-01 --since 24h   one agent, and its gaps of the last day
  canh loss -o json | jq '.streams[] | select(.balances | not)'

Exit codes: 0 everything balances, 3 nothing is known of what was asked for, 4 not allowed to read,
6 there is no collector's ledger here, 8 something does not balance.";

#[derive(Debug, Args)]
pub(crate) struct LossArguments {
    /// Only this agent
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<AgentId>,
    /// Only agents of this agency
    #[arg(long, value_name = "AGENCY")]
    pub(crate) agency: Option<AgencyId>,
    /// Only gaps since then: an RFC 3339 time, or how long ago, e.g. 90m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub(crate) since: Option<Since>,
    /// At most so many gaps, the newest
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) limit: usize,
    /// The collector's state directory; CANH_COLLECTOR_STATE says it for all commands of a shell
    /// [default: /var/lib/canh/collector]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// A point in time, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// A time.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Since {
    /// Returns the time it stands for.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.saturating_sub(span),
        }
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::At(time));
    }
    let refused = || "a time like 2026-11-24T10:00:00+07:00, or a number and s, m, h or d".to_owned();
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refused)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let count: u64 = digits.parse().map_err(|_| refused())?;
    count.checked_mul(seconds).map(Duration::from_secs).map(Since::Ago).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read_and_nothing_else() {
        assert_eq!(parse_since("24h"), Ok(Since::Ago(Duration::from_secs(86_400))));
        assert_eq!(parse_since("7d").map(|since| since.at(Timestamp::from_secs(700_000)).secs()), Ok(95_200));
        assert!(matches!(parse_since("2026-11-24T10:00:00+07:00"), Ok(Since::At(_))));
        for wrong in ["", "h", "24", "24w", "-1h", "1é", "99999999999999999999d", "yesterday"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
