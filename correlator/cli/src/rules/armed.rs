//! `canh rules armed`: which rules no declared source can feed, and what is missing; and which
//! correlations the correlator of this release cannot run.

use canh_correlate::{Correlator, Limits};
use canh_incident::{escape_for_csv, escape_for_terminal};
use canh_sigma::Loaded;
use serde::Serialize;

use crate::arguments::Format;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::rules::feeding::{Missing, Readiness, of_correlation, of_rule};
use crate::rules::load::{load, read_text};
use crate::rules::raising::{Raiser, raising};
use crate::rules::sources::{self, Feed};
use crate::rules::verbs::ArmedArguments;
use crate::style::Paint;
use crate::table::{Cell, Table};

/// Longest table of sources, in bytes.
const MAX_SOURCES_BYTES: u64 = 1 << 20;

/// Whether partly fed rules are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Unfed,
    PartialToo,
}

/// A rule that lacks something, as `-o ndjson` writes it.
#[derive(Debug, Serialize)]
struct Lack {
    /// `unfed` or `partial`.
    state: &'static str,
    id: String,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    logsource: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
    /// The source that comes nearest.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    /// Why the correlator cannot run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The last line of `-o json` and `-o ndjson`.
#[derive(Debug, Default, Serialize)]
struct Counts {
    armed: usize,
    partial: usize,
    unfed: usize,
    refused: usize,
}

/// Lists rules that lack something; ends with 3 if one cannot be fed.
pub(crate) fn run(arguments: &ArmedArguments, output: &Output) -> Result<Exit, Failure> {
    let feeds = match &arguments.sources {
        Some(path) => sources::parse(&read_text(path, MAX_SOURCES_BYTES)?, &path.to_string_lossy())?,
        None => sources::shipped()?,
    };
    let loaded = load(&arguments.rules.paths, arguments.rules.values.placeholders.as_deref())?;
    let listed = if arguments.partial { Listed::PartialToo } else { Listed::Unfed };
    let (lacks, counts) = judge(&loaded, &feeds, listed);
    let (text, remark) = render(&lacks, &counts, output.page_format(), output.view())?;
    output.data(&text)?;
    if !remark.is_empty() {
        output.talk(&remark);
    }
    Ok(if counts.unfed == 0 { Exit::Done } else { Exit::NotFound })
}

fn judge(loaded: &Loaded, feeds: &[Feed], listed: Listed) -> (Vec<Lack>, Counts) {
    let mut counts = Counts { refused: loaded.refused.len(), ..Counts::default() };
    let mut lacks = Vec::new();
    let correlator = Correlator::new(&loaded.rules, Limits::default());
    let reason = |id: &str| correlator.unarmed().iter().find(|rule| rule.id == id).map(|rule| rule.reason.clone());
    for raiser in raising(&loaded.rules) {
        let readiness = match raiser {
            Raiser::Detection(rule) => of_rule(rule, feeds),
            Raiser::Correlation(rule) => match reason(&rule.id) {
                Some(reason) => Readiness::Unfed(Missing::Support(reason)),
                None => of_correlation(rule, &loaded.rules, feeds),
            },
        };
        match readiness {
            Readiness::Armed => counts.armed += 1,
            Readiness::Partial(missing) => {
                counts.partial += 1;
                if listed == Listed::PartialToo {
                    lacks.push(Lack::of(raiser, "partial", missing));
                }
            }
            Readiness::Unfed(missing) => {
                counts.unfed += 1;
                lacks.push(Lack::of(raiser, "unfed", missing));
            }
        }
    }
    (lacks, counts)
}

/// Returns the answer, and what to say beside it.
fn render(lacks: &[Lack], counts: &Counts, format: Format, view: &View) -> Result<(String, String), Failure> {
    let Counts { armed, partial, unfed, refused } = counts;
    let mut summary = format!("{armed} rules armed, {partial} in part, {unfed} that nothing feeds");
    if *refused > 0 {
        summary.push_str(&format!("; {refused} refused, see `canh rules check`"));
    }
    let mut out = String::new();
    match format {
        Format::Json | Format::Ndjson => {
            lacks.iter().try_for_each(|lack| json::line(lack, &mut out))?;
            json::line(counts, &mut out)?;
            return Ok((out, String::new()));
        }
        Format::Table => {
            let mut table = Table::new(&["STATE", "MISSING", "ID", "TITLE"]);
            for lack in lacks {
                let paint = if lack.state == "unfed" { Paint::Warning } else { Paint::Plain };
                let state = Cell::painted(lack.state, paint);
                table.push(vec![
                    state,
                    clean(&lack.missing()).into(),
                    clean(&lack.id).into(),
                    clean(&lack.title).into(),
                ]);
            }
            if !lacks.is_empty() {
                table.render(view.style, view.width, &mut out);
            }
            out.push_str(&format!("{summary}\n"));
            return Ok((out, String::new()));
        }
        Format::Tsv => lacks.iter().for_each(|lack| out.push_str(&(lack.cells(clean).join("\t") + "\n"))),
        Format::Csv => {
            out.push_str("state,missing,id,title\n");
            lacks.iter().for_each(|lack| out.push_str(&(lack.cells(escape_for_csv).join(",") + "\n")));
        }
        Format::Ids => lacks.iter().for_each(|lack| out.push_str(&(clean(&lack.id) + "\n"))),
    }
    Ok((out, summary))
}

impl Lack {
    fn of(raiser: Raiser<'_>, state: &'static str, missing: Missing) -> Self {
        let (id, title) = (raiser.id().to_owned(), raiser.title().to_owned());
        let nothing = Self {
            state,
            id,
            title,
            logsource: None,
            fields: Vec::new(),
            source: None,
            rules: Vec::new(),
            reason: None,
        };
        match missing {
            Missing::Logsource(logsource) => Self { logsource: Some(logsource), ..nothing },
            Missing::Fields { source, fields } => Self { fields, source: Some(source), ..nothing },
            Missing::Members(rules) => Self { rules, ..nothing },
            Missing::Support(reason) => Self { reason: Some(reason), ..nothing },
        }
    }

