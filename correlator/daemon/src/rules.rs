//! The rules in force: read, compiled, and how often each was met.
//!
//! A rule that cannot be compiled is refused, said and counted, and the rest load. A set that
//! cannot be read at all is no set: at the start that ends the daemon, at a reload the old rules
//! stay.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use canh_incident::api::{RefusedRule, RuleList, RuleStatus};
use canh_incident::{SCHEMA_VERSION, Severity};
use canh_rulepack::PackError;
use canh_sigma::{Diagnostic, Program, RuleFile, RuleSet};

/// Refused rules that are said one by one; past that only their number is.
const MAX_SAID: usize = 50;

/// A set of rules, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Counts the loads: two sets with the same one are the same.
    pub(crate) generation: u64,
    /// The rules.
    pub(crate) set: RuleSet,
    /// The detection rules as one program.
    pub(crate) program: Program,
    /// The rules that were refused.
    pub(crate) refused: Vec<Diagnostic>,
    /// How often each rule was met since the start, by id.
    met: HashMap<String, AtomicU64>,
}

impl Rules {
    /// Reads and compiles the rules of some folders and files; a path that is not there is said
    /// and passed over.
    ///
    /// # Errors
    /// [`PackError`] if one that is there cannot be read.
    pub(crate) fn load(paths: &[PathBuf], generation: u64) -> Result<Self, PackError> {
        let (present, absent): (Vec<PathBuf>, Vec<PathBuf>) = paths.iter().cloned().partition(|path| is_there(path));
        for path in absent {
            tracing::warn!(path = %path.display(), "rule path is not there, passed over");
        }
        let loaded = RuleSet::load(
            canh_rulepack::load_dir(&present)?.into_iter().map(|file| RuleFile { path: file.path, text: file.text }),
        );
        let program = Program::compile(&loaded.rules);
        let detections = loaded.rules.rules().iter().map(|rule| rule.id.clone());
        let correlations = loaded.rules.correlations().iter().map(|rule| rule.id.clone());
        let met = detections.chain(correlations).map(|id| (id, AtomicU64::new(0))).collect();
        Ok(Self { generation, set: loaded.rules, program, refused: loaded.refused, met })
    }

    /// Goes on counting where an older set stopped.
    pub(crate) fn count_on_from(self, older: &Self) -> Self {
        for (id, count) in &self.met {
            count.store(older.times_met(id), Ordering::Relaxed);
        }
        self
    }

    /// Returns how many rules there are, correlations included.
    pub(crate) fn len(&self) -> usize {
        self.set.rules().len() + self.set.correlations().len()
    }

    /// Says what was loaded and what was refused.
    pub(crate) fn say(&self) {
        for refused in self.refused.iter().take(MAX_SAID) {
            tracing::warn!(rule = ?refused.to_string(), "rule refused");
        }
        let (rules, refused, generation) = (self.len(), self.refused.len(), self.generation);
        if rules == 0 {
            tracing::error!(refused, generation, "no rule is in force, nothing will be found");
        } else {
            tracing::info!(rules, refused, generation, "rules loaded");
        }
    }

    /// Counts a rule as met.
    pub(crate) fn met(&self, id: &str, times: u64) {
        if let Some(count) = self.met.get(id) {
            count.fetch_add(times, Ordering::Relaxed);
        }
    }

    fn times_met(&self, id: &str) -> u64 {
        self.met.get(id).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Returns the rules as the API shows them.
    pub(crate) fn list(&self) -> RuleList {
        let status = |id: &String, title: &String, level: &str, kind: &str, path: &String| RuleStatus {
            id: id.clone(),
            title: title.clone(),
            level: level.parse::<Severity>().unwrap_or_default(),
            kind: kind.to_owned(),
            path: path.clone(),
            hits: self.times_met(id),
        };
        let detections =
            self.set.rules().iter().map(|it| status(&it.id, &it.title, it.level.as_str(), "detection", &it.path));
        let correlations = self
            .set
            .correlations()
            .iter()
            .map(|it| status(&it.id, &it.title, it.level.as_str(), it.kind.as_str(), &it.path));
        let refused = self.refused.iter().map(|diagnostic| RefusedRule {
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
}

/// A path that may not be looked at counts as there: reading it will say why it cannot be.
fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A detection rule for sshd lines whose `EventOutcome` is `failure`, and one nobody can compile.
    pub(crate) const FAILED_LOGIN: &str = "title: SSH login failed\nid: ssh-failed\nname: ssh_failed\nlevel: low\n\
        logsource:\n  product: linux\n  service: sshd\n\
        detection:\n  selection:\n    EventOutcome: failure\n  condition: selection\n";

    pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn refused_rules_are_kept_apart_and_the_rest_load() {
        let broken = FAILED_LOGIN.replace("condition: selection", "condition: nowhere").replace("ssh-failed", "other");
        let dir = folder(&[("a.yml", FAILED_LOGIN), ("b.yml", &broken)]);
        let paths = [dir.path().to_owned(), "/nonexistent/rules".into()];
        let rules = Rules::load(&paths, 1).unwrap();
        assert_eq!((rules.len(), rules.refused.len()), (1, 1));
        let list = rules.list();
        assert_eq!(list.rules[0].id, "ssh-failed");
        assert!(list.refused[0].path.ends_with("b.yml"));
    }

    #[test]
    fn counts_go_on_through_a_reload() {
        let dir = folder(&[("a.yml", FAILED_LOGIN)]);
        let paths = [dir.path().to_owned()];
        let first = Rules::load(&paths, 1).unwrap();
        first.met("ssh-failed", 3);
        first.met("unheard-of", 3);
        let second = Rules::load(&paths, 2).unwrap().count_on_from(&first);
        assert_eq!(second.list().rules[0].hits, 3);
    }
}
