//! Linking: ids stand once, filters find their rules, correlations their members.
//!
//! Correlations are sorted so that a member stands before whoever watches it; one that watches
//! itself, directly or not, is refused, as is one whose member is not there.

use hashbrown::{HashMap, HashSet};

use crate::correlation::{Alias, CorrelationIndex, CorrelationRule, Member};
use crate::correlation_section::{AliasDraft, CorrelationDraft};
use crate::diagnostic::{Fault, shown};
use crate::draft::{Drafts, InFile};
use crate::filter_section::FilterDraft;
use crate::rule::{Rule, RuleIndex};
use crate::rule_set::{Loaded, RuleSet};

/// Links what was read into `loaded.rules`.
pub(crate) fn link(mut drafts: Drafts, loaded: &mut Loaded) {
    refuse_repeated_ids(&mut drafts, loaded);
    let mut rules: Vec<Rule> = drafts.rules.into_iter().map(|draft| draft.rule).collect();
    for filter in &drafts.filters {
        apply_filter(filter, &mut rules, loaded);
    }
    let mut set = RuleSet { rules, ..RuleSet::default() };
    for (index, rule) in set.rules.iter().enumerate() {
        let member = Member::Detection(RuleIndex(narrow(index)));
        refer(&mut set.by_reference, &rule.id, rule.name.as_deref(), member);
    }
    link_correlations(drafts.correlations, &mut set, loaded);
    loaded.rules = set;
}

/// A rule's id must be its own: correlations, filters and incidents name it by it.
fn refuse_repeated_ids(drafts: &mut Drafts, loaded: &mut Loaded) {
    let mut first: HashMap<String, (String, u32, bool)> = HashMap::new();
    let mut is_repeated = |id: &str, path: &str, line: u32, shares_id: bool| -> Option<String> {
        match first.get(id) {
            // Two documents of one file that inherit the id share it.
            Some((other, _, shared)) if *shared && shares_id && other == path => None,
            Some((other, line, _)) => Some(format!("the id {} is that of {other}:{line}", shown(id))),
            None => {
                first.insert(id.to_owned(), (path.to_owned(), line, shares_id));
                None
            }
        }
    };
    let refused = &mut loaded.refused;
    let hint = "give it an id of its own";
    drafts.rules.retain(|draft| {
        let rule = &draft.rule;
        match is_repeated(&rule.id, &rule.path, rule.line, draft.shares_id) {
            None => true,
            Some(message) => {
                refused.push(Fault::new(draft.mark, message).hint(hint).in_file(&rule.path));
                false
            }
        }
    });
    drafts.correlations.retain(|draft| {
        let CorrelationDraft { metadata, mark, shares_id, .. } = &draft.value;
        match is_repeated(&metadata.id, &draft.path, mark.line, *shares_id) {
            None => true,
            Some(message) => {
                refused.push(Fault::new(*mark, message).hint(hint).in_file(&draft.path));
                false
            }
        }
    });
}

fn apply_filter(filter: &InFile<FilterDraft>, rules: &mut [Rule], loaded: &mut Loaded) {
    let draft = &filter.value;
    let Some(references) = &draft.rules else {
        rules.iter_mut().filter(|rule| draft.is_for(rule, None)).for_each(|rule| draft.apply(rule));
        return;
    };
    for reference in references {
        let mut found = false;
        for rule in rules.iter_mut().filter(|rule| draft.is_for(rule, Some(&reference.text))) {
            draft.apply(rule);
            found = true;
        }
        if !found {
            let message = format!("no rule of the filter's logsource is named {}", shown(&reference.text));
            loaded.warnings.push(Fault::new(reference.mark, message).in_file(&filter.path));
        }
    }
}

fn refer(by_reference: &mut HashMap<String, Member>, id: &str, name: Option<&str>, member: Member) {
    for reference in std::iter::once(id).chain(name) {
        by_reference.entry_ref(reference).or_insert(member);
    }
}

