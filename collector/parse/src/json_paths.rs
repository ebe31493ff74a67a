//! The names of JSON fields, each kept once: a key in its parent has a number, and the number a name.
//!
//! Comes in: a parent and a key as it stands in the text. Goes out: a number that stays the same until
//! the table is emptied. Bounded, since keys are a stranger's: past the bound the table is emptied
//! before the next line, and a line that fills it alone is refused.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::json_text;

/// Most paths kept.
pub(crate) const MAX_PATHS: usize = 16_384;
/// Most bytes of keys and names kept.
const MAX_PATH_BYTES: usize = 4 << 20;
/// What an object's empty name is called, if nothing stands before or after it.
const EMPTY_NAME: &str = "_";

/// A field's place in the table of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathId(u32);

/// The outermost object.
pub(crate) const ROOT: PathId = PathId(0);

/// Bytes of a key that are compared as words, its closing quote among them.
const SHORT_KEY: usize = 24;

/// A short key and its closing quote as three words, and which of their bits count.
#[derive(Clone, Copy, Debug)]
struct ShortKey {
    words: [u64; SHORT_KEY / 8],
    masks: [u64; SHORT_KEY / 8],
}

#[derive(Debug)]
struct Node {
    parent: PathId,
    /// The key as it stands in the text, escapes and all.
    key: Box<str>,
    /// The same for comparing; `None` if it is too long.
    short: Option<ShortKey>,
    /// The name: the keys from the outermost on, escapes undone, joined by dots.
    name: Box<str>,
}

/// Every path seen.
#[derive(Debug)]
pub(crate) struct PathTable {
    nodes: Vec<Node>,
    index: HashTable<PathId>,
    hasher: RandomState,
    bytes: usize,
}

impl ShortKey {
    fn new(key: &str) -> Option<Self> {
        let mut text = [0; SHORT_KEY];
        let mut mask = [0; SHORT_KEY];
        text.get_mut(..key.len())?.copy_from_slice(key.as_bytes());
        *text.get_mut(key.len())? = b'"';
        mask.get_mut(..=key.len())?.fill(0xff);
        Some(Self { words: words_of(&text), masks: words_of(&mask) })
    }

    /// Returns whether the text begins with the key and its quote.
    #[inline]
    fn begins(&self, text: &[u8; SHORT_KEY]) -> bool {
        let [first, second, third] = words_of(text);
        let [a, b, c] = self.words;
        let [x, y, z] = self.masks;
        ((first ^ a) & x) | ((second ^ b) & y) | ((third ^ c) & z) == 0
    }
}

#[inline]
fn words_of(text: &[u8; SHORT_KEY]) -> [u64; SHORT_KEY / 8] {
    let mut words = [0; SHORT_KEY / 8];
    for (word, bytes) in words.iter_mut().zip(text.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

impl PathId {
    /// Returns the path of a number.
    ///
    /// # Contract
    /// `index` is below [`MAX_PATHS`].
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Returns the number, counted from 0 without holes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Default for PathTable {
    fn default() -> Self {
        let root = Node { parent: ROOT, key: Box::from(""), short: None, name: Box::from("") };
        Self { nodes: vec![root], index: HashTable::new(), hasher: RandomState::default(), bytes: 0 }
    }
}

impl PathTable {
    /// Returns whether the bounds are reached.
    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= MAX_PATHS || self.bytes >= MAX_PATH_BYTES
    }

    /// Returns the field's name.
    pub(crate) fn name(&self, path: PathId) -> &str {
        match self.nodes.get(path.index()).map(|node| &*node.name) {
            None | Some("") => EMPTY_NAME,
            Some(name) => name,
        }
    }

    /// Returns the length of a path's key and its closing quote, if the path is in this parent and the
    /// text begins with both.
    #[inline]
    pub(crate) fn begins(&self, path: PathId, parent: PathId, text: &[u8]) -> Option<usize> {
        let node = self.nodes.get(path.index()).filter(|node| node.parent == parent)?;
        let length = node.key.len() + 1;
        if let (Some(short), Some(text)) = (&node.short, text.first_chunk::<SHORT_KEY>()) {
            return short.begins(text).then_some(length);
        }
        let rest = text.strip_prefix(node.key.as_bytes())?;
        (rest.first() == Some(&b'"')).then_some(length)
    }

    /// Returns whether a path is this key in this parent.
    fn is(&self, path: PathId, parent: PathId, key: &str) -> bool {
        self.nodes.get(path.index()).is_some_and(|node| node.parent == parent && &*node.key == key)
    }

    /// Returns the path of a key in its parent, adding it if it is new; `None` if the table is full.
    pub(crate) fn find_or_add(&mut self, parent: PathId, key: &str) -> Option<PathId> {
        let hash = self.hasher.hash_one((parent, key));
        if let Some(path) = self.index.find(hash, |path| self.is(*path, parent, key)) {
            return Some(*path);
        }
        if self.is_full() {
            return None;
        }
        let mut name = String::new();
        if parent != ROOT {
            name.push_str(self.nodes.get(parent.index()).map_or("", |node| &*node.name));
            name.push('.');
        }
        json_text::unescape(key, &mut name);
        self.bytes += key.len() + name.len();
        let path = PathId(u32::try_from(self.nodes.len()).ok()?);
        self.nodes.push(Node { parent, key: Box::from(key), short: ShortKey::new(key), name: name.into_boxed_str() });
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let rehash =
            |path: &PathId| nodes.get(path.index()).map_or(0, |node| hasher.hash_one((node.parent, &*node.key)));
        self.index.insert_unique(hash, path, rehash);
        Some(path)
    }

    /// Forgets all paths.
    pub(crate) fn clear(&mut self) {
        self.nodes.truncate(1);
        self.index.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_are_compared_whole() {
        let mut paths = PathTable::default();
        for key in ["", "a", "EventID", "exactly-twenty-three-ab", "longer-than-any-short-key-may-be"] {
            let path = paths.find_or_add(ROOT, key).unwrap();
            let text = format!("{key}\":1,\"and so on and so on\":2}}");
            for text in [&text[..], &text[..=key.len()]] {
                assert_eq!(paths.begins(path, ROOT, text.as_bytes()), Some(key.len() + 1), "{text}");
            }
            assert_eq!(paths.begins(path, ROOT, format!("{key}x\":1, and so on and so on").as_bytes()), None);
            assert_eq!(paths.begins(path, path, text.as_bytes()), None);
        }
    }
}
