//! The groups of one rule: found by key, ordered by when they were last touched, bounded.
//!
//! ```text
//! index: key ─► place        slab: entries in chunks, no slack of doubling
//! oldest ◄──► entry ◄──► entry ◄──► newest      last touched, in the order of the events
//! ```
//!
//! The order of touching decides which group is dropped and in which order a snapshot is written,
//! so both are functions of the events and of nothing else.

use hashbrown::HashTable;
use serde::de::Deserializer;
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use crate::episode::Episode;
use crate::shelf::LinkNumber;
use crate::siphash::Key;

/// Entries a chunk of the slab holds.
const CHUNK: usize = 1_024;

/// No entry.
const NONE: u32 = u32::MAX;

/// Bytes a group costs besides what its window has on the heap: slot, index, and its part of the
/// index's empty places.
const INDEX_BYTES: usize = 10;

/// One group: what it remembers, the detection under way if its rule was met, and its last event
/// on the shelf.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Group<W> {
    pub(crate) window: W,
    pub(crate) episode: Option<Box<Episode>>,
    pub(crate) chain: LinkNumber,
}

#[derive(Clone, Debug, Default)]
struct Entry<W> {
    key: Key,
    older: u32,
    newer: u32,
    group: Group<W>,
}

/// The groups of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Groups<W> {
    index: HashTable<u32>,
    chunks: Vec<Vec<Entry<W>>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

impl<W> Default for Groups<W> {
    fn default() -> Self {
        Self { index: HashTable::new(), chunks: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl<W: Default> Groups<W> {
    /// Returns what one group costs besides what its window has on the heap.
    pub(crate) const fn entry_bytes() -> usize {
        size_of::<Entry<W>>() + INDEX_BYTES
    }

    /// Returns how many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    fn entry(&self, place: u32) -> Option<&Entry<W>> {
        let place = place as usize;
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry<W>> {
        let place = place as usize;
        self.chunks.get_mut(place / CHUNK)?.get_mut(place % CHUNK)
    }

    /// Returns the place of a key's group, made if there is none, and whether it was made.
    pub(crate) fn find_or_insert(&mut self, key: Key) -> (u32, bool) {
        let chunks = &self.chunks;
        let key_at = |place: u32| {
            let place = place as usize;
            chunks
                .get(place / CHUNK)
                .and_then(|chunk| chunk.get(place % CHUNK))
                .map_or(Key::default(), |entry| entry.key)
        };
        if let Some(place) = self.index.find(key.table_hash(), |place| key_at(*place) == key) {
            return (*place, false);
        }
        let place = self.new_place();
        let chunks = &self.chunks;
        let rehash = |place: &u32| {
            let place = *place as usize;
            let entry = chunks.get(place / CHUNK).and_then(|chunk| chunk.get(place % CHUNK));
            entry.map_or(0, |entry| entry.key.table_hash())
        };
        self.index.insert_unique(key.table_hash(), place, rehash);
        if let Some(entry) = self.entry_mut(place) {
            entry.key = key;
        }
        self.link_newest(place);
        (place, true)
    }

    fn new_place(&mut self) -> u32 {
        if let Some(place) = self.free.pop() {
            return place;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            // A small rule does not pay for a whole chunk.
            self.chunks.push(if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let full = (self.chunks.len() - 1) * CHUNK;
        let Some(chunk) = self.chunks.last_mut() else { return NONE };
        chunk.push(Entry::default());
        u32::try_from(full + chunk.len() - 1).unwrap_or(NONE)
    }

    /// Returns a group by its place.
    pub(crate) fn group_mut(&mut self, place: u32) -> Option<&mut Group<W>> {
        self.entry_mut(place).map(|entry| &mut entry.group)
    }

    /// Returns a group by its place.
    pub(crate) fn group(&self, place: u32) -> Option<&Group<W>> {
        self.entry(place).map(|entry| &entry.group)
    }

    /// Makes a group the last touched.
    pub(crate) fn touch(&mut self, place: u32) {
        if self.newest != place {
            self.unlink(place);
            self.link_newest(place);
        }
    }

    /// Returns the place of the group that was touched longest ago.
    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Takes a group out.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Group<W>> {
        self.unlink(place);
        let entry = self.entry_mut(place)?;
        let (key, group) = (entry.key, std::mem::take(&mut entry.group));
        if let Ok(found) = self.index.find_entry(key.table_hash(), |known| *known == place) {
            found.remove();
        }
        self.free.push(place);
        Some(group)
    }

    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entry_mut(place) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.entry_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entry_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        if let Some(entry) = self.entry_mut(place) {
            (entry.older, entry.newer) = (before, NONE);
        }
        match self.entry_mut(before) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
    }

    fn oldest_first(&self) -> impl Iterator<Item = &Entry<W>> {
        let mut place = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entry(place)?;
            place = entry.newer;
            Some(entry)
        })
    }
}

/// Written oldest first, so that reading and writing again gives the same bytes.
impl<W: Default + Serialize> Serialize for Groups<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for entry in self.oldest_first() {
            sequence.serialize_element(&(entry.key, &entry.group))?;
        }
        sequence.end()
    }
}

impl<'de, W: Default + Deserialize<'de>> Deserialize<'de> for Groups<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<(Key, Group<W>)>::deserialize(deserializer)?;
        let mut groups = Self::default();
        for (key, group) in entries {
            let (place, _) = groups.find_or_insert(key);
            if let Some(slot) = groups.group_mut(place) {
                *slot = group;
            }
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(groups: &Groups<u8>) -> Vec<u64> {
        groups.oldest_first().map(|entry| entry.key.0[0]).collect()
    }

    #[test]
    fn a_group_that_is_touched_becomes_the_newest() {
        let mut groups = Groups::<u8>::default();
        for key in 1..=3 {
            groups.find_or_insert(Key([key, 0]));
        }
        let (place, is_new) = groups.find_or_insert(Key([1, 0]));
        assert!(!is_new);
        groups.touch(place);
        assert_eq!(keys(&groups), [2, 3, 1]);
        groups.remove(groups.oldest().unwrap());
        assert_eq!(keys(&groups), [3, 1]);
        groups.find_or_insert(Key([4, 0]));
        assert_eq!((keys(&groups), groups.len()), (vec![3, 1, 4], 3));
    }

    #[test]
    fn keys_that_meet_in_one_place_of_the_table_are_told_apart() {
        let mut groups = Groups::<u8>::default();
        let (first, _) = groups.find_or_insert(Key([7, 1]));
        let (second, is_new) = groups.find_or_insert(Key([7, 2]));
        assert!(is_new && first != second);
    }

    #[test]
    fn a_million_small_groups_stay_under_a_hundred_bytes_each() {
        assert!(
            Groups::<crate::window::Times>::entry_bytes() <= 100,
            "{}",
            Groups::<crate::window::Times>::entry_bytes()
        );
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_plain_twin(steps in proptest::collection::vec((0..20_u64, 0..3_u8), 0..300)) {
            let (mut groups, mut twin) = (Groups::<u8>::default(), Vec::new());
            for (key, what) in steps {
                if what == 0 && !twin.is_empty() {
                    groups.remove(groups.oldest().unwrap());
                    twin.remove(0);
                } else {
                    let (place, _) = groups.find_or_insert(Key([key, 0]));
                    groups.touch(place);
                    twin.retain(|known| *known != key);
                    twin.push(key);
                }
                prop_assert_eq!(keys(&groups), twin.clone());
            }
            let bytes = postcard::to_allocvec(&groups).unwrap();
            let again: Groups<u8> = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(postcard::to_allocvec(&again).unwrap(), bytes);
        }
    }
}
