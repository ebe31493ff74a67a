//! What values fire, as lists; each held once, however many values have it.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

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

/// All lists.
#[derive(Debug)]
pub(crate) struct Lists {
    table: HashTable<u32>,
    /// Of each list: where it starts, how many predicates, how many rules.
    spans: Vec<(u32, u32, u32)>,
    numbers: Vec<u32>,
    hasher: RandomState,
}

impl Lists {
    /// Returns the empty list alone.
    pub(crate) fn new() -> Self {
        let hasher = RandomState::default();
        let mut lists = Self { table: HashTable::new(), spans: Vec::new(), numbers: Vec::new(), hasher };
        lists.clear();
        lists
    }

    /// Forgets all lists but the empty one.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.spans.clear();
        self.numbers.clear();
        self.intern(&[], 0);
    }

    /// Returns how many numbers all lists have together.
    pub(crate) fn size(&self) -> usize {
        self.numbers.len()
    }

    /// Returns what a list holds.
    pub(crate) fn get(&self, list: ListId) -> Listed<'_> {
        let (start, predicates, rules) = self.spans.get(list.0 as usize).copied().unwrap_or_default();
        let (start, predicates, rules) = (start as usize, predicates as usize, rules as usize);
        let numbers = self.numbers.get(start..start + predicates + rules).unwrap_or_default();
        match numbers.split_at_checked(predicates) {
            Some((predicates, witnessed)) => Listed { predicates, witnessed },
            None => Listed { predicates: &[], witnessed: &[] },
        }
    }

    /// Returns the list of these numbers, of which the first are predicates and the others rules.
    pub(crate) fn intern(&mut self, numbers: &[u32], predicates: usize) -> ListId {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        // The rules follow from the predicates, so comparing these is enough.
        let key = numbers.get(..predicates).unwrap_or_default();
        let hash = self.hasher.hash_one(key);
        if let Some(index) = self.table.find(hash, |index| self.get(ListId(*index)).predicates == key) {
            return ListId(*index);
        }
        let index = narrow(self.spans.len());
        let start = narrow(self.numbers.len());
        self.numbers.extend_from_slice(numbers);
        self.spans.push((start, narrow(predicates), narrow(numbers.len() - predicates)));
        let (spans, all, hasher) = (&self.spans, &self.numbers, &self.hasher);
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
    fn equal_lists_are_one() {
        let mut lists = Lists::new();
        let one = lists.intern(&[1, 2, 7], 2);
        assert_eq!(lists.intern(&[1, 2, 7], 2), one);
        assert_ne!(lists.intern(&[1, 7], 1), one);
        assert_eq!(lists.get(one).witnessed, [7]);
        assert_eq!(lists.intern(&[], 0), ListId(0));
    }
}
