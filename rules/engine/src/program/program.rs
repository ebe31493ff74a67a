//! The program itself: compiled once, shared by any number of matchers.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::program::bits::BitSet;
use crate::program::code::{Code, Entry};
use crate::program::field_index::FieldIndex;
use crate::program::formula::{Ask, Formula};
use crate::program::ids::{FieldId, Pair};
use crate::program::scope::Group;
use crate::program::selectivity::{base_chance, shared_chance};
use crate::program::vocabulary::{FieldKey, Vocabulary};
use crate::program::witness::witnesses;
use crate::rule::{Rule, RuleLogsource};
use crate::rule_set::RuleSet;

/// All rules of a set, compiled. Cheap to clone: clones share it.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) inner: Arc<Inner>,
}

/// What clones of a program share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) fields: Vec<FieldIndex>,
    names: Vec<FieldKey>,
    ids: HashMap<Box<str>, FieldId>,
    /// The fields keywords are looked for as.
    pub(crate) keywords: Vec<FieldId>,
    pub(crate) pairs: Vec<Pair>,
    /// The fields that are compared with each other.
    paired: BitSet,
    pub(crate) code: Code,
    pub(crate) entries: Vec<Entry>,
    pub(crate) predicate_count: u32,
    /// `witness_starts[p]..witness_starts[p + 1]` are the rules predicate `p` is a witness of.
    witness_starts: Vec<u32>,
    witness_rules: Vec<u32>,
    pub(crate) groups: Vec<Group>,
}

impl Program {
    /// Compiles the detection rules of a set; hits name them by their index in it.
    pub fn compile(rules: &RuleSet) -> Self {
        Self { inner: Arc::new(Inner::new(rules.rules())) }
    }

    /// Returns the names of all fields some rule looks at, in no particular order. A reader need
    /// not read any other, unless a rule looks for keywords: see [`Program::has_keywords`].
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.inner.ids.keys().map(AsRef::as_ref)
    }

    /// Returns whether some rule looks at a field.
    pub fn wants(&self, field: &str) -> bool {
        self.inner.ids.contains_key(field)
    }

    /// Returns the id of a field, if some rule looks at it.
    pub fn field(&self, name: &str) -> Option<FieldId> {
        self.inner.field_id(name)
    }

    /// Returns whether some rule looks for keywords, and so at every field.
    pub fn has_keywords(&self) -> bool {
        !self.inner.keywords.is_empty()
    }

    /// Returns how many rules there are.
    pub fn rule_count(&self) -> usize {
        self.inner.entries.len()
    }

    /// Returns how many predicates the rules come down to, equal ones counted once.
    pub fn predicate_count(&self) -> usize {
        self.inner.predicate_count as usize
    }
}

impl Inner {
    fn new(rules: &[Rule]) -> Self {
        let mut vocabulary = Vocabulary::default();
        let formulas: Vec<Formula> = rules.iter().map(|rule| vocabulary.lower(rule)).collect();
        let chances = chances(&vocabulary);
        let mut code = Code::default();
        let entries = formulas.iter().map(|formula| code.emit(formula, &chances)).collect();
        let mut of_predicate: Vec<Vec<u32>> = vec![Vec::new(); vocabulary.predicate_count as usize];
        let mut without = BitSet::new(rules.len());
        for (rule, formula) in (0_u32..).zip(&formulas) {
            match witnesses(formula, &chances) {
                Some(found) => {
                    for predicate in found.predicates {
                        if let Some(list) = of_predicate.get_mut(predicate.0 as usize) {
                            list.push(rule);
                        }
                    }
                }
                None => without.insert(rule),
            }
        }
        let groups = groups(rules, &formulas, &vocabulary, &without);
        let field_count = vocabulary.fields.len();
        let (witness_starts, witness_rules) = filed(of_predicate);
        let mut paired = BitSet::new(field_count);
        vocabulary.pairs.iter().flat_map(|pair| [pair.target, pair.other]).for_each(|field| paired.insert(field.0));
        let mut inner = Self {
            fields: vocabulary.fields.iter().map(FieldIndex::new).collect(),
            names: vocabulary.fields.into_iter().map(|field| field.key).collect(),
            ids: HashMap::with_capacity(field_count),
            keywords: Vec::new(),
            paired,
            pairs: vocabulary.pairs,
            code,
            entries,
            predicate_count: vocabulary.predicate_count,
            witness_starts,
            witness_rules,
            groups,
        };
        for (id, key) in (0..).map(FieldId).zip(&inner.names) {
            match key {
                FieldKey::Named(name) => drop(inner.ids.insert(name.as_str().into(), id)),
                FieldKey::Keywords(_) => inner.keywords.push(id),
            }
        }
        inner
    }

