//! All texts to be found anywhere in a value: a filter on four-byte grams, then a look.
//!
//! Of each text one gram of four bytes is chosen, the one that fewest of all the texts have, and put
//! into a bitmap by its hash. A value is walked once, byte by byte; a window whose bit is set is
//! looked up, and a text that has that gram is compared where it would have to stand. Common grams
//! (`.exe`, `\win`) are in many texts and so are chosen by none of them: most windows end at the bitmap,
//! which fits the first-level cache. An automaton over the same texts is five to ten times slower,
//! because it must stop at every text that is there (`.exe`), not only where a rare one may be.
//! Texts of one to three bytes have bitmaps of their own, walked only if there are any.
//!
//! Up to 64 texts of four bytes and more, such as the keywords of one logsource, have a scout: the
//! same grams in a vector search (Teddy), four times as fast as the walk. Where it finds nothing
//! there is nothing; after a few grams in one value the walk takes over.

use aho_corasick::Span;
use aho_corasick::packed::{self, Searcher};
use hashbrown::HashMap;

/// Bits of the largest bitmap: 16 KiB, half a first-level cache.
const MAX_FILTER_BITS: u32 = 17;
const MAX_FILTER_WORDS: usize = 1 << (MAX_FILTER_BITS - 6);

/// Most texts a scout is worth having for: what one vector search takes.
const MAX_SCOUTED: usize = 64;

/// Shorter values are walked at once: the vectors need a few dozen bytes to start.
const MIN_SCOUTED_BYTES: usize = 40;

/// Most grams a scout tells of one value before the walk takes over.
const MAX_TOLD: usize = 16;

/// A text's place among the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NeedleId(pub(crate) u32);

/// A text behind a gram.
#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    needle: u32,
    /// Where in the text the gram ends.
    gram_end: u32,
    /// How many bytes the gram has.
    length: u8,
}

/// Texts to be found anywhere in a value; none twice, none empty.
#[derive(Clone, Debug)]
pub(crate) struct Needles {
    texts: Vec<Box<[u8]>>,
    filter: Box<[u64; MAX_FILTER_WORDS]>,
    filter_mask: u32,
    short_filter: Option<Box<ShortFilter>>,
    scout: Option<Searcher>,
    /// Entries by hash of their gram; `starts[h]..starts[h + 1]` are those of `h`.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// Bitmaps of the grams of one to three bytes; three are hashed into 16 bits.
#[derive(Clone, Debug)]
struct ShortFilter {
    ones: [u64; 4],
    twos: [u64; 1024],
    threes: [u64; 1024],
}

fn hash(gram: u32) -> u32 {
    // The multiplier of Knuth's multiplicative hashing, 2^32 over the golden ratio.
    gram.wrapping_mul(0x9e37_79b1)
}

fn bucket_hash(gram: u32, length: u8) -> u32 {
    hash(gram ^ hash(u32::from(length)))
}

impl Needles {
    /// Returns the set of these texts, numbered in their order.
    pub(crate) fn new(texts: Vec<Box<[u8]>>) -> Self {
        let commonness = commonness(&texts);
        let entries: Vec<Entry> =
            (0_u32..).zip(&texts).map(|(needle, text)| choose_gram(needle, text, &commonness)).collect();
        let longs = entries.iter().filter(|entry| entry.length == 4).count();
        // Sixteen bits a text keep chance hits under one window in sixteen.
        let bits = (longs.saturating_mul(16).max(64)).next_power_of_two().ilog2().min(MAX_FILTER_BITS);
        let mut needles = Self {
            texts,
            filter: Box::new([0; MAX_FILTER_WORDS]),
            filter_mask: (1 << bits) - 1,
            short_filter: None,
            scout: scout(&entries),
            starts: Vec::new(),
            entries: Vec::new(),
        };
        for entry in &entries {
            needles.mark(entry);
        }
        needles.file(entries);
        needles
    }

