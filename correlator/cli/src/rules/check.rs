//! `canh rules check`: loads rules as the correlator would and says which it refuses and why.

use std::time::{Duration, Instant};

use canh_correlate::{Correlator, Limits, UnarmedRule};
use canh_incident::{escape_for_csv, escape_for_terminal};
use canh_sigma::{Diagnostic, Loaded};
use serde::Serialize;

use crate::arguments::Format;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::rules::load::load;
use crate::rules::verbs::RuleFolders;
use crate::style::Paint;

/// One remark, as `-o json` writes it.
#[derive(Debug, Serialize)]
struct Remark<'a> {
    kind: &'static str,
    path: &'a str,
    line: u32,
    column: u32,
    message: &'a str,
    hint: Option<&'a str>,
}

/// The last line of `-o json`.
#[derive(Debug, Serialize)]
struct Counts {
    loaded: usize,
    refused: usize,
    seconds: f64,
}

/// Checks rules; ends with 3 if one was refused.
pub(crate) fn run(folders: &RuleFolders, output: &Output) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let mut loaded = load(&folders.paths, folders.values.placeholders.as_deref())?;
    loaded.warnings.extend(unarmed(&loaded));
    let (text, remark) = render(&loaded, begun.elapsed(), output.page_format(), output.view())?;
    output.data(&text)?;
    if !remark.is_empty() {
        output.talk(&remark);
    }
    Ok(if loaded.refused.is_empty() { Exit::Done } else { Exit::NotFound })
}

/// Returns what is right as Sigma, but past what the correlator of this release can run.
fn unarmed(loaded: &Loaded) -> Vec<Diagnostic> {
    let correlator = Correlator::new(&loaded.rules, Limits::default());
    let remark = |rule: &UnarmedRule| Diagnostic {
        path: rule.path.clone(),
        line: rule.line,
        column: 1,
        message: format!("the correlator will not run it: {}", rule.reason),
        hint: None,
    };
    correlator.unarmed().iter().map(remark).collect()
}

/// Returns the answer, and what to say beside it.
fn render(loaded: &Loaded, took: Duration, format: Format, view: &View) -> Result<(String, String), Failure> {
    let counts = Counts {
        loaded: loaded.rules.rules().len() + loaded.rules.correlations().len(),
        refused: loaded.refused.len(),
        seconds: took.as_secs_f64(),
    };
    let summary = format!("{} rules loaded, {} refused, {:.2} s", counts.loaded, counts.refused, counts.seconds);
    let mut out = String::new();
    match format {
        Format::Json | Format::Ndjson => {
            each(loaded, |diagnostic, kind| json::line(&Remark::of(diagnostic, kind), &mut out))?;
            json::line(&counts, &mut out)?;
            return Ok((out, String::new()));
        }
        Format::Table => {
            each(loaded, |diagnostic, kind| {
                text(diagnostic, kind, view, &mut out);
                Ok(())
            })?;
            out.push_str(&format!("{summary}\n"));
            return Ok((out, String::new()));
        }
        Format::Tsv => each(loaded, |diagnostic, kind| {
            let escape = |text: &str| escape_for_terminal(text).into_owned();
            out.push_str(&(cells(diagnostic, kind, escape).join("\t") + "\n"));
            Ok(())
        })?,
        Format::Csv => {
            out.push_str("kind,path,line,column,message,hint\n");
            each(loaded, |diagnostic, kind| {
                out.push_str(&(cells(diagnostic, kind, escape_for_csv).join(",") + "\n"));
                Ok(())
            })?;
        }
        Format::Ids => {
            return Err(Failure::usage("a refused rule has no id").hint("use -o table, tsv, csv, json or ndjson"));
        }
    }
    Ok((out, summary))
}

fn each(
    loaded: &Loaded,
    mut write: impl FnMut(&Diagnostic, &'static str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loaded.refused.iter().try_for_each(|diagnostic| write(diagnostic, "refused"))?;
    loaded.warnings.iter().try_for_each(|diagnostic| write(diagnostic, "warning"))
}

fn text(diagnostic: &Diagnostic, kind: &'static str, view: &View, out: &mut String) {
    let place = format!("{}:{}:{}", escape_for_terminal(&diagnostic.path), diagnostic.line, diagnostic.column);
    let paint = if kind == "refused" { Paint::Alarm } else { Paint::Warning };
    view.style.paint(Paint::Strong, &place, out);
    out.push_str(": ");
    view.style.paint(paint, kind, out);
    out.push_str(&format!(": {}\n", escape_for_terminal(&diagnostic.message)));
    if let Some(hint) = &diagnostic.hint {
        out.push_str(&format!("    hint: {}\n", escape_for_terminal(hint)));
    }
}

fn cells(diagnostic: &Diagnostic, kind: &'static str, escape: impl Fn(&str) -> String) -> [String; 6] {
    [
        kind.to_owned(),
        escape(&diagnostic.path),
        diagnostic.line.to_string(),
        diagnostic.column.to_string(),
        escape(&diagnostic.message),
        escape(diagnostic.hint.as_deref().unwrap_or_default()),
    ]
}

impl<'a> Remark<'a> {
    fn of(diagnostic: &'a Diagnostic, kind: &'static str) -> Self {
        Self {
            kind,
            path: &diagnostic.path,
            line: diagnostic.line,
            column: diagnostic.column,
            message: &diagnostic.message,
            hint: diagnostic.hint.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded() -> Loaded {
        let refused = Diagnostic {
            path: "a\x1b.yml".to_owned(),
            line: 7,
            column: 3,
            message: "unknown modifier \"endwith\"".to_owned(),
            hint: Some("did you mean endswith?".to_owned()),
        };
        Loaded { refused: vec![refused], ..Loaded::default() }
    }

    fn rendered(format: Format) -> String {
        render(&loaded(), Duration::from_millis(1_500), format, &View::plain_utc()).unwrap().0
    }

    #[test]
    fn refused_rule_is_named_with_place_reason_and_hint() {
        assert_eq!(
            rendered(Format::Table),
            "a\\x1b.yml:7:3: refused: unknown modifier \"endwith\"\n    hint: did you mean endswith?\n\
             0 rules loaded, 1 refused, 1.50 s\n"
        );
    }

    #[test]
    fn last_line_of_json_is_the_counts() {
        let json = rendered(Format::Json);
        assert_eq!(json.lines().last(), Some("{\"loaded\":0,\"refused\":1,\"seconds\":1.5}"));
        assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn csv_has_a_row_a_remark() {
        let csv = rendered(Format::Csv);
        assert_eq!(
            csv,
            "kind,path,line,column,message,hint\n\
             refused,a\\x1b.yml,7,3,\"unknown modifier \"\"endwith\"\"\",did you mean endswith?\n"
        );
    }
}
