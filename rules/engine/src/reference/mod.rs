//! The plain twin: lays a rule against an event straight off the rule, and says why it fits or not.
//!
//! Nothing here is fast, and nothing here is clever. Whatever the compiled program answers must be
//! what this file answers; differential tests hold it to that. Where the specification leaves a
//! choice, this is where it is made and can be read:
//!
//! * A list in an event matches if one of its values does; under `all`, each test may be met by
//!   another value.
//! * Numbers and truth values are matched by their text; a rule's number matches every way to write
//!   it (`4104`, `"4104"`, `4104.0`).
//! * `null` holds if the field is absent or has a value that is nothing; `''` only if it has an empty
//!   text. `exists` asks for the field, whatever its value.
//! * No test of a text, number, network or date holds for a value that is nothing.
//! * `neq` needs the field: a field that is absent is not different.
//! * A keyword is looked for inside every value of the event, numbers included.

mod evaluate;
mod explain;
#[cfg(test)]
mod tests;

pub use evaluate::matches;
pub use explain::{Explanation, Step, explain};
