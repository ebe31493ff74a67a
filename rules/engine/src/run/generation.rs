//! Values and the list of each: a hash table made for asking about many values at once.
//!
//! ```text
//!  slots    [hash|entry][    0     ][hash|entry] ...   eight to a cache line, linear probing
//!  entries  [place of the text, length, key, list] ...
//!  text     the values, one behind the other
//! ```
//! What is known of a value lies in three places that are rarely in the cache. Asked about one value
//! after another, the processor waits for each place of each. So a question has three steps, and
//! whoever has several questions takes each step for all of them: the waits then overlap.

use crate::run::lists::ListId;

/// The part of a value's hash that the table goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueHash(pub(crate) u32);

/// What a value is of: a field, and how the text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueKey(pub(crate) u32);

/// What is held of a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    start: u32,
    length: u32,
    key: ValueKey,
    list: ListId,
}

/// The first slot of a value, read but not looked at yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot(u64);

/// Values and their lists.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// A power of two of them, at most half of them taken; 0 is a free one.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    text: String,
}

const FEWEST_SLOTS: usize = 1 << 10;

impl Generation {
    /// Returns how many values there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many bytes all values have together.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Forgets all values; keeps the room.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
        self.text.clear();
    }

    /// First step: reads the slot where a value's search begins.
    #[inline]
    pub(crate) fn slot(&self, hash: ValueHash) -> Slot {
        Slot(self.slots.get(self.place_of(hash)).copied().unwrap_or(0))
    }

    /// Second step: reads the entry that a slot is of, if it may be the value's.
    #[inline]
    pub(crate) fn entry(&self, slot: Slot, hash: ValueHash) -> Option<Entry> {
        if slot.0 >> 32 != u64::from(hash.0) { None } else { self.entry_of(slot) }
    }

    /// Third step: returns the value's list if the entry is the value's.
    #[inline]
    pub(crate) fn list(&self, entry: Entry, key: ValueKey, text: &str) -> Option<ListId> {
        let known = self.text.as_bytes().get(entry.start as usize..)?.get(..entry.length as usize)?;
        (entry.key == key && known == text.as_bytes()).then_some(entry.list)
    }

    /// Takes all steps for one value, and the further slots if the first is not the value's.
    pub(crate) fn find(&self, hash: ValueHash, key: ValueKey, text: &str) -> Option<ListId> {
        let mut place = self.place_of(hash);
        loop {
            let slot = Slot(*self.slots.get(place).filter(|slot| **slot != 0)?);
            let found = self.entry(slot, hash).and_then(|entry| self.list(entry, key, text));
            if found.is_some() {
                return found;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds a value that is not there.
    ///
    /// # Contract
    /// The text of all values stays below 2^32 bytes, since the memory's limits are far below.
    pub(crate) fn insert(&mut self, hash: ValueHash, key: ValueKey, text: &str, list: ListId) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        if self.entries.len() * 2 >= self.slots.len() {
            self.grow();
        }
        self.entries.push(Entry { start: narrow(self.text.len()), length: narrow(text.len()), key, list });
        self.text.push_str(text);
        self.take_slot(u64::from(hash.0) << 32 | u64::from(narrow(self.entries.len())));
    }

    fn place_of(&self, hash: ValueHash) -> usize {
        // The upper bits choose the place; with no slots at all any place will do.
        (hash.0 >> (32 - self.slots.len().max(2).ilog2())) as usize
    }

    /// A slot holds the entry's place plus one, so that no taken slot is 0.
    fn entry_of(&self, slot: Slot) -> Option<Entry> {
        let place = u32::try_from(slot.0 & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
        self.entries.get(place as usize).copied()
    }

    fn take_slot(&mut self, slot: u64) {
        let mut place = self.place_of(ValueHash(u32::try_from(slot >> 32).unwrap_or(0)));
        while let Some(there) = self.slots.get_mut(place) {
            if *there == 0 {
                *there = slot;
                return;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    fn grow(&mut self) {
        let count = (self.slots.len() * 2).max(FEWEST_SLOTS);
        let taken = std::mem::replace(&mut self.slots, vec![0; count]);
        taken.into_iter().filter(|slot| *slot != 0).for_each(|slot| self.take_slot(slot));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_knows_what_a_map_knows(asked in proptest::collection::vec((0..8_u32, 0..3_u32, "[ab]{0,3}"), 0..300)) {
            let (mut generation, mut map) = (Generation::default(), HashMap::new());
            for (number, (hash, key, text)) in (1..).zip(asked) {
                // Few hashes, at both ends of the table, so that searches run into each other and wrap.
                let hash = ValueHash((hash ^ u32::from(text.len() > 1)).wrapping_sub(2) ^ key);
                let (key, list) = (ValueKey(key), ListId(number));
                let known = map.get(&(hash.0, key.0, text.clone())).copied();
                prop_assert_eq!(generation.find(hash, key, &text), known);
                let stepwise = generation.entry(generation.slot(hash), hash).and_then(|entry| generation.list(entry, key, &text));
                prop_assert!(stepwise.is_none() || stepwise == known);
                if known.is_none() {
                    generation.insert(hash, key, &text, list);
                    map.insert((hash.0, key.0, text), list);
                }
            }
            prop_assert_eq!(generation.len(), map.len());
        }
    }

    #[test]
    fn an_emptied_one_knows_nothing() {
        let mut generation = Generation::default();
        for number in 0..5_000 {
            generation.insert(ValueHash(number << 18), ValueKey(1), "x", ListId(number));
        }
        assert_eq!(generation.find(ValueHash(77 << 18), ValueKey(1), "x"), Some(ListId(77)));
        generation.clear();
        assert_eq!((generation.find(ValueHash(77 << 18), ValueKey(1), "x"), generation.text_bytes()), (None, 0));
    }
}
