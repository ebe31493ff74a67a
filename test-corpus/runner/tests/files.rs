//! Holds the import law between the files of a crate: no circles, no child that imports from its
//! parent, and no file that goes through its own crate's door.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Every `src` folder of a crate of ours.
fn crates() -> Vec<PathBuf> {
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let rows = architecture.lines().filter(|line| line.starts_with("| canh"));
    rows.map(|line| root().join(line.split('|').nth(2).unwrap().trim()).join("src")).collect()
}

/// Module path (`a::b`) to source text, without test modules.
fn modules(src: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(src.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let join = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
            if path.is_dir() {
                folders.push((path, join(&stem)));
            } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
                let module = if stem == "mod" { prefix.clone() } else { join(&stem) };
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                found.insert(module, text);
            }
        }
    }
    found
}

/// The paths a file imports from its own crate: `crate::a::b::Thing` gives `a::b::Thing`.
fn imports(text: &str) -> Vec<String> {
    let uses = text.split("\nuse crate::").skip(1).filter_map(|rest| rest.split(';').next());
    let mut found = Vec::new();
    for statement in uses {
        let flat: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &flat, &mut found);
    }
    found
}

/// Takes `a::{b::C, d}` apart.
fn expand(prefix: &str, text: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = text.split_once('{') else {
        found.push(format!("{prefix}{}", text.split(" as ").next().unwrap().trim()));
        return;
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let mut depth = 0;
    let mut start = 0;
    let head = format!("{prefix}{}", head.trim());
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&head, inner[start..at].trim(), found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        expand(&head, inner[start..].trim(), found);
    }
}

/// The module that defines an imported path: the longest prefix that is a file.
fn target<'a>(path: &str, modules: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len()).rev().find_map(|count| {
        let candidate = parts[..count].join("::");
        modules.get_key_value(&candidate).map(|(name, _)| name.as_str())
    })
}

fn breaches(modules: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, text) in modules {
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        for path in imports(text) {
            let Some(on) = target(&path, modules) else {
                found.push(format!("{module} imports crate::{path} through the door"));
                continue;
            };
            if module.starts_with(&format!("{on}::")) && path != *module {
                found.push(format!("{module} imports crate::{path} from its parent"));
            }
            if on != module {
                edges.entry(module).or_default().insert(on);
            }
        }
    }
    found.extend(circle(&edges));
    found
}

/// One circle, if there is any.
fn circle(edges: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    let mut done = BTreeSet::new();
    for start in edges.keys() {
        let mut path = vec![*start];
        if let Some(circle) = walk(edges, &mut path, &mut done) {
            return Some(format!("circle: {circle}"));
        }
    }
    None
}

fn walk<'a>(
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<String> {
    let here = *path.last()?;
    if done.contains(here) {
        return None;
    }
    for next in edges.get(here).into_iter().flatten() {
        if let Some(at) = path.iter().position(|module| module == next) {
            return Some(format!("{} -> {next}", path[at..].join(" -> ")));
        }
        path.push(next);
        if let Some(found) = walk(edges, path, done) {
            return Some(found);
        }
        path.pop();
    }
    done.insert(here);
    None
}

#[test]
fn files_import_one_way() {
    let mut found = Vec::new();
    for src in crates() {
        let folder = src.strip_prefix(root()).unwrap().display().to_string();
        found.extend(breaches(&modules(&src)).into_iter().map(|breach| format!("{folder}: {breach}")));
    }
    assert!(found.is_empty(), "the import law between files is broken:\n  {}", found.join("\n  "));
}

#[test]
fn a_circle_a_parent_and_a_door_are_found() {
    let modules = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let circle = modules(&[("a", "\nuse crate::b::X;"), ("b", "\nuse crate::{c::Y};"), ("c", "\nuse crate::a::Z;")]);
    assert_eq!(breaches(&circle), ["circle: a -> b -> c -> a"]);
    let parent = modules(&[("a", ""), ("a::b", "\nuse crate::a::X;")]);
    assert_eq!(breaches(&parent), ["a::b imports crate::a::X from its parent"]);
    let door = modules(&[("lib", ""), ("a", "\nuse crate::X;")]);
    assert_eq!(breaches(&door), ["a imports crate::X through the door"]);
}
