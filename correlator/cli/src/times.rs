//! Times for people: always with their offset, in the zone the reader asked for, and how long ago.

use std::time::Duration;

use canh_event::Timestamp;
use jiff::tz::TimeZone;

use crate::exit::Failure;

/// The zone times are shown in, and the present they are measured against.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    zone: TimeZone,
    now: Timestamp,
}

impl Clock {
    /// Returns a clock of a zone by name: `local`, `utc` or a name such as `Asia/Ho_Chi_Minh`.
    pub(crate) fn of_zone(name: &str, now: Timestamp) -> Result<Self, Failure> {
        let zone = match name {
            "local" => TimeZone::try_system().unwrap_or(TimeZone::UTC),
            "utc" | "UTC" | "Z" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|error| {
                Failure::usage(format!("--tz {name}: no such time zone on this machine"))
                    .because(&error)
                    .hint("use local, utc or a name such as Asia/Ho_Chi_Minh; names need the package tzdata")
            })?,
        };
        Ok(Self { zone, now })
    }

    /// Returns the present.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns a time as `2026-11-24 10:07:03+07`.
    pub(crate) fn show(&self, time: Timestamp) -> String {
        let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(time.nanos())) else {
            return time.to_string();
        };
        let local = time.to_zoned_datetime(self.zone.clone());
        let offset = local.offset().seconds();
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.unsigned_abs() / 60;
        let mut shown = format!("{}{sign}{:02}", local.strftime("%Y-%m-%d %H:%M:%S"), minutes / 60);
        if !minutes.is_multiple_of(60) {
            shown.push_str(&format!(":{:02}", minutes % 60));
        }
        shown
    }

    /// Returns how long ago a time was, e.g. `3m`; `0s` if it lies ahead.
    pub(crate) fn age(&self, time: Timestamp) -> String {
        span(self.now.since(time))
    }
}

/// Returns a span by its largest unit: `42s`, `3m`, `5h`, `12d`.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h", secs / 3_600),
        _ => format!("{}d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_carry_their_offset() {
        let clock = |offset: i32| Clock {
            zone: TimeZone::fixed(jiff::tz::Offset::from_seconds(offset).unwrap()),
            now: time("2026-11-24T03:10:03Z"),
        };
        let at = time("2026-11-24T03:07:03.9Z");
        assert_eq!(clock(25_200).show(at), "2026-11-24 10:07:03+07");
        assert_eq!(clock(0).show(at), "2026-11-24 03:07:03+00");
        assert_eq!(clock(-12_600).show(at), "2026-11-23 23:37:03-03:30");
    }

    #[test]
    fn ages_use_the_largest_unit() {
        let clock = Clock { zone: TimeZone::UTC, now: time("2026-11-24T12:00:00Z") };
        for (at, age) in [
            ("2026-11-24T12:00:01Z", "0s"),
            ("2026-11-24T11:59:18Z", "42s"),
            ("2026-11-24T11:00:01Z", "59m"),
            ("2026-11-23T12:00:01Z", "23h"),
            ("2026-11-01T12:00:00Z", "23d"),
        ] {
            assert_eq!(clock.age(time(at)), age, "{at}");
        }
    }

    #[test]
    fn unknown_zone_is_a_usage_error() {
        let failure = Clock::of_zone("Mars/Olympus", Timestamp::EPOCH).unwrap_err();
        assert_eq!(failure.exit().code(), 2);
    }
}
