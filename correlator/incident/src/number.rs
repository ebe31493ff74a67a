//! The number people call an incident by: `INC-26-000017`.

use std::fmt;
use std::str::FromStr;

use canh_event::Timestamp;

use crate::as_text::serde_by_text;

/// An incident's number: the year it was opened in (UTC, of the event that opened it) and a
/// counter that runs on over the years and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IncidentNumber {
    year: u16,
    counter: u32,
}

/// A text that is no incident number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an incident number: {got:?} (write INC-26-000017)")]
pub struct NumberError {
    got: String,
}

impl IncidentNumber {
    /// Returns the number with this counter for an incident opened at `opened`.
    pub fn new(opened: Timestamp, counter: u32) -> Self {
        Self { year: year_of(opened), counter }
    }

    /// Returns the year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Returns the counter; it alone identifies the incident.
    pub const fn counter(self) -> u32 {
        self.counter
    }
}

/// By counter: the order in which incidents were opened, whatever their event times say.
impl Ord for IncidentNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.counter.cmp(&other.counter).then(self.year.cmp(&other.year))
    }
}

impl PartialOrd for IncidentNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for IncidentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("INC-{:02}-{:06}", self.year % 100, self.counter))
    }
}

/// Reads the full form, in any case. The two digits are a year of this century.
impl FromStr for IncidentNumber {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let refused = || NumberError { got: text.chars().take(40).collect() };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.splitn(3, '-');
        let (Some(prefix), Some(year), Some(counter)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused());
        };
        if !prefix.eq_ignore_ascii_case("inc") || year.len() != 2 || !digits(year) || !digits(counter) {
            return Err(refused());
        }
        let year = 2000 + year.parse::<u16>().map_err(|_| refused())?;
        Ok(Self { year, counter: counter.parse().map_err(|_| refused())? })
    }
}

serde_by_text!(IncidentNumber);

/// Returns the year in UTC, held to 2000..=2099 so that two digits tell it.
fn year_of(time: Timestamp) -> u16 {
    // Days to civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let days = time.secs().div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The algorithm's year begins in March: day 306 is the first of January.
    let year = year_of_era + era * 400 + i64::from(day_of_year >= 306);
    u16::try_from(year.clamp(2000, 2099)).unwrap_or(2000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let opened: Timestamp = "2026-11-24T10:07:03+07:00".parse().unwrap();
        let number = IncidentNumber::new(opened, 17);
        assert_eq!(number.to_string(), "INC-26-000017");
        assert_eq!("inc-26-17".parse(), Ok(number));
        assert_eq!(IncidentNumber::new(opened, 1_234_567).to_string(), "INC-26-1234567");
        for text in ["", "17", "INC-26", "INC-26-", "INC-2026-1", "INC-26-+1", "INC-26-99999999999", "INC-é6-1"] {
            assert!(text.parse::<IncidentNumber>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_year_turns_at_midnight_utc() {
        for year in 2000..2099_u16 {
            let last: Timestamp = format!("{year}-12-31T23:59:59Z").parse().unwrap();
            assert_eq!(year_of(last), year);
            assert_eq!(year_of(Timestamp::from_secs(last.secs() + 1)), year + 1);
        }
        assert_eq!(year_of(Timestamp::EPOCH), 2000);
    }

    #[test]
    fn numbers_sort_by_the_order_of_opening() {
        let backlog = IncidentNumber::new("2025-12-31T00:00:00Z".parse().unwrap(), 2);
        let live = IncidentNumber::new("2026-01-01T00:00:00Z".parse().unwrap(), 1);
        assert!(live < backlog);
    }
}
