//! Holds the import law: the table of docs/ARCHITECTURE.md against what `cargo metadata` says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates that bring files, sockets, clocks, threads or an async runtime: none for the pure.
const IMPURE: [&str; 12] = [
    "axum",
    "hyper",
    "hyper-util",
    "pcap",
    "prometheus",
    "rustix",
    "sd-notify",
    "sled",
    "tokio",
    "tokio-rustls",
    "tracing-subscriber",
    "tempfile",
];

/// Crates with one keeper, and who may name them.
const KEEPERS: [(&str, &[&str]); 3] = [
    ("sled", &["canh-store"]),
    ("pcap", &["canh-flow-agent"]),
    ("ring", &["canh-journal", "canh-rulepack", "canh-wire"]),
];

/// One row of the table.
#[derive(Debug, Clone)]
struct Room {
    folder: String,
    floor: u32,
    is_pure: bool,
    may_import: BTreeSet<String>,
}

type Law = BTreeMap<String, Room>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Reads the rows of the table: crate, folder, floor, pure, owns, may import.
fn law_of(architecture: &str) -> Law {
    let rows = architecture.lines().filter(|line| line.starts_with("| canh"));
    let room = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let may_import = cells[5].split(',').map(str::trim).filter(|name| !name.is_empty());
        let room = Room {
            folder: cells[1].to_owned(),
            floor: cells[2].parse().unwrap(),
            is_pure: cells[3] == "yes",
            may_import: may_import.map(|name| format!("canh-{name}")).collect(),
        };
        (cells[0].to_owned(), room)
    };
    rows.map(room).collect()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every breach of the law, in words.
fn breaches(law: &Law, metadata: &Value, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        seen.insert(name.to_owned());
        let Some(room) = law.get(name) else {
            found.push(format!("{name} is not in the table"));
            continue;
        };
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        if manifest.parent() != Some(&root.join(&room.folder)) {
            found.push(format!("{name} lives in {}, the table says {}", manifest.display(), room.folder));
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            found.extend(breach(law, name, room, dependency));
        }
    }
    found.extend(law.keys().filter(|name| !seen.contains(*name)).map(|name| format!("{name} does not exist")));
    found
}

/// What is wrong with one dependency, if anything.
fn breach(law: &Law, name: &str, room: &Room, dependency: &Value) -> Option<String> {
    let on = dependency["name"].as_str().unwrap();
    let is_for_tests = dependency["kind"].as_str() == Some("dev");
    if let Some((_, keepers)) = KEEPERS.iter().find(|(kept, _)| *kept == on)
        && !keepers.contains(&name)
        && !is_for_tests
    {
        return Some(format!("{name} imports {on}, which is kept by {}", keepers.join(", ")));
    }
    if let Some(other) = law.get(on) {
        let lower = other.floor < room.floor;
        return match (is_for_tests, room.may_import.contains(on)) {
            (false, false) => Some(format!("{name} imports {on}, its row does not allow that")),
            (true, false) if !lower => Some(format!("the tests of {name} import {on}, which is not on a lower floor")),
            _ if !lower => Some(format!("{name} imports {on}, which is not on a lower floor")),
            _ => None,
        };
    }
    (room.is_pure && !is_for_tests && IMPURE.contains(&on)).then(|| format!("{name} is pure and imports {on}"))
}

fn law() -> Law {
    law_of(&std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap())
}

#[test]
fn every_import_is_in_the_table() {
    let law = law();
    assert_eq!(law.len(), 19, "the table has a row for each crate");
    let found = breaches(&law, &metadata(), &root());
    assert!(found.is_empty(), "the import law is broken:\n  {}", found.join("\n  "));
}

#[test]
fn pure_crates_forbid_the_impure_parts_of_std() {
    let model = std::fs::read_to_string(root().join("collector/event/clippy.toml")).unwrap();
    for (name, room) in law().iter().filter(|(_, room)| room.is_pure) {
        let path = root().join(&room.folder).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, model, "{name} is pure: {} must be that of canh-event", path.display());
    }
}

#[test]
fn a_forbidden_import_is_found() {
    let law = law();
    let base = metadata();
    for (from, on, kind) in [
        ("canh-log-agent", "canh-sigma", Value::Null),
        ("canh", "canh-store", Value::Null),
        ("canh", "sled", Value::Null),
        ("canh-parse", "tokio", Value::Null),
        ("canh-event", "canh-sigma", Value::from("dev")),
    ] {
        let mut changed = base.clone();
        let packages = changed["packages"].as_array_mut().unwrap();
        let package = packages.iter_mut().find(|package| package["name"] == from).unwrap();
        let forged = serde_json::json!({ "name": on, "kind": kind });
        package["dependencies"].as_array_mut().unwrap().push(forged);
        let found = breaches(&law, &changed, &root());
        assert!(found.iter().any(|line| line.contains(from) && line.contains(on)), "{from} -> {on}: {found:?}");
    }
}
