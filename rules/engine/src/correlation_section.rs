//! The `correlation` section as written, checked but not yet linked to its members.

use std::time::Duration;

use crate::aggregation::timespan;
use crate::comparison::Comparison;
use crate::condition;
use crate::correlation::{CorrelationKind, MemberCondition, Threshold};
use crate::detection::Condition;
use crate::diagnostic::{Fault, Mark, nearest, shown};
use crate::metadata::{Metadata, texts};
use crate::number::Number;
use crate::yaml::{Map, Node, Scalar};

/// A correlation whose members are still references.
#[derive(Clone, Debug)]
pub(crate) struct CorrelationDraft {
    pub(crate) metadata: Metadata,
    pub(crate) kind: CorrelationKind,
    pub(crate) members: Vec<Scalar>,
    pub(crate) group_by: Vec<String>,
    pub(crate) timespan: Duration,
    pub(crate) threshold: Option<Threshold>,
    pub(crate) condition: Option<MemberCondition>,
    pub(crate) field: Vec<String>,
    pub(crate) percentile: Option<f64>,
    pub(crate) aliases: Vec<AliasDraft>,
    pub(crate) generate: bool,
    pub(crate) mark: Mark,
    /// Whether its id may be another document's too.
    pub(crate) shares_id: bool,
}

/// A field that goes by another name in each member, the members still references.
#[derive(Clone, Debug)]
pub(crate) struct AliasDraft {
    pub(crate) name: String,
    pub(crate) fields: Vec<(Scalar, String)>,
}

impl CorrelationDraft {
    /// Returns every id or name it refers to, in members and aliases.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        let of_aliases = self.aliases.iter().flat_map(|alias| alias.fields.iter().map(|(member, _)| member));
        self.members.iter().chain(of_aliases).map(|member| member.text.as_str())
    }
}

const KEYS: [&str; 9] =
    ["aliases", "condition", "field", "generate", "group-by", "rules", "timeframe", "timespan", "type"];

/// Reads a correlation document.
pub(crate) fn read(document: &Map, metadata: Metadata, mark: Mark) -> Result<CorrelationDraft, Fault> {
    let section = match document.get("correlation") {
        Some(node) => node.as_map("correlation")?,
        None => return Err(Fault::new(mark, "there is no correlation")),
    };
    refuse_unknown_keys(section)?;
    let kind = kind(section)?;
    let members: Vec<Scalar> = match section.get("rules") {
        Some(node) => node.as_scalars("rules")?.into_iter().cloned().collect(),
        None => Vec::new(),
    };
    if members.is_empty() {
        return Err(Fault::new(section.mark, "the correlation names no rules").hint("add rules with their id or name"));
    }
    let Some(written) = section.get("timespan").or_else(|| section.get("timeframe")) else {
        return Err(Fault::new(section.mark, "the correlation has no timespan").hint("add timespan: 5m"));
    };
    let timespan = timespan(written.as_scalar("timespan")?)?;
    let criterion = criterion(section, kind, &members)?;
    Ok(CorrelationDraft {
        metadata,
        kind,
        group_by: texts(section, "group-by")?,
        timespan,
        threshold: criterion.threshold,
        condition: criterion.condition,
        field: criterion.field,
        percentile: criterion.percentile,
        aliases: aliases(section)?,
        generate: generate(document, section)?,
        members,
        mark,
        shares_id: false,
    })
}

fn refuse_unknown_keys(section: &Map) -> Result<(), Fault> {
    for (key, _) in &section.entries {
        if !KEYS.contains(&key.text.as_str()) {
            let fault = Fault::new(key.mark, format!("unknown key {} of a correlation", shown(&key.text)));
            return Err(match nearest(&key.text, &KEYS) {
                Some(meant) => fault.hint(format!("did you mean {meant}?")),
                None => fault.hint(format!("one of {}", KEYS.join(", "))),
            });
        }
    }
    Ok(())
}

fn kind(section: &Map) -> Result<CorrelationKind, Fault> {
    let known = CorrelationKind::ALL.map(CorrelationKind::as_str);
    let Some(node) = section.get("type") else {
        return Err(
            Fault::new(section.mark, "the correlation has no type").hint(format!("one of {}", known.join(", ")))
        );
    };
    let word = node.as_scalar("type")?;
    CorrelationKind::from_word(&word.text).ok_or_else(|| {
        let fault = Fault::new(word.mark, format!("unknown type {} of a correlation", shown(&word.text)));
        match nearest(&word.text, &known) {
            Some(meant) => fault.hint(format!("did you mean {meant}?")),
            None => fault.hint(format!("one of {}", known.join(", "))),
        }
    })
}

