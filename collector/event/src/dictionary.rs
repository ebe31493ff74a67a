//! The distinct values of one column, each stored once.
//!
//! Comes in: values. Goes out: codes, in order of first appearance. Bounded by the builder, which
//! asks before it inserts.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

use crate::value::{Value, ValueKind};

/// The place of a value that is not known to stand in a record.
pub(crate) const NO_PLACE: u32 = u32::MAX;

/// Distinct values in order of their codes: one arena of text, the end of each, its kind, and where
/// in the batch's raw bytes the same text stands, if it does.
#[derive(Clone, Debug, Default, Eq)]
pub(crate) struct Dictionary {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
    pub(crate) kinds: Vec<ValueKind>,
    pub(crate) places: Vec<u32>,
}

/// Where a value also stands is no part of what it is.
impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.ends == other.ends && self.kinds == other.kinds
    }
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

    pub(crate) fn push(&mut self, value: Value<'_>, place: u32) {
        self.text.push_str(value.text);
        // The arena is bounded by MAX_DICTIONARY_BYTES, far below 2^32.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        self.kinds.push(value.kind);
        self.places.push(place);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        let end = match len.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(end) => *end as usize,
            None => 0,
        };
        self.text.truncate(end);
        self.ends.truncate(len);
        self.kinds.truncate(len);
        self.places.truncate(len);
    }
}

/// Finds the code of a value; stays with the builder when the dictionary leaves in its batch.
#[derive(Debug, Default)]
pub(crate) struct DictionaryIndex {
    table: HashTable<u16>,
    hasher: RandomState,
}

impl DictionaryIndex {
    fn hash(hasher: &RandomState, value: Value<'_>) -> u64 {
        let mut state = hasher.build_hasher();
        state.write(value.text.as_bytes());
        state.write_u8(value.kind.code());
        state.finish()
    }

    /// Returns the code of `value` if `dictionary` has it.
    pub(crate) fn find(&self, dictionary: &Dictionary, value: Value<'_>) -> Option<u16> {
        // A value is most often that of the row before (host, channel, program).
        let last = dictionary.len().checked_sub(1);
        if last.and_then(|code| dictionary.get(code)) == Some(value) {
            return last.and_then(|code| u16::try_from(code).ok());
        }
        let hash = Self::hash(&self.hasher, value);
        self.table.find(hash, |code| dictionary.get(usize::from(*code)) == Some(value)).copied()
    }

    /// Gives `value` the next code; its text also stands at `place` in the raw bytes, or at [`NO_PLACE`].
    ///
    /// # Contract
    /// `dictionary` does not have it yet and holds fewer than 65,535 values.
    pub(crate) fn insert(&mut self, dictionary: &mut Dictionary, value: Value<'_>, place: u32) -> u16 {
        let code = u16::try_from(dictionary.len()).unwrap_or(u16::MAX);
        dictionary.push(value, place);
        let hasher = &self.hasher;
        let rehash = |code: &u16| dictionary.get(usize::from(*code)).map_or(0, |value| Self::hash(hasher, value));
        self.table.insert_unique(Self::hash(hasher, value), code, rehash);
        code
    }

    /// Takes back every value from code `len` on, as an abandoned row must.
    pub(crate) fn truncate(&mut self, dictionary: &mut Dictionary, len: usize) {
        if len < dictionary.len() {
            self.table.retain(|code| usize::from(*code) < len);
            dictionary.truncate(len);
        }
    }

    /// Forgets all values and keeps the table's memory.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
    }
}
