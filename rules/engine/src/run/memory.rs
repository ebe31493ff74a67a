//! What is known of values seen before: which predicates each fires, and of which rules these are
//! witnesses.
//!
//! Logs repeat themselves: of the values rules look at, nine in ten have been seen a short while ago.
//! The memory is bounded by entries and bytes and forgets by generations: when the young one is
//! full it becomes the old one, and what is asked for again moves back. Lists of predicates are
//! held once, however many values have them. Forgetting happens between batches only, so a list's
//! number holds for the batch. Answers never depend on what is remembered.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::program::{FieldId, FieldIndex, Inner, PredicateId, Scratch};

/// Longest value that is remembered: script blocks come up to 32 kB, and the same ones again.
const MAX_REMEMBERED_BYTES: usize = 32 << 10;

/// Most numbers of all lists; past it everything is forgotten.
const MAX_LISTED: usize = 4 << 20;

/// The number of a list; lists are numbered from 0, which is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListId(pub(crate) u32);

/// What a value fires.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    /// The predicates.
    pub(crate) predicates: &'a [u32],
    /// The rules of which one of these is a witness.
    pub(crate) witnessed: &'a [u32],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    field: u32,
    start: u32,
    length: u32,
    list: ListId,
}

#[derive(Debug, Default)]
struct Generation {
    table: HashTable<Entry>,
    text: String,
}

#[derive(Debug, Default)]
struct Lists {
    table: HashTable<u32>,
    /// Of each list: where it starts, how many predicates, how many rules.
    spans: Vec<(u32, u32, u32)>,
    numbers: Vec<u32>,
}

/// How much a matcher may remember of values seen before: so much twice over, and one batch more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most values of one generation.
    pub values: usize,
    /// Most text of one generation, in bytes.
    pub text_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { values: 1 << 18, text_bytes: 24 << 20 }
    }
}

/// How often values were known, for benches and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounts {
    /// Values that had been seen before.
    pub known: u64,
    /// Values that had to be looked at.
    pub looked_at: u64,
}

/// What is known of values seen before.
#[derive(Debug)]
pub(crate) struct Memory {
    young: Generation,
    old: Generation,
    lists: Lists,
    hasher: RandomState,
    scratch: Scratch,
    fired: Vec<PredicateId>,
    list: Vec<u32>,
    limits: MemoryLimits,
    pub(crate) counts: MemoryCounts,
}

impl Memory {
    /// Returns an empty memory.
    pub(crate) fn new(program: &Inner, limits: MemoryLimits) -> Self {
        let mut memory = Self {
            young: Generation::default(),
            old: Generation::default(),
            lists: Lists::default(),
            hasher: RandomState::default(),
            scratch: Scratch::new(program.fields.iter().flat_map(FieldIndex::room)),
            fired: Vec::new(),
            list: Vec::new(),
            limits,
            counts: MemoryCounts::default(),
        };
        memory.lists.reset(&memory.hasher);
        memory
    }

    /// Forgets what there is no room for any more. To be called between batches.
    pub(crate) fn begin_batch(&mut self) {
        if self.lists.numbers.len() > MAX_LISTED {
            self.young.clear();
            self.old.clear();
            self.lists.reset(&self.hasher);
        }
        if self.young.is_full(self.limits) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }

    /// Returns what a list holds.
    pub(crate) fn listed(&self, list: ListId) -> Listed<'_> {
        self.lists.get(list)
    }

    /// Returns the list of a value; `None` is a value that is nothing.
    pub(crate) fn resolve(&mut self, program: &Inner, field: FieldId, value: Option<&str>) -> ListId {
        let is_forgettable = program.fields.get(field.0 as usize).is_none_or(|index| index.is_forgettable);
        let Some(text) = value.filter(|text| text.len() <= MAX_REMEMBERED_BYTES && !is_forgettable) else {
            return self.look_at(program, field, value);
        };
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(field.0);
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        if let Some(list) = self.young.find(hash, field, text) {
            self.counts.known += 1;
            return list;
        }
        let list = match self.old.find(hash, field, text) {
            Some(list) => {
                self.counts.known += 1;
                list
            }
            None => self.look_at(program, field, value),
        };
        self.young.insert(hash, field, text, list);
        list
    }

    fn look_at(&mut self, program: &Inner, field: FieldId, value: Option<&str>) -> ListId {
        self.counts.looked_at += 1;
        let Some(index) = program.fields.get(field.0 as usize) else { return ListId::default() };
        index.find(value, &mut self.scratch, &mut self.fired);
        if self.fired.is_empty() {
            return ListId::default();
        }
        self.list.clear();
        self.list.extend(self.fired.iter().map(|predicate| predicate.0));
        let predicates = self.list.len();
        for predicate in &self.fired {
            self.list.extend_from_slice(program.witnessed_by(predicate.0));
        }
        sort_tail(&mut self.list, predicates);
        self.lists.intern(&self.list, predicates, &self.hasher)
    }
}