#[derive(Default)]
struct Criterion {
    threshold: Option<Threshold>,
    condition: Option<MemberCondition>,
    field: Vec<String>,
    percentile: Option<f64>,
}

fn criterion(section: &Map, kind: CorrelationKind, members: &[Scalar]) -> Result<Criterion, Fault> {
    let mut criterion = Criterion { field: texts(section, "field")?, ..Criterion::default() };
    match section.get("condition") {
        None => {}
        Some(Node::Map(map)) => criterion_map(map, &mut criterion)?,
        Some(node) if kind.is_temporal() => {
            let written = node.as_scalar("condition")?;
            let names: Vec<&str> = members.iter().map(|member| member.text.as_str()).collect();
            criterion.condition = Some(member_condition(&condition::parse(written, &written.text, &names)?));
        }
        Some(node) => {
            let message = format!("the condition of {kind} must be a map, found {}", node.kind());
            return Err(Fault::new(node.mark(), message).hint("write condition: then gte: 10 below it"));
        }
    }
    if !kind.is_temporal() && criterion.threshold.is_none() {
        let fault = Fault::new(section.mark_of("condition"), format!("{kind} needs a condition with a number"));
        return Err(fault.hint("add condition: then gte: 10 below it"));
    }
    if kind.needs_field() && criterion.field.is_empty() {
        let fault = Fault::new(section.mark_of("condition"), format!("{kind} needs a field"));
        return Err(fault.hint("add field: to its condition"));
    }
    if kind == CorrelationKind::ValuePercentile && criterion.percentile.is_none() {
        let fault = Fault::new(section.mark_of("condition"), format!("{kind} needs a percentile"));
        return Err(fault.hint("add percentile: 95 to its condition"));
    }
    Ok(criterion)
}

fn criterion_map(map: &Map, criterion: &mut Criterion) -> Result<(), Fault> {
    for (key, node) in &map.entries {
        if key.text == "field" {
            criterion.field = texts(map, "field")?;
            continue;
        }
        let value = node.as_scalar("a number of the condition")?;
        let Some(number) = Number::parse(&value.text) else {
            return Err(Fault::new(value.mark, format!("{} is no number", shown(&value.text))));
        };
        let number = number.as_f64();
        if key.text == "percentile" {
            if !(0.0..=100.0).contains(&number) {
                return Err(Fault::new(value.mark, "a percentile is between 0 and 100"));
            }
            criterion.percentile = Some(number);
            continue;
        }
        let Some(comparison) = Comparison::from_word(&key.text) else {
            let fault = Fault::new(key.mark, format!("unknown key {} of a condition", shown(&key.text)));
            return Err(fault.hint("gt, gte, lt, lte, eq, neq, field or percentile"));
        };
        criterion.threshold = Some(match criterion.threshold {
            None => Threshold::new(comparison, number),
            Some(first) if first.and.is_none() => Threshold { and: Some((comparison, number)), ..first },
            Some(_) => return Err(Fault::new(key.mark, "the condition has more than two comparisons")),
        });
    }
    Ok(())
}

/// Turns a condition over searches into one over members: places are the same.
pub(crate) fn member_condition(condition: &Condition) -> MemberCondition {
    match condition {
        Condition::All(parts) => MemberCondition::All(parts.iter().map(member_condition).collect()),
        Condition::Any(parts) => MemberCondition::Any(parts.iter().map(member_condition).collect()),
        Condition::Not(part) => MemberCondition::Not(Box::new(member_condition(part))),
        Condition::Search(place) => MemberCondition::Member(*place),
    }
}

fn aliases(section: &Map) -> Result<Vec<AliasDraft>, Fault> {
    let Some(node) = section.get("aliases") else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (name, node) in &node.as_map("aliases")?.entries {
        let mut fields = Vec::new();
        for (member, field) in &node.as_map("an alias")?.entries {
            fields.push((member.clone(), field.as_scalar("the field of an alias")?.text.clone()));
        }
        all.push(AliasDraft { name: name.text.clone(), fields });
    }
    Ok(all)
}

/// The specification has `generate` beside `correlation`, pySigma within it.
fn generate(document: &Map, section: &Map) -> Result<bool, Fault> {
    let Some(node) = section.get("generate").or_else(|| document.get("generate")) else { return Ok(false) };
    let scalar = node.as_scalar("generate")?;
    scalar.as_bool().ok_or_else(|| Fault::new(scalar.mark, "generate takes true or false"))
}
