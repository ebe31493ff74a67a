//! All texts that begin a value, or end it: one binary search, then from longer to shorter.
//!
//! Texts are sorted; each knows the longest other text that begins it (its parent). The last text
//! not after the value in that order is the value's beginning or has an ancestor that is the longest
//! such: every text between a beginning of the value and the value itself begins the same way. All
//! further ancestors begin the value too. Suffixes are the same over reversed bytes.

use crate::program::atom::AtomId;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Affix {
    text: Box<[u8]>,
    atom: AtomId,
    parent: u32,
}

/// Texts to be found at the beginning of a value; none twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct AffixTable {
    sorted: Vec<Affix>,
}

impl AffixTable {
    /// Returns a table of beginnings.
    pub(crate) fn new(texts: impl IntoIterator<Item = (Box<[u8]>, AtomId)>) -> Self {
        let affix = |(text, atom)| Affix { text, atom, parent: NONE };
        let mut sorted: Vec<Affix> = texts.into_iter().map(affix).collect();
        sorted.sort_by(|a, b| a.text.cmp(&b.text));
        let mut table = Self { sorted };
        for index in 0..table.sorted.len() {
            let parent = table.parent_of(index);
            if let Some(affix) = table.sorted.get_mut(index) {
                affix.parent = parent;
            }
        }
        table
    }

    /// The text before it in order, or the nearest ancestor of that, that begins it.
    fn parent_of(&self, index: usize) -> u32 {
        let Some(text) = self.sorted.get(index).map(|affix| &affix.text) else { return NONE };
        let mut candidate = index.checked_sub(1).map_or(NONE, |before| u32::try_from(before).unwrap_or(NONE));
        while let Some(affix) = self.at(candidate) {
            if text.starts_with(&affix.text) {
                return candidate;
            }
            candidate = affix.parent;
        }
        NONE
    }

    fn at(&self, index: u32) -> Option<&Affix> {
        self.sorted.get(index as usize)
    }

    /// Returns whether there is nothing to find.
    pub(crate) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Appends the atom of every text that begins the value.
    pub(crate) fn find(&self, value: &[u8], atoms: &mut Vec<AtomId>) {
        let after = self.sorted.partition_point(|affix| &*affix.text <= value);
        let mut candidate = after.checked_sub(1).map_or(NONE, |last| u32::try_from(last).unwrap_or(NONE));
        let mut begins = false;
        while let Some(affix) = self.at(candidate) {
            begins = begins || value.starts_with(&affix.text);
            if begins {
                atoms.push(affix.atom);
            }
            candidate = affix.parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(texts: &[String]) -> AffixTable {
        let entry = |(index, text): (usize, &String)| {
            (text.clone().into_bytes().into_boxed_slice(), AtomId(u32::try_from(index).unwrap()))
        };
        AffixTable::new(texts.iter().enumerate().map(entry))
    }

    proptest! {
        #[test]
        fn finds_exactly_the_beginnings(
            texts in proptest::collection::hash_set("[ab]{0,5}", 0..20),
            value in "[abc]{0,8}",
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let mut found = Vec::new();
            table(&texts).find(value.as_bytes(), &mut found);
            found.sort_unstable();
            let expected: Vec<AtomId> = (0..).map(AtomId).zip(&texts)
                .filter(|(_, text)| value.starts_with(text.as_str())).map(|(atom, _)| atom).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
