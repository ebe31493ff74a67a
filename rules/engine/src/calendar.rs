//! Parts of a date, read off its text as it stands.
//!
//! Source: Sigma modifiers appendix 2.1, "Time Modifiers": the modifiers are "not designed to
//! handle timezone or format conversions", so nothing is converted: `2024-05-01T23:10:00+07:00` has
//! the hour 23. Read are `YYYY-MM-DD` or `YYYY/MM/DD`, then `T` or a space, then `HH:MM[:SS]`, then
//! anything; and a bare number as seconds or milliseconds since 1970, in UTC.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::number::Number;

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CalendarPart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 53, of ISO 8601.
    Week,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
}

impl CalendarPart {
    /// Returns the part of Sigma's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// Returns the part of the date a text is, if it is one.
    pub fn of(self, text: &str) -> Option<Number> {
        let at = read(text.trim_ascii())?;
        Some(Number::Whole(match self {
            Self::Minute => i128::from(at.minute()),
            Self::Hour => i128::from(at.hour()),
            Self::Day => i128::from(at.day()),
            Self::Week => i128::from(at.date().iso_week_date().week()),
            Self::Month => i128::from(at.month()),
            Self::Year => i128::from(at.year()),
        }))
    }
}

fn read(text: &str) -> Option<DateTime> {
    if let Some(Number::Whole(count)) = Number::parse(text) {
        return read_epoch(count);
    }
    let year = digits(text, 0, 4)?;
    let separator = *text.as_bytes().get(4)?;
    if !matches!(separator, b'-' | b'/') || *text.as_bytes().get(7)? != separator {
        return None;
    }
    let date = Date::new(year, narrow(digits(text, 5, 2)?)?, narrow(digits(text, 8, 2)?)?).ok()?;
    let time = match text.as_bytes().get(10) {
        None => Time::midnight(),
        Some(b'T' | b't' | b' ') => read_time(text.get(11..)?)?,
        Some(_) => return None,
    };
    Some(DateTime::from_parts(date, time))
}

fn read_time(text: &str) -> Option<Time> {
    if *text.as_bytes().get(2)? != b':' {
        return None;
    }
    Time::new(narrow(digits(text, 0, 2)?)?, narrow(digits(text, 3, 2)?)?, 0, 0).ok()
}

/// Past this count the unit must be milliseconds: as seconds it would be the year 33658.
const MOST_SECONDS: i128 = 1_000_000_000_000;

fn read_epoch(count: i128) -> Option<DateTime> {
    let seconds = if count.abs() >= MOST_SECONDS { count.div_euclid(1_000) } else { count };
    let at = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(TimeZone::UTC.to_datetime(at))
}

fn digits(text: &str, from: usize, count: usize) -> Option<i16> {
    let part = text.get(from..from + count)?;
    if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

fn narrow(number: i16) -> Option<i8> {
    i8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part: CalendarPart, text: &str) -> Option<i128> {
        match part.of(text) {
            Some(Number::Whole(whole)) => Some(whole),
            _ => None,
        }
    }

    #[test]
    fn parts_are_read_as_they_stand() {
        let text = "2024-05-01T23:10:59.123+07:00";
        assert_eq!(part(CalendarPart::Minute, text), Some(10));
        assert_eq!(part(CalendarPart::Hour, text), Some(23));
        assert_eq!(part(CalendarPart::Day, text), Some(1));
        assert_eq!(part(CalendarPart::Week, text), Some(18));
        assert_eq!(part(CalendarPart::Month, text), Some(5));
        assert_eq!(part(CalendarPart::Year, text), Some(2024));
        assert_eq!(part(CalendarPart::Hour, "2020-09-04 16:09:38"), Some(16));
        assert_eq!(part(CalendarPart::Day, "2020/09/04"), Some(4));
        assert_eq!(part(CalendarPart::Year, "1700000000"), Some(2023));
        assert_eq!(part(CalendarPart::Year, "1700000000000"), Some(2023));
    }

    #[test]
    fn what_is_no_date_has_no_part() {
        for text in ["", "yesterday", "2024-13-01", "2024-05/01", "2024-05-01x", "2024-05-01T9:00", "24-05-01"] {
            assert_eq!(part(CalendarPart::Year, text), None, "{text}");
        }
    }
}