    fn missing(&self) -> String {
        if let Some(words) = self.reason.as_ref().or(self.logsource.as_ref()) {
            return words.clone();
        }
        if self.fields.is_empty() {
            return format!("rules {}", self.rules.join(", "));
        }
        let from = self.source.as_ref().map(|source| format!(" (of {source})")).unwrap_or_default();
        format!("fields {}{from}", self.fields.join(", "))
    }

    fn cells(&self, escape: impl Fn(&str) -> String) -> [String; 4] {
        [self.state.to_owned(), escape(&self.missing()), escape(&self.id), escape(&self.title)]
    }
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}

#[cfg(test)]
mod tests {
    use canh_sigma::{RuleFile, RuleSet};

    use super::*;

    const RULES: &str = "\
title: Fed\nlogsource: {product: linux, service: sshd}\ndetection: {s: {EventAction: login}, condition: s}\n---\n\
title: \"=hostile\\x1b[2J\\u202e\"\nlogsource: {product: linux, service: sshd}\n\
detection: {s: {EventAction: login}, f: {\"No\\x1bSuch\": x}, condition: s and not f}\n---\n\
title: Unfed\nid: 'id,\t1'\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {a: 1}, condition: s}\n";

    fn rendered(format: Format) -> (String, String) {
        let loaded = RuleSet::load([RuleFile { path: "r.yml".to_owned(), text: RULES.to_owned() }]);
        assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
        let (lacks, counts) = judge(&loaded, &sources::shipped().unwrap(), Listed::PartialToo);
        render(&lacks, &counts, format, &View::plain_utc()).unwrap()
    }

    #[test]
    fn page_says_what_is_missing() {
        let (page, _) = rendered(Format::Table);
        assert_eq!(
            page,
            "STATE    MISSING                      ID          TITLE\n\
             partial  fields No\\x1bSuch (of sshd)  hostile-2j  =hostile\\x1b[2J\\u{202e}\n\
             unfed    product aws                  id,\\x091    Unfed\n\
             1 rules armed, 1 in part, 1 that nothing feeds\n"
        );
    }

    #[test]
    fn every_format_is_free_of_hostile_text_and_json_ends_with_counts() {
        for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json, Format::Ndjson, Format::Ids] {
            let (text, remark) = rendered(format);
            assert!(!text.contains(['\x1b', '\u{202e}']), "{format:?}: {text:?}");
            assert!(!text.contains(",=hostile"), "{format:?}: {text:?}");
            assert!(remark.is_empty() || remark.starts_with("1 rules armed"), "{remark}");
        }
        let (json, _) = rendered(Format::Json);
        assert_eq!(json.lines().last(), Some("{\"armed\":1,\"partial\":1,\"unfed\":1,\"refused\":0}"));
    }
}
