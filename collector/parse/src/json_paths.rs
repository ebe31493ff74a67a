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

#[derive(Debug)]
struct Node {
    parent: PathId,
    /// The key as it stands in the text, escapes and all.
    key: Box<str>,
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
        let root = Node { parent: ROOT, key: Box::from(""), name: Box::from("") };
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

    /// Returns whether a path is this key in this parent.
    #[inline]
    pub(crate) fn is(&self, path: PathId, parent: PathId) -> Option<&str> {
        self.nodes.get(path.index()).filter(|node| node.parent == parent).map(|node| &*node.key)
    }

    /// Returns the path of a key in its parent, adding it if it is new; `None` if the table is full.
    pub(crate) fn find_or_add(&mut self, parent: PathId, key: &str) -> Option<PathId> {
        let hash = self.hasher.hash_one((parent, key));
        if let Some(path) = self.index.find(hash, |path| self.is(*path, parent) == Some(key)) {
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
        self.nodes.push(Node { parent, key: Box::from(key), name: name.into_boxed_str() });
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
