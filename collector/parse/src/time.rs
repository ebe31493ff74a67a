//! Times as logs write them: RFC 3164 without a year, ISO 8601 with or without a zone, the common
//! log format's, and numbers of seconds since the epoch.
//!
//! Comes in: text and what is known of the source. Goes out: a time, how far to trust it, and the
//! rest of the text. Hand-rolled, since it runs once a line: a date is arithmetic, not a lookup.

use canh_event::{Record, TimeQuality, Timestamp};

const SECS_PER_DAY: i64 = 86_400;
/// How far a time without a year may lie ahead of when it was read: clocks differ, zones are
/// guessed wrong, but a log of tomorrow's tomorrow is last year's.
const MAX_AHEAD_SECS: i64 = SECS_PER_DAY;
/// 29 February may be eight years back (1896 to 1904, 2096 to 2104).
const MAX_YEARS_BACK: i64 = 8;
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A time as it was found in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundTime {
    pub(crate) time: Timestamp,
    pub(crate) quality: TimeQuality,
}

/// What a time that states no year or no zone is read against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeContext {
    pub(crate) received: Timestamp,
    pub(crate) utc_offset_secs: i64,
}

/// A calendar day and a time of day, checked, without a zone.
#[derive(Clone, Copy, Debug)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
    nanos: i64,
}

impl TimeContext {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self { received: record.received, utc_offset_secs: i64::from(record.source.utc_offset_secs) }
    }

    /// Returns the same context for text that is known to be in UTC.
    pub(crate) fn in_utc(self) -> Self {
        Self { utc_offset_secs: 0, ..self }
    }

    fn received_year(self) -> i64 {
        let local = self.received.secs().saturating_add(self.utc_offset_secs);
        year_of_day(local.div_euclid(SECS_PER_DAY))
    }

    /// Puts a day without a year into the latest year that does not lie more than a day ahead of
    /// when the record was read.
    fn place(self, civil: Civil) -> Option<FoundTime> {
        let latest = self.received.secs().saturating_add(MAX_AHEAD_SECS);
        let this_year = self.received_year();
        (-1..=MAX_YEARS_BACK).find_map(|back| {
            let candidate = Civil { year: this_year - back, ..civil };
            let secs = candidate.utc_secs(self.utc_offset_secs)?;
            (secs <= latest).then(|| found(secs, civil.nanos, TimeQuality::Assumed)).flatten()
        })
    }
}

impl Civil {
    /// Returns seconds since the epoch; `None` for a day the year does not have.
    fn utc_secs(self, utc_offset_secs: i64) -> Option<i64> {
        if self.day > days_in_month(self.year, self.month) {
            return None;
        }
        let day = day_of_civil(self.year, self.month, self.day);
        Some(day * SECS_PER_DAY + self.second_of_day - utc_offset_secs)
    }
}

/// Reads `Nov 24 10:07:03`, `Nov  4 10:07:03.250`, `Nov 24 2026 10:07:03`.
/// Source: RFC 3164 section 4.1.2; the fraction and the year are what Cisco and syslog-ng add.
pub(crate) fn parse_rfc3164(text: &str, context: TimeContext) -> Option<(FoundTime, &str)> {
    let month = month_of(text.as_bytes())?;
    let rest = text.get(3..)?.strip_prefix(' ')?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let (day, rest) = digits(rest, 1, 2)?;
    let rest = rest.strip_prefix(' ')?;
    let (year, rest) = match digits(rest, 4, 4).and_then(|(year, rest)| Some((year, rest.strip_prefix(' ')?))) {
        Some((year, rest)) => (Some(year), rest),
        None => (None, rest),
    };
    let (second_of_day, nanos, rest) = time_of_day(rest)?;
    if day == 0 || day > 31 {
        return None;
    }
    let civil = Civil { year: year.unwrap_or(0), month, day, second_of_day, nanos };
    let found = match year {
        Some(_) => found(civil.utc_secs(context.utc_offset_secs)?, nanos, TimeQuality::Assumed)?,
        None => context.place(civil)?,
    };
    Some((found, rest))
}

/// Reads `2015 Nov 13 13:40:01`, which syslog-ng can be told to write.
pub(crate) fn parse_year_first(text: &str, context: TimeContext) -> Option<(FoundTime, &str)> {
    let (year, rest) = digits(text, 4, 4)?;
    let rest = rest.strip_prefix(' ')?;
    let month = month_of(rest.as_bytes())?;
    let rest = rest.get(3..)?.trim_start_matches(' ');
    let (day, rest) = digits(rest, 1, 2)?;
    let (second_of_day, nanos, rest) = time_of_day(rest.strip_prefix(' ')?)?;
    let civil = Civil { year, month, day, second_of_day, nanos };
    let secs = civil.utc_secs(context.utc_offset_secs).filter(|_| day > 0)?;
    Some((found(secs, nanos, TimeQuality::Assumed)?, rest))
}

