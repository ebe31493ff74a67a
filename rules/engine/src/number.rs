//! Numbers of rules and of events, compared exactly where both are whole.
//!
//! An event keeps a number as the digits it had, in a number or in a text. A rule's `4104` matches
//! both, and `4104.0` too. Whole numbers are compared as such: Windows keywords such as
//! `0x8020000000000000` do not fit a floating-point number.

use std::cmp::Ordering;

/// A number in JSON's grammar (RFC 8259 section 6), with a leading `+` or zeros tolerated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number that fits.
    Whole(i128),
    /// Any other.
    Decimal(f64),
}

impl Number {
    /// Returns the number a text is, if it is one; spaces around it are tolerated.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let first = *text.as_bytes().first()?;
        if !(first.is_ascii_digit() || matches!(first, b'-' | b'+' | b'.')) {
            return None;
        }
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        // Rust also reads "inf", "nan" and such, which no log means as a number.
        let is_number_byte = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        if !text.bytes().all(is_number_byte) {
            return None;
        }
        let decimal: f64 = text.parse().ok()?;
        Some(Self::Decimal(decimal)).filter(|_| decimal.is_finite())
    }

    /// Returns how two numbers compare.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(mine), Self::Whole(theirs)) => Some(mine.cmp(&theirs)),
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }

    /// Returns whether two numbers are equal.
    pub fn equals(self, other: Self) -> bool {
        self.compare(other) == Some(Ordering::Equal)
    }

    /// Returns the nearest floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "that is what nearest means")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Decimal(decimal) => decimal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_value() {
        let four: Number = Number::parse("4104").unwrap();
        for text in ["4104", "4104.0", "4.104e3", "+4104", "04104", " 4104 "] {
            assert!(Number::parse(text).unwrap().equals(four), "{text}");
        }
        for text in ["", "abc", "0x10", "nan", "inf", "1,000", "-", "1 2", "1e999"] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn large_whole_numbers_are_exact() {
        let odd = Number::parse("9007199254740993").unwrap();
        assert!(!odd.equals(Number::parse("9007199254740992").unwrap()));
        assert_eq!(odd.compare(Number::parse("-9214364837600034816").unwrap()), Some(Ordering::Greater));
    }
}
