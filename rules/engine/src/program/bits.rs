//! A set of small numbers as bits.

/// A set of numbers below a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BitSet {
    words: Vec<u64>,
}

impl BitSet {
    /// Returns an empty set of numbers below `bound`.
    pub(crate) fn new(bound: usize) -> Self {
        Self { words: vec![0; bound.div_ceil(64)] }
    }

    /// Returns an empty set with the same bound.
    pub(crate) fn emptied(&self) -> Self {
        Self { words: vec![0; self.words.len()] }
    }

    /// Returns whether a number is in it.
    #[inline]
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.words.get((number >> 6) as usize).is_some_and(|word| word >> (number & 63) & 1 == 1)
    }

    /// Adds a number; one past the bound is left out.
    #[inline]
    pub(crate) fn insert(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut((number >> 6) as usize) {
            *word |= 1 << (number & 63);
        }
    }

    /// Takes a number out.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(word) = self.words.get_mut((number >> 6) as usize) {
            *word &= !(1 << (number & 63));
        }
    }

    /// Adds every number of another set.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = BitSet::new(130);
        for number in [0, 63, 64, 129, 4_000] {
            set.insert(number);
        }
        set.remove(63);
        let held: Vec<u32> = (0..5_000).filter(|number| set.contains(*number)).collect();
        assert_eq!(held, [0, 64, 129]);
    }
}
