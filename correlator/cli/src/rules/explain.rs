//! `canh rules explain`: lays a rule against one event and says step by step why it fits or not.
//!
//! Comes in: a rule by file or id, an event by file, stdin or text. Goes out: for each detection
//! rule asked about (a correlation's are its members) an [`Explained`]; `explain_page.rs`
//! writes it.

use std::io::Read;
use std::path::{Path, PathBuf};

use canh_event::{Origin, Source, Timestamp};
use canh_parse::Parser;
use canh_sigma::{CorrelationRule, Loaded, Member, Rule, RuleSet};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::rules::event::{Understood, batches, understand};
use crate::rules::explain_page;
use crate::rules::explained::{Answer, CorrelationFacts, EventFacts, Explained, Route, explain};
use crate::rules::load::{find, load, read_text};
use crate::rules::verbs::{EventFormat, ExplainArguments};

/// Longest file an event is looked for in, in bytes.
const MAX_EVENT_FILE_BYTES: u64 = 64 << 20;
const STDIN: &str = "-";
/// Deepest chain of correlations of correlations that is followed.
const MAX_CORRELATION_DEPTH: usize = 16;

/// Explains.
pub(crate) fn run(arguments: &ExplainArguments, stdin: &mut dyn Read, output: &Output) -> Result<Exit, Failure> {
    let loaded = load_rules(arguments)?;
    let event = read_event(arguments, stdin, output.view().clock.now())?;
    let route = if arguments.no_routing { Route::Ignored } else { Route::ByLogsource };
    let answer = answer(&arguments.rule, &loaded, &event, route)?;
    output.data(&explain_page::render(&answer, output.page_format(), output.view())?)?;
    Ok(Exit::Done)
}

fn load_rules(arguments: &ExplainArguments) -> Result<Loaded, Failure> {
    let mut paths = arguments.paths.clone();
    let file = Path::new(&arguments.rule);
    let is_file = file.is_file();
    if !is_file && paths.is_empty() {
        return Err(Failure::usage(format!("there is no rule file {}", file.display()))
            .hint("to name a rule by its id, say where rules are: -r DIR"));
    }
    if is_file && !paths.iter().any(|path| contains(path, file)) {
        paths.insert(0, file.to_owned());
    }
    load(&paths, arguments.values.placeholders.as_deref())
}

fn contains(path: &Path, file: &Path) -> bool {
    let resolved = |path: &Path| std::fs::canonicalize(path).ok();
    resolved(path).zip(resolved(file)).is_some_and(|(path, file)| file.starts_with(path))
}

/// Reads the one event, in a batch of its own.
fn read_event(arguments: &ExplainArguments, stdin: &mut dyn Read, now: Timestamp) -> Result<Understood, Failure> {
    let path = PathBuf::from(&arguments.event);
    let (text, name) = if arguments.event == STDIN {
        let refused = || Failure::usage("the event on stdin cannot be read");
        let mut text = String::new();
        let limited = &mut stdin.take(MAX_EVENT_FILE_BYTES + 1);
        limited.read_to_string(&mut text).map_err(|error| refused().because(&error))?;
        if text.len() as u64 > MAX_EVENT_FILE_BYTES {
            return Err(refused().why(format!("it has more than {MAX_EVENT_FILE_BYTES} bytes")));
        }
        (text, "stdin")
    } else if path.is_file() {
        (read_text(&path, MAX_EVENT_FILE_BYTES)?, arguments.event.as_str())
    } else if is_line(&arguments.event) {
        (arguments.event.clone(), "line")
    } else {
        return Err(Failure::usage(format!("there is no file {}", path.display()))
            .hint("give a file that holds the event, `-` for stdin, or the log line in quotes"));
    };
    let name = arguments.source.as_deref().unwrap_or(name);
    event_of(&text, arguments.format, arguments.line, name, now)
}

/// A name of a file that is not there is taken for a mistake, unless it looks like a line of a log.
fn is_line(text: &str) -> bool {
    text.trim_start().starts_with(['{', '<']) || text.contains(' ')
}

