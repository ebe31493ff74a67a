//! A rule's condition over predicates, `not` only at the leaves.

use crate::program::ids::PredicateId;

/// What a leaf asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// Whether a predicate has fired.
    Predicate(PredicateId),
    /// Whether a comparison of two fields holds.
    Pair(u32),
}

/// A condition over predicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Formula {
    /// All of these; of none: true.
    All(Vec<Formula>),
    /// One of these; of none: false.
    Any(Vec<Formula>),
    /// The answer must be this.
    Leaf { ask: Ask, wanted: bool },
}

impl Formula {
    /// Joins parts: `and` if `is_and`, `or` otherwise; nested ones of the same kind are flattened.
    pub(crate) fn all(is_and: bool, parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match (part, is_and) {
                (Self::All(inner), true) | (Self::Any(inner), false) => flat.extend(inner),
                (other, _) => flat.push(other),
            }
        }
        match (flat.len(), flat.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                flat.extend(last);
                if is_and { Self::All(flat) } else { Self::Any(flat) }
            }
        }
    }
}
