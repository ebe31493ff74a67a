//! The predicates of all rules, each once, while rules are lowered into formulas over them.

use hashbrown::HashMap;

use crate::detection::{Clause, Condition, Detection, Item, Join, Relation, Target, Test};
use crate::program::atom::{AtomId, AtomKey};
use crate::program::formula::{Ask, Formula};
use crate::program::ids::{FieldId, Pair, PredicateId};
use crate::rule::{Rule, RuleLogsource};

/// What a field of the program is. Keywords are a field of their own for each logsource that has
/// some: a rule for one kind of log must not make every value of all others be searched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FieldKey {
    Named(String),
    Keywords(RuleLogsource),
}

/// The tests and predicates of one field.
#[derive(Debug)]
pub(crate) struct FieldDraft {
    pub(crate) key: FieldKey,
    /// The tests, in order of their ids; `None` for the two that are no test of a rule.
    pub(crate) atoms: Vec<(AtomKey, Option<Test>)>,
    pub(crate) predicates: Vec<(PredicateId, Vec<AtomId>)>,
    atom_ids: HashMap<AtomKey, AtomId>,
    predicate_ids: HashMap<Vec<AtomId>, PredicateId>,
}

/// All fields, predicates and pairs met so far.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) fields: Vec<FieldDraft>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) predicate_count: u32,
    field_ids: HashMap<FieldKey, FieldId>,
    pair_ids: HashMap<Pair, u32>,
    /// The field of the keywords of the rule that is being lowered.
    keywords: FieldKey,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            fields: Vec::new(),
            pairs: Vec::new(),
            predicate_count: 0,
            field_ids: HashMap::new(),
            pair_ids: HashMap::new(),
            keywords: FieldKey::Keywords(RuleLogsource::default()),
        }
    }
}

impl Vocabulary {
    /// Returns the formula of a rule, its predicates added.
    pub(crate) fn lower(&mut self, rule: &Rule) -> Formula {
        self.keywords = FieldKey::Keywords(RuleLogsource { definition: None, ..rule.logsource.clone() });
        self.condition(&rule.detection.condition, &rule.detection, true)
    }

    /// Returns the id of a field, adding it if it is new.
    fn field(&mut self, key: FieldKey) -> FieldId {
        if let Some(id) = self.field_ids.get(&key) {
            return *id;
        }
        let id = FieldId(u32::try_from(self.fields.len()).unwrap_or(u32::MAX));
        self.fields.push(FieldDraft::new(key.clone()));
        self.field_ids.insert(key, id);
        id
    }

    /// `wanted` is false below an odd number of `not`s: formulas hold them at their leaves only.
    fn condition(&mut self, condition: &Condition, detection: &Detection, wanted: bool) -> Formula {
        match condition {
            Condition::Not(part) => self.condition(part, detection, !wanted),
            Condition::All(parts) => {
                Formula::all(wanted, parts.iter().map(|part| self.condition(part, detection, wanted)).collect())
            }
            Condition::Any(parts) => {
                Formula::all(!wanted, parts.iter().map(|part| self.condition(part, detection, wanted)).collect())
            }
            Condition::Search(place) => match detection.searches.get(*place) {
                Some(search) => self.clause(&search.clause, wanted),
                None => Formula::all(!wanted, Vec::new()),
            },
        }
    }

    fn clause(&mut self, clause: &Clause, wanted: bool) -> Formula {
        match clause {
            Clause::All(parts) => Formula::all(wanted, parts.iter().map(|part| self.clause(part, wanted)).collect()),
            Clause::Any(parts) => Formula::all(!wanted, parts.iter().map(|part| self.clause(part, wanted)).collect()),
            Clause::Item(item) => self.item(item, wanted),
        }
    }

    fn item(&mut self, item: &Item, wanted: bool) -> Formula {
        let field = match &item.target {
            Target::Field(name) => self.field(FieldKey::Named(name.clone())),
            Target::Keyword => self.field(self.keywords.clone()),
        };
        if item.negated {
            // There must be a value, and the tests must not hold.
            let present = self.present(field, wanted);
            let tests = self.tests(item, field, !wanted);
            return Formula::all(wanted, vec![present, tests]);
        }
        self.tests(item, field, wanted)
    }

