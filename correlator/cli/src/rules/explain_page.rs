//! Writes what `canh rules explain` found: a page for people, JSON, or a row a rule.
//!
//! Rules and events are strangers' text: every word of theirs is escaped for where it goes.

use canh_incident::{escape_for_csv, escape_for_terminal};

use crate::arguments::Format;
use crate::exit::Failure;
use crate::json;
use crate::output::View;
use crate::rules::explained::{Answer, CorrelationFacts, EventFacts, Explained, Line, LogsourcePart};
use crate::style::Paint;
use crate::table::fit;

/// Widest value shown on a page; JSON has it whole.
const MAX_VALUE_WIDTH: usize = 240;
/// Most values of one field shown on a page.
const MAX_VALUES: usize = 8;

/// Writes the answer.
pub(crate) fn render(answer: &Answer, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Table => page(answer, view, &mut out),
        Format::Json => json::document(answer, &mut out)?,
        Format::Ndjson => answer.rules.iter().try_for_each(|rule| json::line(rule, &mut out))?,
        Format::Tsv => answer.rules.iter().for_each(|rule| out.push_str(&(cells(rule, clean).join("\t") + "\n"))),
        Format::Csv => {
            out.push_str("id,fires,logsource,detection,path,title\n");
            answer.rules.iter().for_each(|rule| out.push_str(&(cells(rule, escape_for_csv).join(",") + "\n")));
        }
        Format::Ids => {
            let firing = answer.rules.iter().filter(|rule| rule.fires);
            firing.for_each(|rule| out.push_str(&(clean(&rule.id) + "\n")));
        }
    }
    Ok(out)
}

fn cells(rule: &Explained, escape: impl Fn(&str) -> String) -> [String; 6] {
    let applies = rule.applies.map_or("ignored", word);
    [
        escape(&rule.id),
        word(rule.fires).to_owned(),
        applies.to_owned(),
        word(rule.matches).to_owned(),
        format!("{}:{}", escape(&rule.path), rule.line),
        escape(&rule.title),
    ]
}

fn page(answer: &Answer, view: &View, out: &mut String) {
    event(&answer.event, out);
    if let Some(facts) = &answer.correlation {
        correlation(facts, view, out);
    }
    for explained in &answer.rules {
        rule(explained, view, out);
    }
}

fn event(event: &EventFacts, out: &mut String) {
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { clean(&names.join(", ")) };
    let product = event.product.as_deref().map_or("unknown".to_owned(), clean);
    out.push_str(&format!("event   read as {}, {}\n", event.format, clean(&event.time)));
    out.push_str(&format!(
        "        product {product}; services {}; categories {}\n        fields {}\n",
        names(&event.services),
        names(&event.categories),
        names(&event.fields)
    ));
}

fn correlation(facts: &CorrelationFacts, view: &View, out: &mut String) {
    let title = format!("\ncorrelation {} ({})\n", clean(&facts.title), clean(&facts.id));
    view.style.paint(Paint::Strong, &title, out);
    out.push_str(&format!("        {} {} within {} s", facts.kind, facts.threshold, facts.timespan_secs));
    out.push_str("; no single event raises it. This one would be counted if a rule below fires");
    for (field, values) in &facts.group_by {
        let values: Vec<String> = values.iter().map(|value| value_text(Some(value))).collect();
        let values = if values.is_empty() { "absent: it is not counted".to_owned() } else { values.join(", ") };
        out.push_str(&format!("\n        grouped by {} <- {values}", clean(field)));
    }
    out.push('\n');
}

fn rule(rule: &Explained, view: &View, out: &mut String) {
    let title = format!("\nrule    {} ({})\n", clean(&rule.title), clean(&rule.id));
    view.style.paint(Paint::Strong, &title, out);
    out.push_str(&format!("        {}:{}\n", clean(&rule.path), rule.line));
    logsource(rule, view, out);
    line(&rule.condition, 0, view, out);
    for absent in &rule.absent {
        out.push_str(&format!("        the event has no field {}", clean(&absent.field)));
        if let Some(instead) = &absent.instead {
            out.push_str(&format!(", but {}: capitals count in names of fields", clean(instead)));
        }
        out.push('\n');
    }
    let verdict = match (rule.fires, rule.applies) {
        (true, _) => "=> fires\n",
        (false, Some(false)) if rule.matches => "=> does not fire: the event is not of the rule's logsource\n",
        (false, Some(false)) => "=> does not fire: neither logsource nor detection fits\n",
        (false, _) => "=> does not fire: the detection does not fit\n",
    };
    view.style.paint(if rule.fires { Paint::Alarm } else { Paint::Strong }, verdict, out);
}

fn logsource(rule: &Explained, view: &View, out: &mut String) {
    match rule.applies {
        Some(applies) => mark(applies, view, out),
        None => out.push_str("--  "),
    }
    out.push_str("logsource");
    out.push_str(if rule.applies.is_none() { ", left out of account\n" } else { "\n" });
    for LogsourcePart { part, wanted, found, holds } in &rule.logsource {
        mark(*holds, view, out);
        let found = if found.is_empty() { "unknown".to_owned() } else { clean(&found.join(", ")) };
        out.push_str(&format!("  {part} is {}  <- {found}\n", clean(wanted)));
    }
}

fn line(step: &Line, depth: usize, view: &View, out: &mut String) {
    mark(step.holds, view, out);
    out.push_str(&format!("{:indent$}{}", "", clean(&step.asks), indent = depth * 2));
    for (index, (field, values)) in step.fields.iter().enumerate() {
        out.push_str("  <- ");
        // The item's own field stands in what is asked; one it is compared with is named.
        if index > 0 {
            out.push_str(&format!("{} ", clean(field)));
        }
        if values.is_empty() {
            out.push_str("absent");
        }
        let shown: Vec<String> = values.iter().take(MAX_VALUES).map(|value| value_text(value.as_deref())).collect();
        out.push_str(&shown.join(", "));
        if values.len() > MAX_VALUES {
            out.push_str(&format!(" and {} more", values.len() - MAX_VALUES));
        }
    }
    out.push('\n');
    step.parts.iter().for_each(|part| line(part, depth + 1, view, out));
}

fn mark(holds: bool, view: &View, out: &mut String) {
    let paint = if holds { Paint::Strong } else { Paint::Faint };
    view.style.paint(paint, if holds { "yes " } else { "no  " }, out);
}

fn value_text(value: Option<&str>) -> String {
    value.map_or("null".to_owned(), |value| format!("\"{}\"", fit(&clean(value), MAX_VALUE_WIDTH)))
}

fn word(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}