    /// Returns the id of a field, if some rule looks at it.
    pub(crate) fn field_id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// Returns the name of a field; keywords have none.
    pub(crate) fn field_name(&self, field: FieldId) -> Option<&str> {
        match self.names.get(field.0 as usize)? {
            FieldKey::Named(name) => Some(name),
            FieldKey::Keywords(_) => None,
        }
    }

    /// Returns whether a field's values are compared with another's.
    #[inline]
    pub(crate) fn is_paired(&self, field: FieldId) -> bool {
        self.paired.contains(field.0)
    }

    /// Returns the rules a predicate is a witness of.
    pub(crate) fn witnessed_by(&self, predicate: u32) -> &[u32] {
        let place = predicate as usize;
        match (self.witness_starts.get(place), self.witness_starts.get(place + 1)) {
            (Some(from), Some(to)) => self.witness_rules.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// How often each predicate can be expected to fire.
fn chances(vocabulary: &Vocabulary) -> Vec<f32> {
    let mut chances = vec![0.0_f32; vocabulary.predicate_count as usize];
    for field in &vocabulary.fields {
        let mut uses = vec![0_usize; field.atoms.len()];
        for (_, atoms) in &field.predicates {
            for atom in atoms {
                if let Some(count) = uses.get_mut(atom.0 as usize) {
                    *count += 1;
                }
            }
        }
        let of_atom: Vec<f32> = field
            .atoms
            .iter()
            .zip(&uses)
            .map(|((key, test), uses)| shared_chance(base_chance(key, test.as_ref()), *uses))
            .collect();
        // A keyword may stand in any of some twenty values.
        let values = if matches!(field.key, FieldKey::Keywords(_)) { 5.0 } else { 1.0 };
        for (predicate, atoms) in &field.predicates {
            let sum: f32 = atoms.iter().filter_map(|atom| of_atom.get(atom.0 as usize)).sum();
            if let Some(chance) = chances.get_mut(predicate.0 as usize) {
                *chance = (sum * values).min(0.95);
            }
        }
    }
    chances
}

/// Rules of equal logsource, with the fields they look at.
fn groups(rules: &[Rule], formulas: &[Formula], vocabulary: &Vocabulary, without: &BitSet) -> Vec<Group> {
    let mut field_of = vec![0_u32; vocabulary.predicate_count as usize];
    for (field, draft) in (0_u32..).zip(&vocabulary.fields) {
        for (predicate, _) in &draft.predicates {
            if let Some(slot) = field_of.get_mut(predicate.0 as usize) {
                *slot = field;
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<RuleLogsource, usize> = HashMap::new();
    for ((rule, formula), index) in rules.iter().zip(formulas).zip(0_u32..) {
        let logsource = RuleLogsource { definition: None, ..rule.logsource.clone() };
        let place = *places.entry(logsource.clone()).or_insert_with(|| {
            let (all, fields) = (BitSet::new(rules.len()), BitSet::new(vocabulary.fields.len()));
            groups.push(Group { logsource, rules: all, fields, always: Vec::new() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(place) else { continue };
        group.rules.insert(index);
        add_fields(formula, &field_of, vocabulary, &mut group.fields);
        if without.contains(index) {
            group.always.push(index);
        }
    }
    groups
}

fn add_fields(formula: &Formula, field_of: &[u32], vocabulary: &Vocabulary, fields: &mut BitSet) {
    match formula {
        Formula::All(parts) | Formula::Any(parts) => {
            parts.iter().for_each(|part| add_fields(part, field_of, vocabulary, fields));
        }
        Formula::Leaf { ask: Ask::Predicate(predicate), .. } => {
            if let Some(field) = field_of.get(predicate.0 as usize) {
                fields.insert(*field);
            }
        }
        Formula::Leaf { ask: Ask::Pair(pair), .. } => {
            if let Some(pair) = vocabulary.pairs.get(*pair as usize) {
                fields.insert(pair.target.0);
                fields.insert(pair.other.0);
            }
        }
    }
}

fn filed(lists: Vec<Vec<u32>>) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0];
    let mut all = Vec::new();
    for list in lists {
        all.extend(list);
        starts.push(u32::try_from(all.len()).unwrap_or(u32::MAX));
    }
    (starts, all)
}