/// Reads ISO 8601 as RFC 3339 narrows it, and as logs loosen it: `T` or a space, seconds with a
/// fraction after `.` or `,`, and no zone, `Z`, `+07:00` or `+0700`.
pub(crate) fn parse_iso(text: &str, context: TimeContext) -> Option<(FoundTime, &str)> {
    let (year, rest) = digits(text, 4, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (second_of_day, nanos, rest) = time_of_day(rest)?;
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let (offset, quality, rest) = match zone(rest) {
        Some((offset, rest)) => (offset, TimeQuality::Stated, rest),
        None => (context.utc_offset_secs, TimeQuality::Assumed, rest),
    };
    let civil = Civil { year, month, day, second_of_day, nanos };
    Some((found(civil.utc_secs(offset)?, nanos, quality)?, rest))
}

/// Reads `24/Nov/2026:10:07:03 +0700`, the common log format's time.
pub(crate) fn parse_common_log(text: &str) -> Option<FoundTime> {
    let (day, rest) = digits(text, 2, 2)?;
    let rest = rest.strip_prefix('/')?;
    let month = month_of(rest.as_bytes())?;
    let (year, rest) = digits(rest.get(3..)?.strip_prefix('/')?, 4, 4)?;
    let (second_of_day, nanos, rest) = time_of_day(rest.strip_prefix(':')?)?;
    let (offset, rest) = zone(rest.strip_prefix(' ')?)?;
    if !rest.is_empty() || day == 0 {
        return None;
    }
    let civil = Civil { year, month, day, second_of_day, nanos };
    found(civil.utc_secs(offset)?, nanos, TimeQuality::Stated)
}

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart
/// by size: each unit is good from the year 1973 to 5138.
pub(crate) fn parse_epoch(digits_text: &str) -> Option<FoundTime> {
    let (whole, fraction) = digits_text.split_once('.').unwrap_or((digits_text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let value: i64 = whole.parse().ok()?;
    let scale = match value {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    let part = fraction_nanos(fraction) / (1_000_000_000 / scale);
    let nanos = value.checked_mul(scale)?.checked_add(part)?;
    Some(FoundTime { time: Timestamp::from_nanos(nanos), quality: TimeQuality::Stated })
}

fn found(secs: i64, nanos: i64, quality: TimeQuality) -> Option<FoundTime> {
    let nanos = secs.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(FoundTime { time: Timestamp::from_nanos(nanos), quality })
}

/// Reads `hh:mm:ss` with a fraction; a leap second rolls into the next minute.
fn time_of_day(text: &str) -> Option<(i64, i64, &str)> {
    let (hour, rest) = digits(text, 2, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let second_of_day = hour * 3_600 + minute * 60 + second;
    let Some(after) = rest.strip_prefix(['.', ',']) else { return Some((second_of_day, 0, rest)) };
    let length = after.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, after) = after.split_at_checked(length)?;
    if fraction.is_empty() {
        return Some((second_of_day, 0, rest));
    }
    Some((second_of_day, fraction_nanos(fraction), after))
}

/// Returns the nanoseconds of a decimal fraction's digits; what is finer is cut off.
fn fraction_nanos(fraction: &str) -> i64 {
    let padded = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    padded.fold(0, |nanos, digit| nanos * 10 + i64::from(digit.wrapping_sub(b'0')))
}

/// Reads `Z`, `+07:00` or `-0330`, in seconds east of UTC.
fn zone(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = digits(text.get(1..)?, 2, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2)?;
    (hours <= 23 && minutes <= 59).then_some((sign * (hours * 3_600 + minutes * 60), rest))
}

/// Reads between `least` and `most` decimal digits.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let length = bytes.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if length < least {
        return None;
    }
    let (number, rest) = text.split_at_checked(length)?;
    Some((number.bytes().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')), rest))
}

fn month_of(text: &[u8]) -> Option<i64> {
    let name = text.first_chunk::<3>()?;
    let index = MONTHS.iter().position(|month| *month == name)?;
    i64::try_from(index + 1).ok()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns days since the epoch. Years begin in March, so that the leap day is the last.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn day_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Returns the year of a day since the epoch. Source: as above, `civil_from_days`.
fn year_of_day(day: i64) -> i64 {
    let shifted = day + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let is_past_new_year = day_of_year >= 306;
    shifted.div_euclid(146_097) * 400 + year_of_era + i64::from(is_past_new_year)
}

#[cfg(test)]
mod tests;
