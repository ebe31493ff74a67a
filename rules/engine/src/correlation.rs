//! A correlation as checked: which rules it watches, how it groups and counts them.
//!
//! The engine here only reads and links correlations; `canh-correlate` runs them.
//! Source: Sigma correlation rules specification 2.1.

use std::fmt;
use std::time::Duration;

use crate::comparison::Comparison;
use crate::rule::{Level, RuleIndex, Status};

/// A correlation's place in its `RuleSet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationIndex(pub u32);

/// Something a correlation watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A detection rule.
    Detection(RuleIndex),
    /// Another correlation; it stands before this one in the set.
    Correlation(CorrelationIndex),
}

/// What a correlation does with what it watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CorrelationKind {
    /// Counts events.
    EventCount,
    /// Counts distinct values of the fields.
    ValueCount,
    /// Waits until its members have all occurred.
    Temporal,
    /// Waits until its members have all occurred, in their order.
    TemporalOrdered,
    /// Adds up the values of a field.
    ValueSum,
    /// Averages the values of a field.
    ValueAvg,
    /// Takes a percentile of the values of a field.
    ValuePercentile,
    /// Takes the median of the values of a field.
    ValueMedian,
}

/// The number a correlation must reach: one comparison, or two for a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How the number is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
    /// The other end of a range.
    pub and: Option<(Comparison, f64)>,
}

/// A field that goes by another name in each member. Source: "Field Name Aliases".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name `group_by` uses.
    pub name: String,
    /// For each member that has one: the field's name in its events.
    pub fields: Vec<(Member, String)>,
}

/// A condition of a temporal correlation over its members, if it has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberCondition {
    /// All of these.
    All(Vec<MemberCondition>),
    /// One of these.
    Any(Vec<MemberCondition>),
    /// Not this.
    Not(Box<MemberCondition>),
    /// The member at this place of `members` has occurred.
    Member(usize),
}

/// A correlation rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CorrelationRule {
    /// The id; if the rule has none, its name, else its title in small letters and dashes.
    pub id: String,
    /// The title.
    pub title: String,
    /// The name other correlations may refer to it by.
    pub name: Option<String>,
    /// The level; medium if the rule states none.
    pub level: Level,
    /// The status.
    pub status: Option<Status>,
    /// The description; empty if there is none.
    pub description: String,
    /// The author; empty if there is none.
    pub author: String,
    /// Where the knowledge comes from.
    pub references: Vec<String>,
    /// The tags.
    pub tags: Vec<String>,
    /// What else can look like this.
    pub falsepositives: Vec<String>,
    /// Fields an analyst will want to see.
    pub fields: Vec<String>,
    /// What it does.
    pub kind: CorrelationKind,
    /// What it watches, in the order the rule names them.
    pub members: Vec<Member>,
    /// The fields (or aliases) whose values must be equal.
    pub group_by: Vec<String>,
    /// Within which time.
    pub timespan: Duration,
    /// Which number must be reached; `None` for a temporal one that needs all its members.
    pub threshold: Option<Threshold>,
    /// Which of its members a temporal one needs, if not simply all.
    pub condition: Option<MemberCondition>,
    /// The fields whose values are counted, added up, ...; several count as one joint value.
    pub field: Vec<String>,
    /// Which percentile, 0 to 100; only with `ValuePercentile`.
    pub percentile: Option<f64>,
    /// Fields that go by another name in each member.
    pub aliases: Vec<Alias>,
    /// Whether its members give detections of their own as well.
    pub generate: bool,
    /// The file it was read from.
    pub path: String,
    /// The line its document begins on.
    pub line: u32,
}

impl CorrelationKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::EventCount,
        Self::ValueCount,
        Self::Temporal,
        Self::TemporalOrdered,
        Self::ValueSum,
        Self::ValueAvg,
        Self::ValuePercentile,
        Self::ValueMedian,
    ];

    /// Returns Sigma's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventCount => "event_count",
            Self::ValueCount => "value_count",
            Self::Temporal => "temporal",
            Self::TemporalOrdered => "temporal_ordered",
            Self::ValueSum => "value_sum",
            Self::ValueAvg => "value_avg",
            Self::ValuePercentile => "value_percentile",
            Self::ValueMedian => "value_median",
        }
    }

    /// Returns the kind of Sigma's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Returns whether it waits for its members rather than counting or adding up.
    pub const fn is_temporal(self) -> bool {
        matches!(self, Self::Temporal | Self::TemporalOrdered)
    }

    /// Returns whether it works on the values of a field.
    pub const fn needs_field(self) -> bool {
        !matches!(self, Self::EventCount | Self::Temporal | Self::TemporalOrdered)
    }
}

impl fmt::Display for CorrelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Threshold {
    /// Returns a threshold of one comparison.
    pub const fn new(comparison: Comparison, value: f64) -> Self {
        Self { comparison, value, and: None }
    }

    /// Returns whether a number reaches it; not-a-number never does.
    pub fn is_reached_by(&self, number: f64) -> bool {
        let holds = |comparison: Comparison, bound: f64| {
            number.partial_cmp(&bound).is_some_and(|ordering| comparison.accepts(ordering))
        };
        holds(self.comparison, self.value) && self.and.is_none_or(|(comparison, bound)| holds(comparison, bound))
    }

    /// Returns whether a count reaches it.
    #[expect(clippy::cast_precision_loss, reason = "counts past 2^53 do not occur")]
    pub fn is_reached_by_count(&self, count: u64) -> bool {
        self.is_reached_by(count as f64)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), self.value)?;
        match self.and {
            Some((comparison, value)) => write!(f, " and {} {value}", comparison.sign()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        let range =
            Threshold { comparison: Comparison::Greater, value: 100.0, and: Some((Comparison::LessOrEqual, 200.0)) };
        assert!(!range.is_reached_by_count(100));
        assert!(range.is_reached_by_count(101));
        assert!(range.is_reached_by_count(200));
        assert!(!range.is_reached_by_count(201));
        assert_eq!(range.to_string(), "> 100 and <= 200");
    }

    #[test]
    fn every_kind_has_its_word() {
        for kind in CorrelationKind::ALL {
            assert_eq!(CorrelationKind::from_word(kind.as_str()), Some(kind));
        }
    }
}
