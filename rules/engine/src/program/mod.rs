//! All rules compiled into one program.
//!
//! ```text
//!  Rule ──► Formula over predicates ──► branches (one test each, no stack)        Code
//!              │                   └──► witnesses: predicates it cannot do without
//!              ▼
//!  Predicate = (field, one of these tests), shared over all rules
//!              │
//!              ▼
//!  FieldIndex: all tests of one field                                            one a field
//!     exact texts ─ hash table        prefixes, suffixes ─ sorted, with parents
//!     contained texts ─ gram filter   numbers, networks, dates ─ small lists
//!     wildcards, regular expressions ─ behind a text they cannot do without
//! ```

mod affix;
mod atom;
mod bits;
mod code;
mod field_index;
mod formula;
mod guard;
mod ids;
mod needles;
#[expect(clippy::module_inception, reason = "the program is what the room is named for")]
mod program;
mod raw_guard;
mod scope;
mod scratch;
mod selectivity;
mod text_index;
mod vocabulary;
mod witness;

pub(crate) use bits::BitSet;
pub(crate) use field_index::FieldIndex;
pub use ids::FieldId;
pub(crate) use ids::{Pair, PredicateId};
pub(crate) use program::Inner;
pub use program::Program;
pub(crate) use raw_guard::Softened;
pub(crate) use scope::Scope;
pub(crate) use scratch::Scratch;
