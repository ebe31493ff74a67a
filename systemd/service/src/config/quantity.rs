//! Durations and amounts of bytes as text: a whole number and its unit, read and written.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Returns the duration a text such as `250ms` or `2h` stands for.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_millis)
}

/// Returns the amount of bytes a text such as `64KiB` stands for.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    parse(text, &BYTE_UNITS)
}

/// Returns a duration as [`parse_duration`] reads it; what is below a millisecond is dropped.
pub(crate) fn duration_text(duration: Duration) -> String {
    write(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

/// Returns an amount of bytes as [`parse_bytes`] reads it.
pub(crate) fn bytes_text(bytes: u64) -> String {
    write(bytes, &BYTE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write(amount: u64, units: &[(&str, u64)]) -> String {
    let mut text = String::new();
    for (name, factor) in units {
        if text.is_empty() || (amount > 0 && amount.is_multiple_of(*factor)) {
            text = format!("{}{name}", amount / factor);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_and_unit_are_both_needed() {
        for text in
            ["", "s", "10", "10 s", "1.5s", "-1s", "10S", "10sec", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_bytes("2GiB"), Some(2 << 30));
        assert_eq!(parse_bytes("2GB"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(amount in any::<u64>()) {
            prop_assert_eq!(parse_bytes(&bytes_text(amount)), Some(amount));
            let duration = Duration::from_millis(amount);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_bytes(&text);
        }
    }
}
