//! The regression cases of SigmaHQ: each case's rule must fire on the event log recorded for it. The
//! built program runs once, over all event logs, with all rules.

#![expect(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const RULE_FOLDERS: [&str; 6] =
    ["rules", "rules-compliance", "rules-dfir", "rules-emerging-threats", "rules-placeholder", "rules-threat-hunting"];

struct Case {
    evtx: PathBuf,
    rules: Vec<String>,
}

/// Returns every folder with an `info.yml` under `root`.
fn cases(root: &Path) -> Vec<Case> {
    let (mut cases, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        let info = folder.join("info.yml");
        if !info.exists() {
            continue;
        }
        let evtx = entries.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "evtx"));
        cases.push(Case { evtx: evtx.unwrap(), rules: rules_of(&std::fs::read_to_string(info).unwrap()) });
    }
    cases.sort_by(|one, two| one.evtx.cmp(&two.evtx));
    cases
}

/// Returns the ids under `rule_metadata`; the first `id` of the file is the case's own.
fn rules_of(info: &str) -> Vec<String> {
    let (_, metadata) = info.split_once("rule_metadata:").unwrap();
    let metadata = metadata.split("regression_tests_info:").next().unwrap();
    metadata.lines().filter_map(|line| line.trim().strip_prefix("- id: ")).map(str::to_owned).collect()
}

#[test]
fn every_regression_case_raises_its_rule() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let (root, rules) = (corpus.join("sigma-regression"), corpus.join("sigma-rules"));
    if !root.is_dir() || !rules.is_dir() {
        println!("skipped: ../shared/corpus/sigma-regression or sigma-rules is not there");
        return;
    }
    let cases = cases(&root);
    assert!(!cases.is_empty());
    let mut command = Command::new(env!("CARGO_BIN_EXE_canh"));
    command.arg("eval");
    for folder in RULE_FOLDERS.iter().map(|folder| rules.join(folder)).filter(|folder| folder.is_dir()) {
        command.arg("-r").arg(folder);
    }
    let output = command.args(cases.iter().map(|case| &case.evtx)).output().unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(!talk.contains(".evtx:"), "a record was refused: {talk}");

    let mut fired: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let hit: Value = serde_json::from_str(line).unwrap();
        let rules = fired.entry(PathBuf::from(hit["event"]["file"].as_str().unwrap())).or_default();
        rules.insert(hit["rule"]["id"].as_str().unwrap().to_owned());
    }
    let missing: Vec<String> = cases
        .iter()
        .flat_map(|case| case.rules.iter().map(move |rule| (case, rule)))
        .filter(|(case, rule)| !fired.get(&case.evtx).is_some_and(|rules| rules.contains(*rule)))
        .map(|(case, rule)| format!("{rule} on {}", case.evtx.display()))
        .collect();
    assert!(missing.is_empty(), "{} of {} cases: {missing:#?}\n{talk}", missing.len(), cases.len());
    println!("{} cases", cases.len());
}