    fn tests(&mut self, item: &Item, field: FieldId, wanted: bool) -> Formula {
        if item.join == Join::Every {
            let each = item.tests.iter().map(|test| match test {
                Test::OneOf(variants) => self.one_of(variants, field, wanted),
                single => self.one_of(std::slice::from_ref(single), field, wanted),
            });
            let each: Vec<Formula> = each.collect();
            return Formula::all(wanted, each);
        }
        self.one_of(&item.tests, field, wanted)
    }

    /// One predicate for all tests of a value, and what is more than a test of a value beside it.
    fn one_of(&mut self, tests: &[Test], field: FieldId, wanted: bool) -> Formula {
        let mut parts = Vec::new();
        let mut atoms = Vec::new();
        for test in tests {
            match test {
                Test::Null => {
                    let null = self.atom_predicate(field, AtomKey::Null);
                    let absent = self.present(field, !wanted);
                    parts.push(absent);
                    parts.push(Formula::Leaf { ask: Ask::Predicate(null), wanted });
                }
                Test::Exists(there) => parts.push(self.present(field, *there == wanted)),
                Test::Reference { field: other, relation, cased } => {
                    parts.push(self.pair(field, other, *relation, *cased, wanted));
                }
                _ => atoms.extend(AtomKey::of(test).and_then(|key| self.atom(field, key, Some(test)))),
            }
        }
        if !atoms.is_empty() {
            let ask = Ask::Predicate(self.predicate(field, atoms));
            parts.push(Formula::Leaf { ask, wanted });
        }
        Formula::all(!wanted, parts)
    }

    fn present(&mut self, field: FieldId, wanted: bool) -> Formula {
        let predicate = self.atom_predicate(field, AtomKey::Present);
        Formula::Leaf { ask: Ask::Predicate(predicate), wanted }
    }

    /// The comparison of two fields; it cannot hold unless both are there, which is cheaper to ask.
    fn pair(&mut self, target: FieldId, other: &str, relation: Relation, cased: bool, wanted: bool) -> Formula {
        let other = self.field(FieldKey::Named(other.to_owned()));
        let pair = Pair { target, other, relation, cased };
        let next = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
        let id = *self.pair_ids.entry(pair.clone()).or_insert(next);
        if id == next {
            self.pairs.push(pair);
        }
        let present = [self.present(target, wanted), self.present(other, wanted)];
        let compared = Formula::Leaf { ask: Ask::Pair(id), wanted };
        Formula::all(wanted, present.into_iter().chain([compared]).collect())
    }

    fn atom_predicate(&mut self, field: FieldId, key: AtomKey) -> PredicateId {
        let atoms = self.atom(field, key, None).into_iter().collect();
        self.predicate(field, atoms)
    }

    fn atom(&mut self, field: FieldId, key: AtomKey, test: Option<&Test>) -> Option<AtomId> {
        let draft = self.fields.get_mut(field.0 as usize)?;
        let next = AtomId(u32::try_from(draft.atoms.len()).unwrap_or(u32::MAX));
        let id = *draft.atom_ids.entry(key.clone()).or_insert(next);
        if id == next {
            draft.atoms.push((key, test.cloned()));
        }
        Some(id)
    }

    fn predicate(&mut self, field: FieldId, mut atoms: Vec<AtomId>) -> PredicateId {
        atoms.sort_unstable();
        atoms.dedup();
        let next = PredicateId(self.predicate_count);
        let Some(draft) = self.fields.get_mut(field.0 as usize) else { return next };
        let id = *draft.predicate_ids.entry(atoms.clone()).or_insert(next);
        if id == next {
            draft.predicates.push((id, atoms));
            self.predicate_count += 1;
        }
        id
    }
}

impl FieldDraft {
    fn new(key: FieldKey) -> Self {
        Self { key, atoms: Vec::new(), predicates: Vec::new(), atom_ids: HashMap::new(), predicate_ids: HashMap::new() }
    }
}
