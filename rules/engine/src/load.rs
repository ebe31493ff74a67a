//! From files to a rule set: every document read on its own, then all linked.
//!
//! ```text
//! RuleFile ─► Document ─┬─► RuleDraft ───────┐
//!                       ├─► CorrelationDraft ┼─► link: ids, filters, members ─► RuleSet
//!                       └─► FilterDraft ─────┘
//! ```
//!
//! A document that is wrong is refused with its place and leaves the others alone.

use crate::draft::read_all;
use crate::link::link;
use crate::placeholder::Placeholders;
use crate::rule_set::{Loaded, RuleFile, RuleSet};

impl RuleSet {
    /// Reads, checks and links the rules of a set of files, without values for placeholders.
    pub fn load(files: impl IntoIterator<Item = RuleFile>) -> Loaded {
        Self::load_with(files, &Placeholders::new())
    }

    /// Reads, checks and links the rules of a set of files.
    ///
    /// A document that is wrong is refused and leaves the others alone. Of two documents with one
    /// id the later is refused.
    pub fn load_with(files: impl IntoIterator<Item = RuleFile>, placeholders: &Placeholders) -> Loaded {
        let mut loaded = Loaded::default();
        let drafts = read_all(files, placeholders, &mut loaded);
        link(drafts, &mut loaded);
        loaded
    }
}
