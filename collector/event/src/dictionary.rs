//! The distinct values of one column, each stored once.
//!
//! Comes in: values. Goes out: codes, in order of first appearance. Bounded by the builder, which
//! asks before it inserts.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::value::{Value, ValueKind};

/// Distinct values in order of their codes: one arena of text, the end of each, its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dictionary {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
    pub(crate) kinds: Vec<ValueKind>,
}

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, code: usize) -> Option<Value<'_>> {
        let end = *self.ends.get(code)?;
        let start = match code.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        let text = self.text.get(start as usize..end as usize)?;
        Some(Value { kind: *self.kinds.get(code)?, text })
    }

    pub(crate) fn push(&mut self, value: Value<'_>) {
        self.text.push_str(value.text);
        // The arena is bounded by MAX_DICTIONARY_BYTES, far below 2^32.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        self.kinds.push(value.kind);
    }

    fn truncate(&mut self, len: usize) {
        let end = match len.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(end) => *end as usize,
            None => 0,
        };
        self.text.truncate(end);
        self.ends.truncate(len);
        self.kinds.truncate(len);
    }
}

/// A dictionary with the hash index that finds a value's code; the index stays with the builder.
#[derive(Debug, Default)]
pub(crate) struct DictionaryBuilder {
    pub(crate) dictionary: Dictionary,
    index: HashTable<u16>,
    hasher: RandomState,
}

impl DictionaryBuilder {
    /// Returns the code of `value` if it has one.
    pub(crate) fn find(&self, value: Value<'_>) -> Option<u16> {
        let hash = self.hasher.hash_one(value);
        self.index.find(hash, |code| self.dictionary.get(usize::from(*code)) == Some(value)).copied()
    }

    /// Gives `value` the next code.
    ///
    /// # Contract
    /// `value` has none yet, and fewer than 65,535 values are held.
    pub(crate) fn insert(&mut self, value: Value<'_>) -> u16 {
        let code = u16::try_from(self.dictionary.len()).unwrap_or(u16::MAX);
        self.dictionary.push(value);
        let (dictionary, hasher) = (&self.dictionary, &self.hasher);
        let rehash = |code: &u16| dictionary.get(usize::from(*code)).map_or(0, |value| hasher.hash_one(value));
        self.index.insert_unique(hasher.hash_one(value), code, rehash);
        code
    }

    /// Takes back every value from code `len` on, as an abandoned row must.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len == self.dictionary.len() {
            return;
        }
        self.index.retain(|code| usize::from(*code) < len);
        self.dictionary.truncate(len);
    }
}
