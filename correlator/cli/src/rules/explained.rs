//! What there is to say of a rule and an event: routing first, then each step of the condition with
//! the values it was asked of.
//!
//! The steps are the reference evaluator's (`canh_sigma::reference::explain`); the whole values are
//! laid beside them here.

use canh_event::Row;
use canh_sigma::reference::{self, Step};
use canh_sigma::{Clause, Condition, CorrelationRule, Detection, Item, Member, Rule, RuleSet, Test};
use serde::Serialize;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// What was asked about is raised by this one event.
    pub(crate) fires: bool,
    pub(crate) event: EventFacts,
    /// The correlation that was asked about, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation: Option<CorrelationFacts>,
    pub(crate) rules: Vec<Explained>,
}

/// What the event is taken for.
#[derive(Debug, Serialize)]
pub(crate) struct EventFacts {
    /// The parser that claimed it.
    pub(crate) format: &'static str,
    pub(crate) time: String,
    pub(crate) product: Option<String>,
    pub(crate) services: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) fields: Vec<String>,
}

/// A correlation and what the event would give it to group by.
#[derive(Debug, Serialize)]
pub(crate) struct CorrelationFacts {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) kind: String,
    pub(crate) threshold: String,
    pub(crate) timespan_secs: u64,
    /// Each field it groups by, with the event's values under the field's own name.
    pub(crate) group_by: Vec<(String, Vec<String>)>,
}

/// One rule against the event.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) path: String,
    pub(crate) line: u32,
    /// Logsource and detection both hold.
    pub(crate) fires: bool,
    /// The logsource applies; `None` if it was left out of account.
    pub(crate) applies: Option<bool>,
    pub(crate) logsource: Vec<LogsourcePart>,
    /// The detection holds.
    pub(crate) matches: bool,
    pub(crate) condition: Line,
    /// Fields the rule asks for that the event has not.
    pub(crate) absent: Vec<AbsentField>,
}

/// One part of a rule's logsource against the event's.
#[derive(Debug, Serialize)]
pub(crate) struct LogsourcePart {
    pub(crate) part: &'static str,
    pub(crate) wanted: String,
    pub(crate) found: Vec<String>,
    pub(crate) holds: bool,
}

/// One step, and the values it was asked of.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) asks: String,
    pub(crate) holds: bool,
    /// The field and its values in the event, for a step about a field; a value that is nothing is `None`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<(String, Vec<Option<String>>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Line>,
}

/// A field that is not there.
#[derive(Debug, Serialize)]
pub(crate) struct AbsentField {
    pub(crate) field: String,
    /// A field of the event that differs in capitals only.
    pub(crate) instead: Option<String>,
}

/// Whether the logsource counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Yes.
    ByLogsource,
    /// No.
    Ignored,
}

/// Lays a rule against an event.
pub(crate) fn explain(rule: &Rule, row: Row<'_>, route: Route) -> Explained {
    let explanation = reference::explain(rule, row);
    let applies = match route {
        Route::ByLogsource => Some(explanation.applies),
        Route::Ignored => None,
    };
    let present: Vec<&str> = row.fields().map(|(name, _)| name).collect();
    let absent = rule.detection.field_names().into_iter().filter(|name| !present.contains(name));
    Explained {
        id: rule.id.clone(),
        title: rule.title.clone(),
        path: rule.path.clone(),
        line: rule.line,
        fires: explanation.matches && applies.unwrap_or(true),
        applies,
        logsource: logsource_parts(rule, row),
        matches: explanation.matches,
        condition: condition_line(&explanation.condition, &rule.detection.condition, &rule.detection, row),
        absent: absent
            .map(|name| AbsentField {
                field: name.to_owned(),
                instead: present.iter().find(|other| other.eq_ignore_ascii_case(name)).map(|other| (*other).to_owned()),
            })
            .collect(),
    }
}

fn logsource_parts(rule: &Rule, row: Row<'_>) -> Vec<LogsourcePart> {
    let event = row.logsource();
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let found = [
        ("product", rule.logsource.product.as_ref(), owned(event.product().into_iter().collect())),
        ("service", rule.logsource.service.as_ref(), owned(event.services().collect())),
        ("category", rule.logsource.category.as_ref(), owned(event.categories().collect())),
    ];
    let asked = found.into_iter().filter_map(|(part, wanted, found)| {
        let wanted = wanted?.clone();
        Some(LogsourcePart { part, holds: found.contains(&wanted), wanted, found })
    });
    asked.collect()
}

