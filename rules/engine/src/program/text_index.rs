//! All tests of one field that look at its text, either folded or as it stands.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use regex::Regex;

use crate::pattern::{Pattern, Piece, Shape};
use crate::program::affix::AffixTable;
use crate::program::atom::AtomId;
use crate::program::needles::Needles;
use crate::program::scratch::{Room, Scratch};

/// What follows from a contained text being there.
#[derive(Clone, Copy, Debug)]
enum Consequence {
    /// The test holds.
    Holds(AtomId),
    /// A pattern may fit.
    TryPattern(u32),
    /// An expression may match.
    TryRegex(u32),
}

/// Tests under way to a [`TextIndex`].
#[derive(Debug, Default)]
pub(crate) struct TextDraft {
    exact: Vec<(Box<str>, AtomId)>,
    prefixes: Vec<(Box<[u8]>, AtomId)>,
    suffixes: Vec<(Box<[u8]>, AtomId)>,
    anything: Vec<AtomId>,
    needles: Vec<(Box<[u8]>, Consequence)>,
    patterns: Vec<(Pattern, AtomId)>,
    always_patterns: Vec<u32>,
    regexes: Vec<(Regex, AtomId)>,
    always_regexes: Vec<u32>,
}

/// All tests of a text.
#[derive(Clone, Debug)]
pub(crate) struct TextIndex {
    exact: HashTable<(Box<str>, AtomId)>,
    prefixes: AffixTable,
    suffixes: AffixTable,
    anything: Vec<AtomId>,
    needles: Option<Needles>,
    /// `consequence_starts[n]..consequence_starts[n + 1]` are those of needle `n`.
    consequence_starts: Vec<u32>,
    consequences: Vec<Consequence>,
    patterns: Vec<(Pattern, AtomId)>,
    always_patterns: Vec<u32>,
    regexes: Vec<(Regex, AtomId)>,
    always_regexes: Vec<u32>,
    /// Folded values of fewer bytes meet no test.
    shortest: usize,
}

fn hash(text: &str) -> u64 {
    // Fixed: the table holds an operator's texts, not a peer's.
    FixedState::default().hash_one(text)
}

impl TextDraft {
    /// Adds a pattern.
    pub(crate) fn add_pattern(&mut self, pattern: &Pattern, atom: AtomId) {
        match pattern.shape() {
            Shape::Exact(text) => self.exact.push((Box::from(text), atom)),
            Shape::Prefix(text) => self.prefixes.push((Box::from(text.as_bytes()), atom)),
            Shape::Suffix(text) => {
                let mut reversed: Vec<u8> = text.bytes().collect();
                reversed.reverse();
                self.suffixes.push((reversed.into_boxed_slice(), atom));
            }
            Shape::Inside(text) => self.needles.push((Box::from(text.as_bytes()), Consequence::Holds(atom))),
            Shape::Anything => self.anything.push(atom),
            Shape::Mixed => self.add_mixed(pattern, atom),
        }
    }

    /// A pattern of several pieces is laid against a value only behind its longest text.
    fn add_mixed(&mut self, pattern: &Pattern, atom: AtomId) {
        let index = u32::try_from(self.patterns.len()).unwrap_or(u32::MAX);
        self.patterns.push((pattern.clone(), atom));
        let text = |piece: &'_ Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::One | Piece::Any => None,
        };
        match pattern.pieces().iter().filter_map(text).max_by_key(|text| text.len()) {
            Some(text) => self.needles.push((text.into_boxed_bytes(), Consequence::TryPattern(index))),
            None => self.always_patterns.push(index),
        }
    }

    /// Adds an expression and the texts of which one must be there for it to match.
    pub(crate) fn add_regex(&mut self, regex: &Regex, guard: Option<Vec<String>>, atom: AtomId) {
        let index = u32::try_from(self.regexes.len()).unwrap_or(u32::MAX);
        self.regexes.push((regex.clone(), atom));
        match guard {
            Some(texts) => {
                let guarded = |text: String| (text.into_bytes().into_boxed_slice(), Consequence::TryRegex(index));
                self.needles.extend(texts.into_iter().map(guarded));
            }
            None => self.always_regexes.push(index),
        }
    }

    /// Returns the index, unless there is nothing in it.
    pub(crate) fn finish(mut self) -> Option<TextIndex> {
        let is_empty = self.exact.is_empty()
            && self.prefixes.is_empty()
            && self.suffixes.is_empty()
            && self.anything.is_empty()
            && self.needles.is_empty()
            && self.patterns.is_empty()
            && self.regexes.is_empty();
        if is_empty {
            return None;
        }
        let only_needles = self.exact.is_empty()
            && self.prefixes.is_empty()
            && self.suffixes.is_empty()
            && self.anything.is_empty()
            && self.always_patterns.is_empty()
            && self.always_regexes.is_empty();
        let shortest_needle = self.needles.iter().map(|(text, _)| text.len()).min().unwrap_or(0);
        let mut exact = HashTable::with_capacity(self.exact.len());
        for (text, atom) in self.exact {
            exact.insert_unique(hash(&text), (text, atom), |(text, _)| hash(text));
        }
        self.needles.sort_by(|one, other| one.0.cmp(&other.0));
        let mut texts: Vec<Box<[u8]>> = Vec::new();
        let mut consequence_starts = Vec::new();
        let mut consequences = Vec::with_capacity(self.needles.len());
        for (text, consequence) in self.needles {
            if texts.last() != Some(&text) {
                texts.push(text);
                consequence_starts.push(u32::try_from(consequences.len()).unwrap_or(u32::MAX));
            }
            consequences.push(consequence);
        }
        consequence_starts.push(u32::try_from(consequences.len()).unwrap_or(u32::MAX));
        Some(TextIndex {
            exact,
            prefixes: AffixTable::new(self.prefixes),
            suffixes: AffixTable::new(self.suffixes),
            anything: self.anything,
            needles: Some(texts).filter(|texts| !texts.is_empty()).map(Needles::new),
            consequence_starts,
            consequences,
            patterns: self.patterns,
            always_patterns: self.always_patterns,
            regexes: self.regexes,
            always_regexes: self.always_regexes,
            shortest: if only_needles { shortest_needle } else { 0 },
        })
    }
}

