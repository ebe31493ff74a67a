//! `canh rules coverage`: which tactics and techniques of ATT&CK the rules are about, by their tags.
//!
//! Comes in: rules. Goes out: a table by tactic, a list of techniques, or a layer for the ATT&CK
//! Navigator (`navigator.rs`). Only rules that raise detections of their own are counted: a rule
//! that a correlation merely counts warns nobody. Source of the tags: Sigma "Tags appendix" 2.1,
//! namespace `attack`.

use std::collections::{BTreeMap, BTreeSet};

use canh_incident::{escape_for_csv, escape_for_terminal};

use crate::arguments::Format;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::rules::load::load;
use crate::rules::navigator;
use crate::rules::raising::raising;
use crate::rules::verbs::RuleFolders;
use crate::table::Table;

/// ATT&CK's enterprise tactics in the order of its matrix. `defense-evasion` was split into
/// `stealth` and `defense-impairment`; rules of either age are found under their own word.
const TACTICS: [&str; 16] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "stealth",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
];

/// What the rules are about.
#[derive(Debug, Default)]
struct Coverage {
    /// Technique to titles of its rules.
    techniques: BTreeMap<String, Vec<String>>,
    /// Tactic to what its rules name.
    tactics: BTreeMap<String, Tactic>,
    /// Rules counted.
    rules: usize,
    /// Of those, rules without a technique.
    without: usize,
}

#[derive(Debug, Default)]
struct Tactic {
    rules: usize,
    techniques: BTreeSet<String>,
}

/// What one tag says.
#[derive(Debug, PartialEq, Eq)]
enum Tag {
    Technique(String),
    Tactic(String),
    Other,
}

/// Counts.
pub(crate) fn run(folders: &RuleFolders, output: &Output) -> Result<Exit, Failure> {
    let loaded = load(&folders.paths, folders.values.placeholders.as_deref())?;
    let mut coverage = Coverage::default();
    for rule in raising(&loaded.rules) {
        coverage.add(rule.title(), rule.tags());
    }
    output.data(&render(&coverage, output.page_format(), output.view())?)?;
    if !loaded.refused.is_empty() {
        output.talk(&format!("rules refused and not counted: {}; see `canh rules check`", loaded.refused.len()));
    }
    Ok(Exit::Done)
}

impl Coverage {
    fn add(&mut self, title: &str, tags: &[String]) {
        let (mut techniques, mut tactics) = (BTreeSet::new(), BTreeSet::new());
        for tag in tags {
            match read_tag(tag) {
                Tag::Technique(technique) => techniques.insert(technique),
                Tag::Tactic(tactic) => tactics.insert(tactic),
                Tag::Other => false,
            };
        }
        self.rules += 1;
        self.without += usize::from(techniques.is_empty());
        for tactic in tactics {
            let tactic = self.tactics.entry(tactic).or_default();
            tactic.rules += 1;
            tactic.techniques.extend(techniques.iter().cloned());
        }
        for technique in techniques {
            self.techniques.entry(technique).or_default().push(title.to_owned());
        }
    }

    /// Returns every tactic of the matrix, then words the matrix has not.
    fn by_tactic(&self) -> Vec<(&str, usize, usize)> {
        let others = self.tactics.keys().map(String::as_str).filter(|name| !TACTICS.contains(name));
        let row = |name| {
            let tactic = self.tactics.get(name);
            let techniques = tactic.map_or(0, |tactic| tactic.techniques.len());
            (name, tactic.map_or(0, |tactic| tactic.rules), techniques)
        };
        TACTICS.into_iter().chain(others).map(row).collect()
    }
}

fn read_tag(tag: &str) -> Tag {
    let tag = tag.to_ascii_lowercase();
    let Some(name) = tag.strip_prefix("attack.") else { return Tag::Other };
    if let Some(digits) = name.strip_prefix('t').filter(|digits| is_technique(digits)) {
        return Tag::Technique(format!("T{digits}"));
    }
    // Groups (g0016), software (s0002), campaigns, mitigations, data sources: a letter or two and digits.
    let is_object = name.trim_start_matches(|letter: char| letter.is_ascii_lowercase()).bytes();
    let mut digits = is_object.peekable();
    if digits.peek().is_some() && digits.all(|byte| byte.is_ascii_digit()) {
        return Tag::Other;
    }
    // Older rules write underscores.
    Tag::Tactic(name.replace('_', "-"))
}