/// Takes a correlation as soon as its last missing member is there; what is left at the end has a
/// member that is not there, or watches itself.
fn link_correlations(drafts: Vec<InFile<CorrelationDraft>>, set: &mut RuleSet, loaded: &mut Loaded) {
    let mut waiting_for: HashMap<String, Vec<usize>> = HashMap::new();
    let mut missing: Vec<usize> = Vec::with_capacity(drafts.len());
    let mut ready = Vec::new();
    for (place, draft) in drafts.iter().enumerate() {
        let references = draft.value.references();
        let absent = references.filter(|reference| !set.by_reference.contains_key(*reference));
        let absent: HashSet<&str> = absent.collect();
        missing.push(absent.len());
        if absent.is_empty() {
            ready.push(place);
        }
        for reference in absent {
            waiting_for.entry_ref(reference).or_default().push(place);
        }
    }
    // Taken from the end, so that those ready from the start keep the order of the files.
    ready.reverse();
    let mut drafts: Vec<Option<InFile<CorrelationDraft>>> = drafts.into_iter().map(Some).collect();
    while let Some(place) = ready.pop() {
        let Some(draft) = drafts.get_mut(place).and_then(Option::take) else { continue };
        let names = [Some(draft.value.metadata.id.clone()), draft.value.metadata.name.clone()];
        if let Ok(members) = members(&draft.value, set) {
            take(draft, members, set);
        }
        for place in names.iter().flatten().filter_map(|name| waiting_for.remove(name)).flatten() {
            let Some(count) = missing.get_mut(place) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.push(place);
            }
        }
    }
    refuse_unlinked(drafts.into_iter().flatten().collect(), set, loaded);
}

fn refuse_unlinked(left: Vec<InFile<CorrelationDraft>>, set: &RuleSet, loaded: &mut Loaded) {
    let mut known: HashSet<&str> = HashSet::new();
    for draft in &left {
        known.insert(&draft.value.metadata.id);
        known.extend(draft.value.metadata.name.as_deref());
    }
    for draft in &left {
        if let Err(fault) = members(&draft.value, set) {
            let is_there = |reference: &str| set.by_reference.contains_key(reference) || known.contains(reference);
            let fault = if draft.value.references().all(is_there) {
                Fault::new(fault.mark, "the correlation watches itself, or one that cannot be loaded")
            } else {
                fault
            };
            loaded.refused.push(fault.in_file(&draft.path));
        }
    }
}

fn members(draft: &CorrelationDraft, set: &RuleSet) -> Result<Vec<Member>, Fault> {
    let find = |reference: &crate::yaml::Scalar| {
        set.by_reference.get(reference.text.as_str()).copied().ok_or_else(|| {
            let message = format!("no rule that was loaded has the id or name {}", shown(&reference.text));
            Fault::new(reference.mark, message).hint("see that its file is given too, and was not refused")
        })
    };
    for member in draft.aliases.iter().flat_map(|alias| &alias.fields).map(|(member, _)| member) {
        find(member)?;
    }
    draft.members.iter().map(find).collect()
}

fn take(draft: InFile<CorrelationDraft>, members: Vec<Member>, set: &mut RuleSet) {
    let InFile { path, value: draft } = draft;
    let index = CorrelationIndex(narrow(set.correlations.len()));
    let metadata = draft.metadata;
    let resolve = |reference: &str| set.by_reference.get(reference).copied();
    let aliases = draft.aliases.into_iter().map(|AliasDraft { name, fields }| Alias {
        name,
        fields: fields.into_iter().filter_map(|(member, field)| Some((resolve(&member.text)?, field))).collect(),
    });
    let rule = CorrelationRule {
        aliases: aliases.collect(),
        id: metadata.id,
        title: metadata.title,
        name: metadata.name,
        level: metadata.level,
        status: metadata.status,
        description: metadata.description,
        author: metadata.author,
        references: metadata.references,
        tags: metadata.tags,
        falsepositives: metadata.falsepositives,
        fields: metadata.fields,
        kind: draft.kind,
        members,
        group_by: draft.group_by,
        timespan: draft.timespan,
        threshold: draft.threshold,
        condition: draft.condition,
        field: draft.field,
        percentile: draft.percentile,
        generate: draft.generate,
        path,
        line: draft.mark.line,
    };
    refer(&mut set.by_reference, &rule.id, rule.name.as_deref(), Member::Correlation(index));
    set.correlations.push(rule);
}

/// The number of rules is bounded far below 2^32.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
