//! One test of one field, as a key: equal tests of all rules are one atom.

use ipnet::IpNet;

use crate::calendar::CalendarPart;
use crate::comparison::Comparison;
use crate::detection::Test;
use crate::number::Number;
use crate::pattern::Pattern;

/// An atom's place among the atoms of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AtomId(pub(crate) u32);

/// What makes two tests equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AtomKey {
    Text {
        pattern: Pattern,
        cased: bool,
    },
    Equal(NumberKey),
    Compare(Comparison, NumberKey),
    Regex {
        text: String,
        insensitive: bool,
        multi_line: bool,
        dot_all: bool,
    },
    Network(IpNet),
    Calendar(CalendarPart, Comparison, NumberKey),
    /// The value is nothing.
    Null,
    /// There is a value.
    Present,
}

/// A number as a key; every number is finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NumberKey {
    Whole(i128),
    Decimal(u64),
}

impl NumberKey {
    pub(crate) fn new(number: Number) -> Self {
        match number {
            Number::Whole(whole) => Self::Whole(whole),
            Number::Decimal(decimal) => Self::Decimal(decimal.to_bits()),
        }
    }
}

impl AtomKey {
    /// Returns the key of a test of a single value; `None` for one that is more than that.
    pub(crate) fn of(test: &Test) -> Option<Self> {
        Some(match test {
            Test::Text { pattern, cased } => Self::Text { pattern: pattern.clone(), cased: *cased },
            Test::Equal(number) => Self::Equal(NumberKey::new(*number)),
            Test::Compare(comparison, number) => Self::Compare(*comparison, NumberKey::new(*number)),
            Test::Regex(expression) => Self::Regex {
                text: expression.regex.as_str().to_owned(),
                insensitive: expression.insensitive,
                multi_line: expression.multi_line,
                dot_all: expression.dot_all,
            },
            Test::Network(network) => Self::Network(*network),
            Test::Calendar(part, comparison, number) => Self::Calendar(*part, *comparison, NumberKey::new(*number)),
            Test::Null | Test::Exists(_) | Test::OneOf(_) | Test::Reference { .. } => return None,
        })
    }
}