/// `1059` or `1059.001`.
fn is_technique(digits: &str) -> bool {
    let is_number = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    match digits.split_once('.') {
        Some((technique, part)) => is_number(technique, 4) && is_number(part, 3),
        None => is_number(digits, 4),
    }
}

fn render(coverage: &Coverage, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    let rows = coverage.techniques.iter().map(|(technique, titles)| (technique, titles.len(), titles.join("; ")));
    match format {
        Format::Json => json::document(&navigator::layer(&coverage.techniques), &mut out)?,
        Format::Ndjson => {
            let techniques = navigator::layer(&coverage.techniques).techniques;
            techniques.iter().try_for_each(|technique| json::line(technique, &mut out))?;
        }
        Format::Ids => rows.for_each(|(technique, ..)| out.push_str(&format!("{technique}\n"))),
        Format::Tsv => rows.for_each(|(technique, count, titles)| {
            out.push_str(&format!("{technique}\t{count}\t{}\n", escape_for_terminal(&titles)));
        }),
        Format::Csv => {
            out.push_str("technique,rules,titles\n");
            rows.for_each(|(technique, count, titles)| {
                out.push_str(&format!("{technique},{count},{}\n", escape_for_csv(&titles)));
            });
        }
        Format::Table => {
            let mut table = Table::new(&["TACTIC", "RULES", "TECHNIQUES"]);
            for (name, rules, techniques) in coverage.by_tactic() {
                let name = escape_for_terminal(name).into_owned();
                table.push(vec![name.into(), rules.to_string().into(), techniques.to_string().into()]);
            }
            table.render(view.style, view.width, &mut out);
            let Coverage { techniques, rules, without, .. } = coverage;
            out.push_str(&format!("{rules} rules, {} techniques; {without} rules name none\n", techniques.len()));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage() -> Coverage {
        let mut coverage = Coverage::default();
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        coverage.add("Guessing", &tags(&["attack.credential-access", "attack.T1110", "attack.t1110.001"]));
        coverage
            .add("=Hostile\x1b[2J \"x\"\u{202e}", &tags(&["attack.credential_access", "attack.t1110", "cve.2024-1"]));
        coverage.add("Group", &tags(&["attack.g0016", "attack.no_such\x1b"]));
        coverage
    }

    #[test]
    fn tags_are_told_apart() {
        assert_eq!(read_tag("attack.t1059.001"), Tag::Technique("T1059.001".to_owned()));
        assert_eq!(read_tag("attack.privilege_escalation"), Tag::Tactic("privilege-escalation".to_owned()));
        for other in
            ["attack.g0016", "attack.s0002", "attack.ds0017", "cve.2021-44228", "car.2013-05-004", "attack.t12"]
        {
            assert_eq!(read_tag(other), Tag::Other, "{other}");
        }
    }

    #[test]
    fn every_tactic_has_a_row_and_unknown_ones_stand_last() {
        let page = render(&coverage(), Format::Table, &View::plain_utc()).unwrap();
        assert!(
            page.starts_with("TACTIC                RULES  TECHNIQUES\nreconnaissance        0      0\n"),
            "{page}"
        );
        assert!(page.contains("\ncredential-access     2      2\n"), "{page}");
        assert!(
            page.ends_with("\nno-such\\x1b           1      0\n3 rules, 2 techniques; 1 rules name none\n"),
            "{page}"
        );
    }

    #[test]
    fn layer_scores_by_rules_and_names_them() {
        let layer = render(&coverage(), Format::Json, &View::plain_utc()).unwrap();
        assert!(!layer.contains(['\x1b', '\u{202e}']), "{layer}");
        let layer: serde_json::Value = serde_json::from_str(&layer).unwrap();
        assert_eq!(layer["versions"]["layer"], "4.5");
        assert_eq!(layer["domain"], "enterprise-attack");
        assert_eq!(layer["techniques"][0]["techniqueID"], "T1110");
        assert_eq!(layer["techniques"][0]["score"], 2);
        assert_eq!(layer["techniques"][0]["comment"], "Guessing\n=Hostile\x1b[2J \"x\"\u{202e}");
        assert_eq!(layer["techniques"][0]["showSubtechniques"], true);
        assert_eq!(layer["techniques"][1]["techniqueID"], "T1110.001");
        assert_eq!(layer["gradient"]["maxValue"], 2);
    }

    #[test]
    fn every_format_is_free_of_hostile_text() {
        for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json, Format::Ndjson, Format::Ids] {
            let text = render(&coverage(), format, &View::plain_utc()).unwrap();
            assert!(!text.contains(['\x1b', '\u{202e}']), "{format:?}: {text:?}");
        }
    }
}
