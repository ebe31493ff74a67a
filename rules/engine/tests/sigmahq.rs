//! SigmaHQ's own rules load, but for those that no author would defend.

#![allow(clippy::print_stdout, reason = "the functions here are tests or part of one")]

mod support;

use canh_sigma::{Member, RuleSet};

#[test]
fn sigmahq_rules_load_but_for_half_a_percent() {
    let Some(root) = support::corpus("sigma-rules") else { return };
    let files = support::rule_files(&root);
    let count = files.len();
    let loaded = RuleSet::load(files);
    for refused in &loaded.refused {
        println!("{refused}");
    }
    println!(
        "{count} files: {} detections, {} correlations, {} refused, {} warnings",
        loaded.rules.rules().len(),
        loaded.rules.correlations().len(),
        loaded.refused.len(),
        loaded.warnings.len()
    );
    assert!(count > 3_800);
    assert!(loaded.refused.len() * 200 <= count, "{} of {count} refused", loaded.refused.len());
    assert!(loaded.refused.iter().all(|refused| refused.path.starts_with("unsupported/")));
    assert!(loaded.rules.rules().iter().all(|rule| matches!(loaded.rules.find(&rule.id), Some(Member::Detection(_)))));
}