/// Sorts what stands behind `from` and takes repetitions out.
fn sort_tail(list: &mut Vec<u32>, from: usize) {
    let Some(tail) = list.get_mut(from..) else { return };
    tail.sort_unstable();
    let mut kept = 0;
    let mut last = None;
    for place in 0..tail.len() {
        let Some(number) = tail.get(place).copied() else { continue };
        if last != Some(number) {
            last = Some(number);
            if let Some(slot) = tail.get_mut(kept) {
                *slot = number;
            }
            kept += 1;
        }
    }
    list.truncate(from + kept);
}

impl Generation {
    fn is_full(&self, limits: MemoryLimits) -> bool {
        self.table.len() >= limits.values || self.text.len() >= limits.text_bytes
    }

    fn clear(&mut self) {
        self.table.clear();
        self.text.clear();
    }

    fn find(&self, hash: u64, field: FieldId, text: &str) -> Option<ListId> {
        let same = |entry: &Entry| entry.hash == hash && entry.field == field.0 && self.text_of(entry) == Some(text);
        self.table.find(hash, same).map(|entry| entry.list)
    }

    fn text_of(&self, entry: &Entry) -> Option<&str> {
        self.text.get(entry.start as usize..(entry.start + entry.length) as usize)
    }

    /// A batch's own bounds keep the text of one generation far below 2^32.
    fn insert(&mut self, hash: u64, field: FieldId, text: &str, list: ListId) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (start, length) = (narrow(self.text.len()), narrow(text.len()));
        self.text.push_str(text);
        self.table.insert_unique(hash, Entry { hash, field: field.0, start, length, list }, |entry| entry.hash);
    }
}

impl Lists {
    /// Forgets all lists but the empty one.
    fn reset(&mut self, hasher: &RandomState) {
        self.table.clear();
        self.spans.clear();
        self.numbers.clear();
        self.intern(&[], 0, hasher);
    }

    fn get(&self, list: ListId) -> Listed<'_> {
        let (start, predicates, rules) = self.spans.get(list.0 as usize).copied().unwrap_or_default();
        let (start, predicates, rules) = (start as usize, predicates as usize, rules as usize);
        let numbers = self.numbers.get(start..start + predicates + rules).unwrap_or_default();
        match numbers.split_at_checked(predicates) {
            Some((predicates, witnessed)) => Listed { predicates, witnessed },
            None => Listed { predicates: &[], witnessed: &[] },
        }
    }

    fn intern(&mut self, numbers: &[u32], predicates: usize, hasher: &RandomState) -> ListId {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        // The rules follow from the predicates, so comparing these is enough.
        let key = numbers.get(..predicates).unwrap_or_default();
        let hash = hasher.hash_one(key);
        if let Some(index) = self.table.find(hash, |index| self.get(ListId(*index)).predicates == key) {
            return ListId(*index);
        }
        let index = narrow(self.spans.len());
        let start = narrow(self.numbers.len());
        self.numbers.extend_from_slice(numbers);
        self.spans.push((start, narrow(predicates), narrow(numbers.len() - predicates)));
        let (spans, all) = (&self.spans, &self.numbers);
        let rehash = |index: &u32| {
            let (start, predicates, _) = spans.get(*index as usize).copied().unwrap_or_default();
            let key = all.get(start as usize..(start + predicates) as usize).unwrap_or_default();
            hasher.hash_one(key)
        };
        self.table.insert_unique(hash, index, rehash);
        ListId(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_sorted_and_rid_of_repetitions() {
        let mut list = vec![9, 8, 3, 1, 3, 2, 1];
        sort_tail(&mut list, 2);
        assert_eq!(list, [9, 8, 1, 2, 3]);
    }

    #[test]
    fn equal_lists_are_one() {
        let hasher = RandomState::default();
        let mut lists = Lists::default();
        lists.reset(&hasher);
        let one = lists.intern(&[1, 2, 7], 2, &hasher);
        assert_eq!(lists.intern(&[1, 2, 7], 2, &hasher), one);
        assert_ne!(lists.intern(&[1, 7], 1, &hasher), one);
        assert_eq!(lists.get(one).witnessed, [7]);
        assert_eq!(lists.intern(&[], 0, &hasher), ListId(0));
    }
}