fn event_of(
    text: &str,
    format: EventFormat,
    line: Option<u32>,
    name: &str,
    now: Timestamp,
) -> Result<Understood, Failure> {
    let record = record_of(text, format, line)?;
    let refused = |error: &canh_event::IdError| Failure::usage("the source cannot have this name").because(error);
    let source = Source {
        name: name.parse().map_err(|error| refused(&error))?,
        host: Box::from(""),
        format: format.as_str().parse().map_err(|error| refused(&error))?,
        utc_offset_secs: 0,
    };
    let records = batches(&[record], &source, now)?;
    let Some(records) = records.first() else { return Err(Failure::usage("there is no event")) };
    let understood = understand(&mut Parser::new(), &Origin::unknown(), records)?;
    if understood.formats.iter().any(|format| matches!(*format, "unparsed" | "too_large")) {
        return Err(Failure::usage(format!("the event cannot be read as {}", format.as_str()))
            .why("no parser claims it")
            .hint("say how it is written: --format syslog, access, flow, json or raw"));
    }
    Ok(understood)
}

/// Returns the record within a text: the line asked for, or a JSON object over several lines, or
/// the only line.
fn record_of(text: &str, format: EventFormat, line: Option<u32>) -> Result<&str, Failure> {
    if let Some(number) = line {
        let place = usize::try_from(number).unwrap_or(usize::MAX) - 1;
        return text
            .lines()
            .nth(place)
            .filter(|line| !line.trim().is_empty())
            .ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no event in line {number}")));
    }
    let may_be_json = matches!(format, EventFormat::Auto | EventFormat::Json | EventFormat::Flow);
    if may_be_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return Ok(text.trim());
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    match (lines.next(), lines.count()) {
        (Some(line), 0) => Ok(line),
        (Some(_), more) => {
            Err(Failure::usage(format!("there are {} events", more + 1)).hint("say which line is meant: --line N"))
        }
        (None, _) => Err(Failure::usage("there is no event").why("the input is empty")),
    }
}

fn answer(wanted: &str, loaded: &Loaded, event: &Understood, route: Route) -> Result<Answer, Failure> {
    let Some(row) = event.events.row(0) else { return Err(Failure::usage("there is no event")) };
    let rules = &loaded.rules;
    let (asked, correlation) = asked(wanted, loaded)?;
    let explained: Vec<Explained> = asked.into_iter().map(|rule| explain(rule, row, route)).collect();
    Ok(Answer {
        // One event never raises a correlation that needs several.
        fires: correlation.is_none() && explained.iter().any(|rule| rule.fires),
        event: EventFacts::of(row, event.formats.first().copied().unwrap_or_default()),
        correlation: correlation.map(|correlation| CorrelationFacts::of(correlation, rules, row)),
        rules: explained,
    })
}

/// Finds what was asked about: all rules of a file, one rule, or a correlation's members.
fn asked<'a>(wanted: &str, loaded: &'a Loaded) -> Result<(Vec<&'a Rule>, Option<&'a CorrelationRule>), Failure> {
    let rules = &loaded.rules;
    let file = Path::new(wanted);
    if !file.is_file() {
        let member = find(wanted, rules)?;
        let mut members = Vec::new();
        collect(member, rules, MAX_CORRELATION_DEPTH, &mut members);
        let correlation = match member {
            Member::Correlation(index) => rules.correlation(index),
            Member::Detection(_) => None,
        };
        return Ok((members, correlation));
    }
    let is_meant = |path: &str| Path::new(path) == file || contains(file, Path::new(path));
    if let Some(refused) = loaded.refused.iter().find(|refused| is_meant(&refused.path)) {
        let failure = Failure::new(Exit::NotFound, format!("a rule of {wanted} is refused"));
        return Err(failure
            .why(format!("line {}, column {}: {}", refused.line, refused.column, refused.message))
            .hint(refused.hint.clone().unwrap_or_else(|| "see canh rules check".to_owned())));
    }
    let found: Vec<&Rule> = rules.rules().iter().filter(|rule| is_meant(&rule.path)).collect();
    if found.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("there is no detection rule in {wanted}"))
            .hint("a correlation's members are explained: give its id, and -r DIR"));
    }
    Ok((found, None))
}

fn collect<'a>(member: Member, rules: &'a RuleSet, depth: usize, found: &mut Vec<&'a Rule>) {
    match member {
        Member::Detection(index) => found.extend(rules.rule(index)),
        Member::Correlation(index) if depth > 0 => {
            let members = rules.correlation(index).map(|correlation| correlation.members.as_slice());
            members.unwrap_or_default().iter().for_each(|member| collect(*member, rules, depth - 1, found));
        }
        Member::Correlation(_) => {}
    }
}

#[cfg(test)]
mod tests;
