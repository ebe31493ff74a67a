//! A rule pack, loaded and compiled once for all cases.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use canh_sigma::{Program, RuleFile, RuleSet};

/// Rules and the program made of them.
#[derive(Debug)]
pub struct LoadedPack {
    /// The rules.
    pub rules: RuleSet,
    /// The program.
    pub program: Program,
}

/// Loads the pack in a folder; every rule of ours must load.
///
/// # Errors
/// The folder cannot be read, or a rule is refused.
pub fn load_pack(folder: &Path) -> Result<LoadedPack> {
    let files = canh_rulepack::load_dir(&[folder.to_path_buf()])
        .with_context(|| format!("while reading the pack {}", folder.display()))?;
    let loaded = RuleSet::load(files.into_iter().map(|file| RuleFile { path: file.path, text: file.text }));
    let refused: Vec<String> = loaded.refused.iter().map(ToString::to_string).collect();
    ensure!(refused.is_empty(), "rules of {} are refused:\n{}", folder.display(), refused.join("\n"));
    let program = Program::compile(&loaded.rules);
    Ok(LoadedPack { rules: loaded.rules, program })
}
