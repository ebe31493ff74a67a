//! A YAML document as written: scalars keep their text, and everything knows where it stands.

use crate::diagnostic::{Fault, Mark};

/// One node.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A text, a number, a truth value or nothing.
    Scalar(Scalar),
    /// A list.
    List(List),
    /// A map.
    Map(Map),
}

/// A scalar, its text as written once quotes and escapes are undone.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// The text.
    pub(crate) text: String,
    /// Whether it stood without quotes, and so may be a number, a truth value or nothing.
    pub(crate) is_plain: bool,
    /// Where it stands.
    pub(crate) mark: Mark,
}

/// A list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Its members.
    pub(crate) nodes: Vec<Node>,
    /// Where it stands.
    pub(crate) mark: Mark,
}

/// A map, in the order of the file; no key twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    /// Its entries.
    pub(crate) entries: Vec<(Scalar, Node)>,
    /// Where it stands.
    pub(crate) mark: Mark,
}

impl Node {
    /// Returns where it stands.
    pub(crate) fn mark(&self) -> Mark {
        match self {
            Self::Scalar(scalar) => scalar.mark,
            Self::List(list) => list.mark,
            Self::Map(map) => map.mark,
        }
    }

    /// Returns what it is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) if scalar.is_null() => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Returns the scalar it is.
    pub(crate) fn as_scalar(&self, what: &str) -> Result<&Scalar, Fault> {
        match self {
            Self::Scalar(scalar) => Ok(scalar),
            other => Err(Fault::new(other.mark(), format!("{what} must be a single value, found {}", other.kind()))),
        }
    }

    /// Returns the map it is.
    pub(crate) fn as_map(&self, what: &str) -> Result<&Map, Fault> {
        match self {
            Self::Map(map) => Ok(map),
            other => Err(Fault::new(other.mark(), format!("{what} must be a map, found {}", other.kind()))),
        }
    }

    /// Returns the scalars of a list, or the one it is.
    pub(crate) fn as_scalars(&self, what: &str) -> Result<Vec<&Scalar>, Fault> {
        match self {
            Self::Scalar(scalar) if scalar.is_null() => Ok(Vec::new()),
            Self::Scalar(scalar) => Ok(vec![scalar]),
            Self::List(list) => list.nodes.iter().map(|node| node.as_scalar(what)).collect(),
            Self::Map(map) => Err(Fault::new(map.mark, format!("{what} must be a list, found a map"))),
        }
    }
}

impl Scalar {
    /// Returns whether it is YAML's `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.is_plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Returns the truth value it is. YAML 1.1's `yes` and `on` are texts here: that is what an
    /// event holds.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.is_plain => Some(true),
            "false" | "False" | "FALSE" if self.is_plain => Some(false),
            _ => None,
        }
    }
}

impl Map {
    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// Returns where a key stands, or where the map does.
    pub(crate) fn mark_of(&self, key: &str) -> Mark {
        self.entries.iter().find(|(known, _)| known.text == key).map_or(self.mark, |(known, _)| known.mark)
    }

    /// Lays `other` over it: maps are merged key by key, everything else is replaced.
    pub(crate) fn overlay(&mut self, other: &Self) {
        for (key, node) in &other.entries {
            match (self.entries.iter_mut().find(|(known, _)| known.text == key.text), node) {
                (Some((_, Node::Map(below))), Node::Map(above)) => below.overlay(above),
                (Some((_, below)), above) => *below = above.clone(),
                (None, _) => self.entries.push((key.clone(), node.clone())),
            }
        }
    }
}
