//! Why a rule fits an event or does not, step by step.

use std::fmt;

use canh_event::Row;

use crate::comparison::Comparison;
use crate::detection::{Clause, Condition, Detection, Item, Join, Relation, Test};
use crate::diagnostic::shown;
use crate::number::Number;
use crate::reference::evaluate::{clause_holds, condition_holds, holds_for_one, item_holds, values_of};
use crate::rule::Rule;

/// Why a rule fits an event or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the rule's detection fits the event.
    pub matches: bool,
    /// Whether the rule's logsource applies to the event's.
    pub applies: bool,
    /// The rule's logsource, `product/service/category`.
    pub logsource: String,
    /// The condition, taken apart.
    pub condition: Step,
}

/// One part of a condition: what it asks, whether it holds, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is asked.
    pub asks: String,
    /// Whether it holds for the event.
    pub holds: bool,
    /// The event's values it was asked of, escaped and cut; empty unless it is about one field.
    pub values: Vec<String>,
    /// Its parts.
    pub parts: Vec<Step>,
}

/// Most values and tests of one item that are shown.
const MOST_SHOWN: usize = 8;

/// Lays a rule against an event and says why it fits or does not.
pub fn explain(rule: &Rule, row: Row<'_>) -> Explanation {
    Explanation {
        matches: condition_holds(&rule.detection.condition, &rule.detection, row),
        applies: rule.logsource.applies_to(row.logsource()),
        logsource: rule.logsource.to_string(),
        condition: condition_step(&rule.detection.condition, &rule.detection, row),
    }
}

fn condition_step(condition: &Condition, detection: &Detection, row: Row<'_>) -> Step {
    let holds = condition_holds(condition, detection, row);
    let each = |parts: &[Condition]| parts.iter().map(|part| condition_step(part, detection, row)).collect();
    match condition {
        Condition::All(parts) => Step::of("all of", holds, each(parts)),
        Condition::Any(parts) => Step::of("one of", holds, each(parts)),
        Condition::Not(part) => Step::of("not", holds, vec![condition_step(part, detection, row)]),
        Condition::Search(place) => match detection.searches.get(*place) {
            Some(search) => Step::of(&search.name, holds, vec![clause_step(&search.clause, row)]),
            None => Step::of("a search that is not there", holds, Vec::new()),
        },
    }
}

fn clause_step(clause: &Clause, row: Row<'_>) -> Step {
    let holds = clause_holds(clause, row);
    let each = |parts: &[Clause]| parts.iter().map(|part| clause_step(part, row)).collect();
    match clause {
        Clause::All(parts) => Step::of("all of", holds, each(parts)),
        Clause::Any(parts) => Step::of("one of", holds, each(parts)),
        Clause::Item(item) => item_step(item, row),
    }
}

fn item_step(item: &Item, row: Row<'_>) -> Step {
    let values = values_of(&item.target, row);
    let key = if item.key.is_empty() { "any field" } else { item.key.as_str() };
    let join = match (item.negated, item.join, item.tests.len()) {
        (true, ..) => " is there and not ",
        (false, _, 1) => " is ",
        (false, Join::Any, _) => " is one of ",
        (false, Join::Every, _) => " is all of ",
    };
    let mut parts: Vec<Step> = Vec::new();
    if item.tests.len() > 1 {
        let all = item.tests.iter().map(|test| Step::of(&show(test), holds_for_one(test, &values, row), Vec::new()));
        parts.extend(all);
        // What decides first, so that it is not cut off.
        parts.sort_by_key(|part| part.holds != (item.join == Join::Any));
        parts.truncate(MOST_SHOWN);
    }
    let tests = match item.tests.as_slice() {
        [only] => show(only),
        several => format!("{} values", several.len()),
    };
    let mut step = Step::of(&format!("{key}{join}{tests}"), item_holds(item, row), parts);
    if item.field().is_some() {
        step.values = values.iter().take(MOST_SHOWN).map(|value| shown_value(value.is_null(), value.text)).collect();
    }
    step
}

fn shown_value(is_null: bool, text: &str) -> String {
    if is_null { "null".to_owned() } else { shown(text) }
}

fn show(test: &Test) -> String {
    match test {
        Test::Text { pattern, cased: false } => shown(&pattern.to_string()),
        Test::Text { pattern, cased: true } => format!("{} with this case", shown(&pattern.to_string())),
        Test::Equal(number) => show_comparison(Comparison::Equal, *number),
        Test::Compare(comparison, number) => show_comparison(*comparison, *number),
        Test::Regex(expression) => format!("a match of {}", shown(expression.regex.as_str())),
        Test::Network(network) => format!("in {network}"),
        Test::Calendar(part, comparison, number) => {
            format!("a date with {part:?} {}", show_comparison(*comparison, *number)).to_ascii_lowercase()
        }
        Test::OneOf(variants) => match variants.as_slice() {
            [first, ..] => format!("{} or one of {} variants", show(first), variants.len() - 1),
            [] => "nothing".to_owned(),
        },
        Test::Null => "absent or null".to_owned(),
        Test::Exists(true) => "present".to_owned(),
        Test::Exists(false) => "absent".to_owned(),
        Test::Reference { field, relation, .. } => {
            let how = match relation {
                Relation::Equal => "equal to",
                Relation::Start => "beginning with",
                Relation::End => "ending with",
                Relation::Inside => "containing",
            };
            format!("{how} the value of {}", shown(field))
        }
    }
}

fn show_comparison(comparison: Comparison, number: Number) -> String {
    match number {
        Number::Whole(whole) => format!("{} {whole}", comparison.sign()),
        Number::Decimal(decimal) => format!("{} {decimal}", comparison.sign()),
    }
}

impl Step {
    fn of(asks: &str, holds: bool, parts: Vec<Self>) -> Self {
        Self { asks: asks.to_owned(), holds, values: Vec::new(), parts }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let verdict = if self.holds { "yes" } else { "no " };
        write!(f, "{verdict} {:indent$}{}", "", self.asks, indent = depth * 2)?;
        if !self.values.is_empty() {
            write!(f, "  <- {}", self.values.join(", "))?;
        }
        writeln!(f)?;
        self.parts.iter().try_for_each(|part| part.write(f, depth + 1))
    }
}

/// Writes one line a step, parts indented.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.applies { "yes" } else { "no " };
        writeln!(f, "{verdict} logsource {}", self.logsource)?;
        self.condition.write(f, 0)
    }
}