impl TextIndex {
    /// Returns what a scratch must have room for.
    pub(crate) fn room(&self) -> Room {
        Room {
            needles: self.needles.as_ref().map_or(0, Needles::len),
            patterns: self.patterns.len(),
            regexes: self.regexes.len(),
        }
    }

    /// Returns whether a value is too short to meet any test. Folding makes a few characters longer,
    /// none of them ASCII.
    pub(crate) fn is_too_short(&self, value: &str) -> bool {
        value.len() < self.shortest && value.is_ascii()
    }

    /// Returns the folded texts of which one stands in the folded value whenever a test holds; `None`
    /// if a test needs no text.
    pub(crate) fn required(&self) -> Option<&[Box<[u8]>]> {
        let needs_text = self.shortest > 0;
        self.needles.as_ref().filter(|_| needs_text).map(Needles::texts)
    }

    /// Adds the atom of every test that holds to `scratch.atoms`. `text` is what patterns are laid
    /// against, `raw` what expressions are.
    pub(crate) fn find(&self, text: &str, raw: &str, scratch: &mut Scratch) {
        let Scratch { atoms, reversed, fired, needles: needle_marks, patterns, regexes, .. } = scratch;
        if !self.exact.is_empty()
            && let Some((_, atom)) = self.exact.find(hash(text), |(known, _)| **known == *text)
        {
            atoms.push(*atom);
        }
        self.prefixes.find(text.as_bytes(), atoms);
        if !self.suffixes.is_empty() {
            reversed.clear();
            reversed.extend(text.bytes().rev());
            self.suffixes.find(reversed, atoms);
        }
        atoms.extend_from_slice(&self.anything);
        patterns.begin();
        regexes.begin();
        if let Some(needles) = &self.needles {
            needle_marks.begin();
            fired.clear();
            needles.find(text.as_bytes(), |needle| {
                if needle_marks.mark(needle.0) {
                    fired.push(needle.0);
                }
            });
            for needle in fired.iter() {
                for consequence in self.consequences_of(*needle) {
                    match *consequence {
                        Consequence::Holds(atom) => atoms.push(atom),
                        Consequence::TryPattern(index) if patterns.mark(index) => self.pattern(index, text, atoms),
                        Consequence::TryRegex(index) if regexes.mark(index) => self.regex(index, raw, atoms),
                        Consequence::TryPattern(_) | Consequence::TryRegex(_) => {}
                    }
                }
            }
        }
        self.always_patterns.iter().for_each(|index| self.pattern(*index, text, atoms));
        self.always_regexes.iter().for_each(|index| self.regex(*index, raw, atoms));
    }

    fn consequences_of(&self, needle: u32) -> &[Consequence] {
        let place = needle as usize;
        match (self.consequence_starts.get(place), self.consequence_starts.get(place + 1)) {
            (Some(from), Some(to)) => self.consequences.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    fn pattern(&self, index: u32, text: &str, atoms: &mut Vec<AtomId>) {
        if let Some((pattern, atom)) = self.patterns.get(index as usize)
            && pattern.fits(text)
        {
            atoms.push(*atom);
        }
    }

    fn regex(&self, index: u32, raw: &str, atoms: &mut Vec<AtomId>) {
        if let Some((regex, atom)) = self.regexes.get(index as usize)
            && regex.is_match(raw)
        {
            atoms.push(*atom);
        }
    }
}
