//! `canh rules list` and `show`: the rules the correlator runs, or those in folders.

use std::path::PathBuf;

use canh_incident::api::{RuleList, RuleStatus};
use canh_incident::{SCHEMA_VERSION, Severity, escape_for_csv, escape_for_terminal};
use canh_sigma::{CorrelationRule, Loaded, Member, Rule, RuleSet};

use crate::arguments::Format;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::rules::load::{find, load, pick};
use crate::style::{Paint, severity};
use crate::table::{Cell, Table};

/// Lists rules.
pub(crate) fn list(client: &Client, paths: &[PathBuf], output: &Output) -> Result<Exit, Failure> {
    let rules = if paths.is_empty() { client.get("/v1/rules")? } else { of_files(&load(paths, None)?) };
    output.data(&render(&rules, output.list_format(), output.view())?)?;
    if !rules.refused.is_empty() {
        output.talk(&format!("rules refused: {}; see `canh rules check`", rules.refused.len()));
    }
    Ok(Exit::Done)
}

/// Shows one rule.
pub(crate) fn show(client: &Client, wanted: &str, paths: &[PathBuf], output: &Output) -> Result<Exit, Failure> {
    let facts = if paths.is_empty() {
        let rules: RuleList = client.get("/v1/rules")?;
        let ids = rules.rules.iter().map(|rule| rule.id.as_str());
        let id = pick(wanted, ids)?;
        rules.rules.iter().filter(|rule| rule.id == id).flat_map(facts_of_status).collect()
    } else {
        facts_of_file(wanted, &load(paths, None)?.rules)?
    };
    output.data(&render_facts(&facts, output.page_format())?)?;
    Ok(Exit::Done)
}

/// Shapes what was loaded as the daemon would say it; nothing has been met yet.
fn of_files(loaded: &Loaded) -> RuleList {
    let detections = loaded.rules.rules().iter().map(|rule| RuleStatus {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: level(rule.level.as_str()),
        kind: "detection".to_owned(),
        path: rule.path.clone(),
        hits: 0,
    });
    let correlations = loaded.rules.correlations().iter().map(|rule| RuleStatus {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: level(rule.level.as_str()),
        kind: rule.kind.as_str().to_owned(),
        path: rule.path.clone(),
        hits: 0,
    });
    let refused = loaded.refused.iter().map(|diagnostic| canh_incident::api::RefusedRule {
        path: diagnostic.path.clone(),
        line: diagnostic.line.into(),
        message: diagnostic.message.clone(),
        hint: diagnostic.hint.clone(),
    });
    RuleList {
        schema_version: SCHEMA_VERSION,
        rules: detections.chain(correlations).collect(),
        refused: refused.collect(),
    }
}

/// The words of both are Sigma's.
fn level(word: &str) -> Severity {
    word.parse().unwrap_or_default()
}

fn render(rules: &RuleList, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json => json::document(rules, &mut out)?,
        Format::Ndjson => rules.rules.iter().try_for_each(|rule| json::line(rule, &mut out))?,
        Format::Ids => rules.rules.iter().for_each(|rule| out.push_str(&(clean(&rule.id) + "\n"))),
        Format::Tsv => rules.rules.iter().for_each(|rule| out.push_str(&(cells(rule, clean).join("\t") + "\n"))),
        Format::Csv => {
            out.push_str("id,level,kind,hits,path,title\n");
            rules.rules.iter().for_each(|rule| out.push_str(&(cells(rule, escape_for_csv).join(",") + "\n")));
        }
        Format::Table => {
            let mut table = Table::new(&["ID", "LEVEL", "KIND", "HITS", "TITLE"]);
            for rule in &rules.rules {
                let (word, paint) = severity(rule.level);
                table.push(vec![
                    Cell::painted(clean(&rule.id), Paint::Strong),
                    Cell::painted(word, paint),
                    clean(&rule.kind).into(),
                    rule.hits.to_string().into(),
                    clean(&rule.title).into(),
                ]);
            }
            table.render(view.style, view.width, &mut out);
        }
    }
    Ok(out)
}

fn cells(rule: &RuleStatus, escape: impl Fn(&str) -> String) -> [String; 6] {
    [
        escape(&rule.id),
        rule.level.to_string(),
        escape(&rule.kind),
        rule.hits.to_string(),
        escape(&rule.path),
        escape(&rule.title),
    ]
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}

