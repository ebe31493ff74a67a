//! Lays a rule against an event.

use canh_event::{Row, Value};

use crate::detection::{Clause, Condition, Detection, Item, Join, Target, Test, is_in_network};
use crate::fold::fold;
use crate::number::Number;
use crate::rule::Rule;

/// Returns whether a rule fits an event, its logsource not asked for: see
/// `RuleLogsource::applies_to`.
pub fn matches(rule: &Rule, row: Row<'_>) -> bool {
    condition_holds(&rule.detection.condition, &rule.detection, row)
}

pub(crate) fn condition_holds(condition: &Condition, detection: &Detection, row: Row<'_>) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| condition_holds(part, detection, row)),
        Condition::Any(parts) => parts.iter().any(|part| condition_holds(part, detection, row)),
        Condition::Not(part) => !condition_holds(part, detection, row),
        Condition::Search(place) => {
            detection.searches.get(*place).is_some_and(|search| clause_holds(&search.clause, row))
        }
    }
}

pub(crate) fn clause_holds(clause: &Clause, row: Row<'_>) -> bool {
    match clause {
        Clause::All(parts) => parts.iter().all(|part| clause_holds(part, row)),
        Clause::Any(parts) => parts.iter().any(|part| clause_holds(part, row)),
        Clause::Item(item) => item_holds(item, row),
    }
}

pub(crate) fn item_holds(item: &Item, row: Row<'_>) -> bool {
    let values = values_of(&item.target, row);
    let holds = match item.join {
        Join::Any => item.tests.iter().any(|test| holds_for_one(test, &values, row)),
        Join::Every => item.tests.iter().all(|test| holds_for_one(test, &values, row)),
    };
    if item.negated { !values.is_empty() && !holds } else { holds }
}

pub(crate) fn values_of<'a>(target: &Target, row: Row<'a>) -> Vec<Value<'a>> {
    match target {
        Target::Field(name) => row.values(name).collect(),
        Target::Keyword => row.fields().map(|(_, value)| value).collect(),
    }
}

pub(crate) fn holds_for_one(test: &Test, values: &[Value<'_>], row: Row<'_>) -> bool {
    match test {
        Test::Null => values.is_empty() || values.iter().any(|value| value.is_null()),
        Test::Exists(wanted) => values.is_empty() != *wanted,
        Test::OneOf(variants) => variants.iter().any(|variant| holds_for_one(variant, values, row)),
        _ => values.iter().any(|value| !value.is_null() && holds(test, value.text, row)),
    }
}

fn holds(test: &Test, text: &str, row: Row<'_>) -> bool {
    match test {
        Test::Text { pattern, cased: true } => pattern.fits(text),
        Test::Text { pattern, cased: false } => pattern.fits(&fold(text)),
        Test::Equal(number) => Number::parse(text).is_some_and(|value| value.equals(*number)),
        Test::Compare(comparison, number) => Number::parse(text)
            .and_then(|value| value.compare(*number))
            .is_some_and(|ordering| comparison.accepts(ordering)),
        Test::Regex(expression) => expression.regex.is_match(text),
        Test::Network(network) => is_in_network(text, network),
        Test::Calendar(part, comparison, number) => {
            part.of(text).and_then(|value| value.compare(*number)).is_some_and(|ordering| comparison.accepts(ordering))
        }
        Test::Reference { field, relation, cased } => {
            let stands = |other: Value<'_>| {
                if *cased { relation.holds(text, other.text) } else { relation.holds(&fold(text), &fold(other.text)) }
            };
            row.values(field).any(|other| !other.is_null() && stands(other))
        }
        Test::Null | Test::Exists(_) | Test::OneOf(_) => false,
    }
}
