use std::path::{Path, PathBuf};

use canh_event::{Origin, Row};
use canh_parse::Parser;

use super::*;
use crate::rules::case::Case;
use crate::rules::event::{batches, understand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fault(text: &str) -> String {
    let mut said = Vec::new();
    parse(text, "a.toml").unwrap_err().print(&mut said);
    String::from_utf8(said).unwrap()
}

/// Returns what no single source declares of a row.
fn undeclared(row: Row<'_>, feeds: &[Feed]) -> Option<String> {
    let logsource = row.logsource();
    let is_declared = |feed: &&Feed| {
        feed.product() == logsource.product()
            && logsource.services().all(|name| feed.has_service(name))
            && logsource.categories().all(|name| feed.has_category(name))
    };
    let lacking =
        |feed: &Feed| -> Vec<&str> { row.fields().map(|(name, _)| name).filter(|name| !feed.has(name)).collect() };
    let nearest = feeds.iter().filter(is_declared).map(lacking).min_by_key(Vec::len);
    match nearest {
        None => Some(format!("nothing declares {logsource:?}")),
        Some(fields) if fields.is_empty() => None,
        Some(fields) => Some(format!("{fields:?} of {logsource:?}")),
    }
}

#[test]
fn what_parsers_make_of_the_corpus_is_declared() {
    let feeds = shipped().unwrap();
    let folders = Case::folders(&root().join("test-corpus/cases")).unwrap();
    let (mut rows, mut faults) = (0, Vec::new());
    for folder in folders {
        let case = Case::load(&folder).unwrap();
        let lines: Vec<&str> = case.input.lines().collect();
        for records in batches(&lines, &case.source, case.received).unwrap() {
            let understood = understand(&mut Parser::new(), &case.origin, &records).unwrap();
            rows += understood.events.len();
            faults.extend(understood.events.rows().filter_map(|row| undeclared(row, &feeds)));
        }
    }
    faults.sort();
    faults.dedup();
    assert!(rows > 500, "{rows}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_parsers_make_of_real_logs_is_declared() {
    let feeds = shipped().unwrap();
    let mut faults = Vec::new();
    for name in ["Linux_2k.log", "OpenSSH_2k.log"] {
        let path = root().join("../shared/corpus/logs").join(name);
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no {}", path.display());
            continue;
        };
        let received = "2026-11-24T04:00:00Z".parse().unwrap();
        let source = canh_event::Source {
            name: name.parse().unwrap(),
            host: Box::from("web-01"),
            format: "syslog".parse().unwrap(),
            utc_offset_secs: 0,
        };
        let lines: Vec<&str> = text.lines().collect();
        for records in batches(&lines, &source, received).unwrap() {
            let understood = understand(&mut Parser::new(), &Origin::unknown(), &records).unwrap();
            let rows = understood.events.rows().zip(&understood.formats);
            let read = rows.filter(|(_, format)| **format != "unparsed");
            faults.extend(read.filter_map(|(row, _)| undeclared(row, &feeds)));
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// A field that no parser's source names is declared by mistake.
#[test]
fn declared_fields_are_named_by_a_parser() {
    let mut code = String::new();
    for folder in ["collector/parse/src", "collector/flow/src"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let feeds = shipped().unwrap();
    let fields = feeds.iter().flat_map(|feed| &feed.fields).filter(|field| !field.ends_with('*'));
    let unknown: Vec<&String> = fields.filter(|field| !code.contains(&format!("\"{field}\""))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_channel_of_the_pipeline_is_a_source() {
    let feeds = shipped().unwrap();
    let rule = |service: Option<&str>, category: Option<&str>| RuleLogsource {
        product: Some("windows".to_owned()),
        service: service.map(str::to_owned),
        category: category.map(str::to_owned),
        definition: None,
    };
    for (service, category) in
        [(None, Some("process_creation")), (Some("sysmon"), Some("dns_query")), (Some("security"), None)]
    {
        assert!(feeds.iter().any(|feed| feed.is_for(&rule(service, category))), "{service:?} {category:?}");
    }
    assert!(!feeds.iter().any(|feed| feed.is_for(&rule(Some("security"), Some("dns_query")))));
}

#[test]
fn a_table_holds_besides_the_shipped_one_unless_it_says_otherwise() {
    let zeek =
        "[[source]]\nname = \"zeek dns\"\nproduct = \"zeek\"\nservices = [\"dns\"]\nfields = [\"query\", \"id.*\"]\n";
    let both = parse(zeek, "a.toml").unwrap();
    let alone = parse(&format!("shipped = false\n{zeek}"), "a.toml").unwrap();
    assert_eq!(both.len(), alone.len() + shipped().unwrap().len());
    assert!(alone[0].has("id.orig_h") && alone[0].has("query") && !alone[0].has("answers"));
}

#[test]
fn wrong_tables_are_refused_with_the_reason() {
    for (text, reason) in [
        ("sorce = 1", "unknown field `sorce`"),
        ("[[source]]\nname = \"x\"\nfields = [\"a\"]\ncolour = 1", "unknown field `colour`"),
        ("[[source]]\nname = \"x\"", "has no fields"),
        ("[[source]]\nname = \"x\"\ninclude = [\"g\"]", "no group has this name"),
        ("[[source]]\nname = \"x\"\nfields = [\"a\"]\nproduct = \"Win\\u001bdows\"", "a logsource name"),
        ("[[source]]\nname = \"x\"\nfields = [\"a\"]\npipeline = \"zeek\"", "there is only \"windows\""),
        ("shipped = false", "declares no source"),
    ] {
        let said = fault(text);
        assert!(said.contains(reason) && !said.contains('\x1b'), "{text}: {said}");
    }
}