type Facts = Vec<(&'static str, String)>;

fn facts_of_status(rule: &RuleStatus) -> Facts {
    vec![
        ("id", rule.id.clone()),
        ("title", rule.title.clone()),
        ("level", rule.level.to_string()),
        ("kind", rule.kind.clone()),
        ("file", rule.path.clone()),
        ("hits", rule.hits.to_string()),
    ]
}

fn facts_of_file(wanted: &str, rules: &RuleSet) -> Result<Facts, Failure> {
    let facts = match find(wanted, rules)? {
        Member::Detection(index) => rules.rule(index).map(facts_of_rule),
        Member::Correlation(index) => {
            rules.correlation(index).map(|correlation| facts_of_correlation(correlation, rules))
        }
    };
    facts.ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no rule {wanted:?}")))
}

fn facts_of_rule(rule: &Rule) -> Facts {
    vec![
        ("id", rule.id.clone()),
        ("title", rule.title.clone()),
        ("name", rule.name.clone().unwrap_or_default()),
        ("level", rule.level.to_string()),
        ("status", rule.status.map(|status| status.as_str().to_owned()).unwrap_or_default()),
        ("kind", "detection".to_owned()),
        ("file", format!("{}:{}", rule.path, rule.line)),
        ("logsource", rule.logsource.to_string()),
        ("author", rule.author.clone()),
        ("description", rule.description.clone()),
        ("tags", rule.tags.join(", ")),
        ("false positives", rule.falsepositives.join("; ")),
        ("references", rule.references.join(" ")),
    ]
}

fn facts_of_correlation(rule: &CorrelationRule, rules: &RuleSet) -> Facts {
    let id_of = |member: &Member| match member {
        Member::Detection(index) => rules.rule(*index).map(|rule| rule.id.clone()),
        Member::Correlation(index) => rules.correlation(*index).map(|rule| rule.id.clone()),
    };
    let members: Vec<String> = rule.members.iter().filter_map(id_of).collect();
    vec![
        ("id", rule.id.clone()),
        ("title", rule.title.clone()),
        ("name", rule.name.clone().unwrap_or_default()),
        ("level", rule.level.to_string()),
        ("kind", rule.kind.to_string()),
        ("file", format!("{}:{}", rule.path, rule.line)),
        ("rules", members.join(", ")),
        ("group by", rule.group_by.join(", ")),
        ("timespan", format!("{} s", rule.timespan.as_secs())),
        ("threshold", rule.threshold.map(|threshold| threshold.to_string()).unwrap_or_default()),
        ("field", rule.field.join(", ")),
        ("description", rule.description.clone()),
        ("tags", rule.tags.join(", ")),
    ]
}

fn render_facts(facts: &Facts, format: Format) -> Result<String, Failure> {
    let facts = facts.iter().filter(|(_, value)| !value.is_empty());
    let mut out = String::new();
    match format {
        Format::Json | Format::Ndjson => {
            let object: serde_json::Map<String, serde_json::Value> =
                facts.map(|(name, value)| (name.replace(' ', "_"), value.clone().into())).collect();
            if format == Format::Json { json::document(&object, &mut out)? } else { json::line(&object, &mut out)? }
        }
        Format::Csv => facts.for_each(|(name, value)| out.push_str(&format!("{name},{}\n", escape_for_csv(value)))),
        Format::Tsv => facts.for_each(|(name, value)| out.push_str(&format!("{name}\t{}\n", clean(value)))),
        Format::Ids => {
            facts.filter(|(name, _)| *name == "id").for_each(|(_, value)| out.push_str(&(clean(value) + "\n")));
        }
        Format::Table => {
            for (name, value) in facts {
                for (index, line) in value.lines().enumerate() {
                    let name = if index == 0 { *name } else { "" };
                    out.push_str(&format!("{name:<17}{}\n", clean(line)));
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_free_of_hostile_text() {
        let rule = RuleStatus {
            id: "r\u{202e}".to_owned(),
            title: "=cmd|x\x1b[2J\nb".to_owned(),
            level: Severity::High,
            kind: "detection".to_owned(),
            path: "a\tb.yml".to_owned(),
            hits: 3,
        };
        let rules = RuleList { schema_version: 1, rules: vec![rule.clone()], refused: Vec::new() };
        for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json, Format::Ndjson, Format::Ids] {
            let listed = render(&rules, format, &View::plain_utc()).unwrap();
            let shown = render_facts(&facts_of_status(&rule), format).unwrap();
            for text in [listed, shown] {
                assert!(!text.contains(['\x1b', '\u{202e}']), "{format:?}: {text:?}");
                assert!(!text.contains(",=cmd"), "{format:?}: {text:?}");
            }
        }
    }
}