/// Lays the values beside a step; steps have the shape of the condition they were made from.
fn condition_line(step: &Step, condition: &Condition, detection: &Detection, row: Row<'_>) -> Line {
    let parts = match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            let pairs = step.parts.iter().zip(parts);
            pairs.map(|(step, part)| condition_line(step, part, detection, row)).collect()
        }
        Condition::Not(part) => step.parts.iter().map(|step| condition_line(step, part, detection, row)).collect(),
        Condition::Search(place) => {
            let clause = detection.searches.get(*place).map(|search| &search.clause);
            step.parts.iter().zip(clause).map(|(step, clause)| clause_line(step, clause, row)).collect()
        }
    };
    Line { asks: step.asks.clone(), holds: step.holds, fields: Vec::new(), parts }
}

fn clause_line(step: &Step, clause: &Clause, row: Row<'_>) -> Line {
    match clause {
        Clause::All(parts) | Clause::Any(parts) => {
            let parts = step.parts.iter().zip(parts).map(|(step, part)| clause_line(step, part, row)).collect();
            Line { asks: step.asks.clone(), holds: step.holds, fields: Vec::new(), parts }
        }
        Clause::Item(item) => {
            let parts = step.parts.iter().map(test_line).collect();
            Line { asks: step.asks.clone(), holds: step.holds, fields: item_values(item, row), parts }
        }
    }
}

fn test_line(step: &Step) -> Line {
    let parts = step.parts.iter().map(test_line).collect();
    Line { asks: step.asks.clone(), holds: step.holds, fields: Vec::new(), parts }
}

/// Returns the item's field and the fields it refers to, each with what the event has.
fn item_values(item: &Item, row: Row<'_>) -> Vec<(String, Vec<Option<String>>)> {
    let referred = item.tests.iter().filter_map(|test| match test {
        Test::Reference { field, .. } => Some(field.as_str()),
        _ => None,
    });
    let values = |field: &str| {
        row.values(field).map(|value| if value.is_null() { None } else { Some(value.text.to_owned()) }).collect()
    };
    item.field().into_iter().chain(referred).map(|field| (field.to_owned(), values(field))).collect()
}

impl EventFacts {
    /// Returns what an event was taken for.
    pub(crate) fn of(row: Row<'_>, format: &'static str) -> Self {
        let logsource = row.logsource();
        let mut fields: Vec<String> = row.fields().map(|(name, _)| name.to_owned()).collect();
        fields.dedup();
        Self {
            format,
            time: row.time().to_string(),
            product: logsource.product().map(str::to_owned),
            services: logsource.services().map(str::to_owned).collect(),
            categories: logsource.categories().map(str::to_owned).collect(),
            fields,
        }
    }
}

impl CorrelationFacts {
    /// Returns what a correlation makes of an event.
    pub(crate) fn of(rule: &CorrelationRule, rules: &RuleSet, row: Row<'_>) -> Self {
        // An alias has another name in each member: the one whose rule fits the event counts.
        let own_name = |name: &str| {
            let alias = rule.aliases.iter().find(|alias| alias.name == name);
            let fits = |member: Member| match member {
                Member::Detection(index) => rules.rule(index).is_some_and(|rule| reference::matches(rule, row)),
                Member::Correlation(_) => false,
            };
            let field = alias.and_then(|alias| alias.fields.iter().find(|(member, _)| fits(*member)));
            field.map_or_else(|| name.to_owned(), |(_, field)| field.clone())
        };
        let values = |name: &String| {
            let field = own_name(name);
            let values = row.values(&field).filter(|value| !value.is_null()).map(|value| value.text.to_owned());
            (name.clone(), values.collect())
        };
        Self {
            id: rule.id.clone(),
            title: rule.title.clone(),
            kind: rule.kind.to_string(),
            threshold: rule.threshold.map(|threshold| threshold.to_string()).unwrap_or_default(),
            timespan_secs: rule.timespan.as_secs(),
            group_by: rule.group_by.iter().map(values).collect(),
        }
    }
}
