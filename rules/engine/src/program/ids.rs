//! What the parts of a program call each other by.

use crate::detection::Relation;

/// A field some rule looks at, by its place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(crate) u32);

/// A predicate: one of some tests of one field. Numbered over all fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PredicateId(pub(crate) u32);

/// A comparison of two fields of one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) target: FieldId,
    pub(crate) other: FieldId,
    pub(crate) relation: Relation,
    pub(crate) cased: bool,
}
