//! Finds the shared corpus beside the workspace, and says so when it is not there.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests read files, the crate does not"
)]
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod telemetry;

use std::fs;
use std::path::{Path, PathBuf};

use canh_sigma::RuleFile;

/// Returns a folder of the corpus, or prints that the test is skipped.
pub(crate) fn corpus(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared/corpus/{folder} is not there");
    None
}

/// Reads every rule file below a folder, sorted by path; paths are shown from the folder on.
pub(crate) fn rule_files(root: &Path) -> Vec<RuleFile> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yml") {
                let text = fs::read_to_string(&path).unwrap();
                files.push(RuleFile { path: path.strip_prefix(root).unwrap().display().to_string(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
