//! What is known of values seen before: which predicates each fires, and of which rules these are
//! witnesses.
//!
//! Logs repeat themselves: of the values rules look at, nine in ten have been seen a short while ago.
//! The memory is bounded by entries and bytes and forgets by generations: when the young one is
//! full it becomes the old one, and what is asked for again moves back. Forgetting happens between
//! batches only, so a list's number holds for the batch. Answers never depend on what is remembered.
//!
//! A value is remembered as its record writes it, escapes and all, so that escapes of known values
//! need not be undone.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::program::{FieldId, FieldIndex, Inner, PredicateId, Scratch};
use crate::run::generation::{Entry, Generation, Slot, ValueHash, ValueKey};
use crate::run::lists::{ListId, Listed, Lists};

/// Longest value that is remembered: script blocks come up to 32 kB, and the same ones again.
const MAX_REMEMBERED_BYTES: usize = 32 << 10;

/// Most numbers of all lists; past it everything is forgotten.
const MAX_LISTED: usize = 4 << 20;

/// How many questions are answered side by side: more than an event has, as a rule.
const AT_A_TIME: usize = 16;

/// Marks the key of a value whose text has escapes; fields are numbered far below.
const ESCAPED: u32 = 1 << 31;

/// Appends to a text what another means, its escapes undone.
pub(crate) type Undo = fn(&str, &mut String);

/// How a value's text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is meant.
    Plain,
    /// With escapes.
    Escaped,
    /// Not at all: the value is nothing.
    Nothing,
}

/// A value somebody wants the list of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    field: FieldId,
    key: ValueKey,
    hash: ValueHash,
    /// What it is to whoever asks.
    pub(crate) of: (u32, u32),
    pub(crate) answer: ListId,
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
    undone: String,
    fired: Vec<PredicateId>,
    list: Vec<u32>,
    limits: MemoryLimits,
    pub(crate) counts: MemoryCounts,
}

impl Memory {
    /// Returns an empty memory.
    pub(crate) fn new(program: &Inner, limits: MemoryLimits) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            lists: Lists::new(),
            hasher: RandomState::default(),
            scratch: Scratch::new(program.fields.iter().flat_map(FieldIndex::room)),
            undone: String::new(),
            fired: Vec::new(),
            list: Vec::new(),
            limits,
            counts: MemoryCounts::default(),
        }
    }

    /// Forgets what there is no room for any more. To be called between batches.
    #[inline]
    pub(crate) fn begin_batch(&mut self) {
        if self.lists.size() > MAX_LISTED {
            self.young.clear();
            self.old.clear();
            self.lists.clear();
        }
        if self.young.len() >= self.limits.values || self.young.text_bytes() >= self.limits.text_bytes {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }

    /// Returns what a list holds.
    #[inline]
    pub(crate) fn listed(&self, list: ListId) -> Listed<'_> {
        self.lists.get(list)
    }

    /// Returns whether a value is to be remembered, so that it may be asked about.
    #[inline]
    pub(crate) fn remembers(program: &Inner, field: FieldId, text: &str) -> bool {
        text.len() <= MAX_REMEMBERED_BYTES
            && program.fields.get(field.0 as usize).is_some_and(|index| !index.is_forgettable)
    }

    /// Returns the question after a value that is to be remembered; `of` is what it is to the asker.
    #[inline]
    pub(crate) fn question(&self, field: FieldId, form: Form, text: &str, of: (u32, u32)) -> Question {
        let key = ValueKey(if form == Form::Escaped { field.0 | ESCAPED } else { field.0 });
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(key.0);
        hasher.write(text.as_bytes());
        // The upper half is the better mixed one.
        let hash = ValueHash(u32::try_from(hasher.finish() >> 32).unwrap_or(0));
        Question { field, key, hash, of, answer: ListId::default() }
    }

    /// Answers questions, side by side. `text_of` returns the text of each, `undo` undoes escapes.
    pub(crate) fn answer<'t>(
        &mut self,
        program: &Inner,
        questions: &mut [Question],
        text_of: impl Fn(&Question) -> &'t str,
        undo: Undo,
    ) {
        for questions in questions.chunks_mut(AT_A_TIME) {
            let mut slots = [Slot::default(); AT_A_TIME];
            for (slot, question) in slots.iter_mut().zip(&*questions) {
                *slot = self.young.slot(question.hash);
            }
            let mut entries: [Option<Entry>; AT_A_TIME] = [None; AT_A_TIME];
            for ((entry, slot), question) in entries.iter_mut().zip(slots).zip(&*questions) {
                *entry = self.young.entry(slot, question.hash);
            }
            for (question, entry) in questions.iter_mut().zip(entries) {
                let text = text_of(question);
                let known = entry.and_then(|entry| self.young.list(entry, question.key, text));
                question.answer = match known {
                    Some(list) => {
                        self.counts.known += 1;
                        list
                    }
                    None => self.search(program, question, text, undo),
                };
            }
        }
    }

    /// Answers a question whose value did not stand in its first place.
    fn search(&mut self, program: &Inner, question: &Question, text: &str, undo: Undo) -> ListId {
        let Question { field, key, hash, .. } = *question;
        if let Some(list) = self.young.find(hash, key, text) {
            self.counts.known += 1;
            return list;
        }
        let list = match self.old.find(hash, key, text) {
            Some(list) => {
                self.counts.known += 1;
                list
            }
            None if key.0 & ESCAPED == 0 => self.look_at(program, field, Some(text)),
            None => {
                let mut undone = std::mem::take(&mut self.undone);
                undone.clear();
                undo(text, &mut undone);
                let list = self.look_at(program, field, Some(&undone));
                self.undone = undone;
                list
            }
        };
        self.young.insert(hash, key, text, list);
        list
    }

    /// Returns the list of a value without remembering it; `None` is a value that is nothing.
    pub(crate) fn look_at(&mut self, program: &Inner, field: FieldId, value: Option<&str>) -> ListId {
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
        self.lists.intern(&self.list, predicates)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_sorted_and_rid_of_repetitions() {
        let mut list = vec![9, 8, 3, 1, 3, 2, 1];
        sort_tail(&mut list, 2);
        assert_eq!(list, [9, 8, 1, 2, 3]);
    }
}