    fn mark(&mut self, entry: &Entry) {
        if entry.length == 4 {
            let bit = hash(entry.gram) >> (32 - MAX_FILTER_BITS) & self.filter_mask;
            set(self.filter.as_mut_slice(), bit);
            return;
        }
        let empty = || Box::new(ShortFilter { ones: [0; 4], twos: [0; 1024], threes: [0; 1024] });
        let short = self.short_filter.get_or_insert_with(empty);
        match entry.length {
            1 => set(&mut short.ones, entry.gram),
            2 => set(&mut short.twos, entry.gram),
            _ => set(&mut short.threes, hash(entry.gram) >> 16),
        }
    }

    fn file(&mut self, mut entries: Vec<Entry>) {
        let buckets = entries.len().max(1).next_power_of_two() * 2;
        let shift = 32 - buckets.ilog2();
        let bucket = |entry: &Entry| bucket_hash(entry.gram, entry.length) >> shift;
        entries.sort_by_key(bucket);
        let mut starts = vec![0_u32; buckets + 1];
        for entry in &entries {
            if let Some(count) = starts.get_mut(bucket(entry) as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        self.starts = starts;
        self.entries = entries;
    }

    /// Returns how many texts there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns the texts.
    pub(crate) fn texts(&self) -> &[Box<[u8]>] {
        &self.texts
    }

    /// Calls `found` for every place a text stands at; the same text may be told several times.
    pub(crate) fn find(&self, value: &[u8], mut found: impl FnMut(NeedleId)) {
        let mut from = 0;
        if let Some(scout) = self.scout.as_ref().filter(|_| value.len() >= MIN_SCOUTED_BYTES) {
            let mut told = 0;
            loop {
                let Some(first) = scout.find_in(value, Span { start: from, end: value.len() }) else { return };
                // Many grams in one value: looking at each by vectors is dearer than walking on.
                if told == MAX_TOLD {
                    break;
                }
                told += 1;
                let gram = value.get(first.start()..first.end()).map_or(0, gram_of);
                self.look(value, first.end() - 1, gram, 4, &mut found);
                from = first.start() + 1;
            }
        }
        match &self.short_filter {
            None => self.walk(value, from, |_| false, &mut found),
            Some(short) => self.walk(value, from, |window| short.may_end(window), &mut found),
        }
    }

    fn walk(&self, value: &[u8], from: usize, short: impl Fn(u32) -> bool, found: &mut impl FnMut(NeedleId)) {
        let mask = self.filter_mask;
        let mut window = 0_u32;
        for (place, byte) in value.iter().enumerate().skip(from) {
            window = window << 8 | u32::from(*byte);
            let bit = hash(window) >> (32 - MAX_FILTER_BITS) & mask;
            let word = self.filter.get((bit >> 6) as usize & (MAX_FILTER_WORDS - 1)).copied().unwrap_or(0);
            if word >> (bit & 63) & 1 == 1 {
                self.look(value, place, window, 4, found);
            }
            if short(window) {
                self.look(value, place, window & 0xff, 1, found);
                self.look(value, place, window & 0xffff, 2, found);
                self.look(value, place, window & 0xff_ffff, 3, found);
            }
        }
    }

    /// Compares every text whose gram this is where it would have to stand.
    fn look(&self, value: &[u8], place: usize, gram: u32, length: u8, found: &mut impl FnMut(NeedleId)) {
        let shift = 32 - (self.starts.len() - 1).max(1).ilog2();
        let bucket = (bucket_hash(gram, length) >> shift) as usize;
        let (Some(from), Some(to)) = (self.starts.get(bucket), self.starts.get(bucket + 1)) else { return };
        for entry in self.entries.get(*from as usize..*to as usize).unwrap_or_default() {
            if entry.gram != gram || entry.length != length {
                continue;
            }
            let Some(text) = self.texts.get(entry.needle as usize) else { continue };
            let start = (place + 1).checked_sub(entry.gram_end as usize);
            if start.and_then(|start| value.get(start..)).is_some_and(|rest| rest.starts_with(text)) {
                found(NeedleId(entry.needle));
            }
        }
    }
}

impl ShortFilter {
    fn may_end(&self, window: u32) -> bool {
        is_set(&self.ones, window & 0xff)
            || is_set(&self.twos, window & 0xffff)
            || is_set(&self.threes, hash(window & 0xff_ffff) >> 16)
    }
}

fn scout(entries: &[Entry]) -> Option<Searcher> {
    if entries.is_empty() || entries.len() > MAX_SCOUTED || entries.iter().any(|entry| entry.length < 4) {
        return None;
    }
    let grams = entries.iter().map(|entry| entry.gram.to_be_bytes());
    packed::Config::new().builder().extend(grams).build()
}

fn set(words: &mut [u64], bit: u32) {
    if let Some(word) = words.get_mut((bit >> 6) as usize) {
        *word |= 1 << (bit & 63);
    }
}

fn is_set(words: &[u64], bit: u32) -> bool {
    words.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
}

/// How many of the texts have each gram: what many rules write, many values have.
fn commonness(texts: &[Box<[u8]>]) -> HashMap<u32, u32> {
    let mut counts = HashMap::new();
    for text in texts {
        for gram in grams(text) {
            *counts.entry(gram).or_insert(0) += 1;
        }
    }
    counts
}

fn grams(text: &[u8]) -> impl Iterator<Item = u32> {
    text.windows(4).map(gram_of)
}

fn gram_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |gram, byte| gram << 8 | u32::from(*byte))
}

/// How often a byte stands in logs, roughly: letters of common words and path signs most.
fn byte_weight(byte: u8) -> u32 {
    match byte {
        b'e' | b's' | b'\\' | b' ' | b'i' | b'n' | b't' | b'o' | b'r' | b'a' | b'.' => 8,
        b'c' | b'd' | b'l' | b'm' | b'p' | b'u' | b'w' | b'f' | b'0' | b'1' | b'-' | b'/' | b'x' => 4,
        b'a'..=b'z' | b'0'..=b'9' | b':' | b'_' | b'"' => 2,
        _ => 1,
    }
}

fn choose_gram(needle: u32, text: &[u8], commonness: &HashMap<u32, u32>) -> Entry {
    if text.len() < 4 {
        let (gram, length) = (gram_of(text), u8::try_from(text.len()).unwrap_or(4));
        return Entry { gram, needle, gram_end: u32::from(length), length };
    }
    let rarity = |gram: u32| {
        let bytes: u32 = gram.to_be_bytes().into_iter().map(byte_weight).sum();
        (commonness.get(&gram).copied().unwrap_or(0), bytes)
    };
    let (place, gram) = grams(text).enumerate().min_by_key(|(_, gram)| rarity(*gram)).unwrap_or((0, 0));
    Entry { gram, needle, gram_end: u32::try_from(place + 4).unwrap_or(u32::MAX), length: 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn found(texts: &[String], value: &str) -> BTreeSet<u32> {
        let needles = Needles::new(texts.iter().map(|text| text.clone().into_bytes().into_boxed_slice()).collect());
        let mut found = BTreeSet::new();
        needles.find(value.as_bytes(), |needle| {
            found.insert(needle.0);
        });
        found
    }

    proptest! {
        #[test]
        fn finds_exactly_what_stands_in_the_value(
            texts in proptest::collection::hash_set("[ab\u{0}]{1,7}", 0..30),
            value in "[abc\u{0}]{0,40}",
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let expected: BTreeSet<u32> = (0..).zip(&texts)
                .filter(|(_, text)| value.contains(text.as_str())).map(|(index, _)| index).collect();
            prop_assert_eq!(found(&texts, &value), expected);
        }

        #[test]
        fn a_scout_misses_nothing(
            texts in proptest::collection::hash_set("[a-c]{4,6}", 1..8),
            value in "[a-cx]{0,300}",
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let expected: BTreeSet<u32> = (0..).zip(&texts)
                .filter(|(_, text)| value.contains(text.as_str())).map(|(index, _)| index).collect();
            prop_assert_eq!(found(&texts, &value), expected);
        }

        #[test]
        fn finds_long_texts_among_many(
            texts in proptest::collection::hash_set("[a-d]{4,6}", 100..300),
            value in "[a-d]{0,200}",
        ) {
            let texts: Vec<String> = texts.into_iter().collect();
            let expected: BTreeSet<u32> = (0..).zip(&texts)
                .filter(|(_, text)| value.contains(text.as_str())).map(|(index, _)| index).collect();
            prop_assert_eq!(found(&texts, &value), expected);
        }
    }

    #[test]
    fn an_empty_set_finds_nothing() {
        assert!(found(&[], "abc").is_empty());
    }
}
