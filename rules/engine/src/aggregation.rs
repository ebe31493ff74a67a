//! Sigma 1's aggregations, as correlations.
//!
//! ```text
//! condition: selection | count(User) by Host > 10        timeframe: 5m
//! condition: selection | near other and not third        timeframe: 30s
//! ```
//!
//! Sigma 2 replaced them by correlations, but rules with them are still about. Such a rule becomes
//! a detection of its events, named `<id>#events`, and a correlation that carries its id and title.
//! `near` becomes a temporal correlation whose members are the searches it names.
//! Source: Sigma specification 1.0.4, "Aggregation expression" and "Near Aggregation Expression".

use std::time::Duration;

use crate::comparison::Comparison;
use crate::correlation::{CorrelationKind, Threshold};
use crate::diagnostic::{Fault, Mark, shown};
use crate::number::Number;
use crate::yaml::Scalar;

/// What stands behind the `|`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Aggregation {
    /// A number over the events of the rule.
    Count {
        kind: CorrelationKind,
        field: Option<String>,
        group_by: Vec<String>,
        threshold: Threshold,
        timespan: Duration,
    },
    /// Other searches that must occur near it, as a condition over the rule's searches.
    Near { condition: String, timespan: Duration },
}

/// Reads an aggregation and the timeframe it needs.
pub(crate) fn parse(written: &Scalar, timeframe: Option<&Scalar>) -> Result<Aggregation, Fault> {
    let text = written.text.as_str();
    let Some(timeframe) = timeframe else {
        let fault = Fault::new(written.mark, "an aggregation needs a timeframe, and the detection has none");
        return Err(fault.hint("add timeframe: 5m, or better write a correlation rule"));
    };
    let timespan = timespan(timeframe)?;
    if let Some(condition) = text.strip_prefix("near ") {
        return Ok(Aggregation::Near { condition: condition.to_owned(), timespan });
    }
    let not_one = || {
        let fault = Fault::new(written.mark, format!("{} is no aggregation", shown(text)));
        fault.hint("count(), count(field), sum(field) or avg(field), then `by field`, then a comparison")
    };
    let (function, rest) = text.split_once('(').ok_or_else(not_one)?;
    let (field, rest) = rest.split_once(')').ok_or_else(not_one)?;
    let field = Some(field.trim()).filter(|field| !field.is_empty()).map(str::to_owned);
    let kind = match (function.trim(), &field) {
        ("count", None) => CorrelationKind::EventCount,
        ("count", Some(_)) => CorrelationKind::ValueCount,
        ("sum", Some(_)) => CorrelationKind::ValueSum,
        ("avg", Some(_)) => CorrelationKind::ValueAvg,
        _ => return Err(not_one()),
    };
    let sign_at = rest.find(['<', '>', '=']).ok_or_else(not_one)?;
    let (groups, bound) = (rest.get(..sign_at).unwrap_or_default(), rest.get(sign_at..).unwrap_or_default());
    Ok(Aggregation::Count {
        kind,
        field,
        group_by: group_by(groups).ok_or_else(not_one)?,
        threshold: threshold(bound).ok_or_else(not_one)?,
        timespan,
    })
}

fn group_by(text: &str) -> Option<Vec<String>> {
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
    match words.next() {
        None => Some(Vec::new()),
        Some("by") => Some(words.map(str::to_owned).collect::<Vec<_>>()).filter(|fields| !fields.is_empty()),
        Some(_) => None,
    }
}

fn threshold(text: &str) -> Option<Threshold> {
    let signs = [
        (">=", Comparison::GreaterOrEqual),
        ("<=", Comparison::LessOrEqual),
        (">", Comparison::Greater),
        ("<", Comparison::Less),
        ("==", Comparison::Equal),
        ("=", Comparison::Equal),
    ];
    let (sign, comparison) = signs.into_iter().find(|(sign, _)| text.starts_with(sign))?;
    let number = Number::parse(text.strip_prefix(sign)?.trim())?;
    Some(Threshold::new(comparison, number.as_f64()))
}

/// Reads a time such as `90m`. Source: Sigma correlation rules specification 2.1, "Time
/// Selection"; `w`, `M` (30 days) and `y` (365 days) are pySigma's.
pub(crate) fn timespan(written: &Scalar) -> Result<Duration, Fault> {
    let text = written.text.trim();
    let wrong = |mark: Mark| {
        Fault::new(mark, format!("{} is no time span", shown(text)))
            .hint("a whole number and s, m, h or d, such as 90m")
    };
    let mut characters = text.chars();
    let unit: u64 = match characters.next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 7 * 86_400,
        Some('M') => 30 * 86_400,
        Some('y') => 365 * 86_400,
        _ => return Err(wrong(written.mark)),
    };
    let count: u32 = characters.as_str().parse().map_err(|_| wrong(written.mark))?;
    if count == 0 {
        return Err(wrong(written.mark));
    }
    Ok(Duration::from_secs(u64::from(count).saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), is_plain: true, mark: Mark::default() }
    }

    fn parsed(text: &str) -> Result<Aggregation, Fault> {
        parse(&scalar(text), Some(&scalar("5m")))
    }

    #[test]
    fn a_count_is_read() {
        let expected = Aggregation::Count {
            kind: CorrelationKind::ValueCount,
            field: Some("User".to_owned()),
            group_by: vec!["Host".to_owned(), "Source".to_owned()],
            threshold: Threshold::new(Comparison::GreaterOrEqual, 10.0),
            timespan: Duration::from_secs(300),
        };
        assert_eq!(parsed("count(User) by Host, Source >= 10").unwrap(), expected);
        assert!(matches!(parsed("count() > 5"), Ok(Aggregation::Count { group_by, .. }) if group_by.is_empty()));
        assert!(matches!(parsed("sum(bytes) by ip > 300000"), Ok(Aggregation::Count { .. })));
    }

    #[test]
    fn what_is_no_aggregation_is_refused() {
        for wrong in
            ["count", "count()", "count() by > 5", "count() > x", "median(x) > 5", "sum() > 1", "count() per x > 1"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&scalar("count() > 5"), None).is_err());
    }

    #[test]
    fn time_spans_have_a_unit() {
        assert_eq!(timespan(&scalar("90m")).unwrap(), Duration::from_secs(5_400));
        assert_eq!(timespan(&scalar("1d")).unwrap(), Duration::from_secs(86_400));
        for wrong in ["", "m", "90", "0s", "1.5h", "-1s", "99999999999s"] {
            assert!(timespan(&scalar(wrong)).is_err(), "{wrong}");
        }
    }
}
