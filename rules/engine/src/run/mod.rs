//! Running a program over events.
//!
//! ```text
//!  column ─► distinct value ─► remembered? ──yes─► list: predicates fired, rules witnessed
//!                                   └─no─► FieldIndex ─► list, remembered
//!  row ─► its values' lists ─► no witness of a rule in play: nothing to do (most rows)
//!                          └─► predicates into bits, each witnessed rule's branches run ─► hits
//! ```

mod fed;
mod feed;
mod generation;
mod hit;
mod lists;
mod matcher;
mod memory;
mod pair;
mod verdict;

pub use feed::{Feed, Written};
pub use hit::{Hit, Routing};
pub use matcher::Matcher;
pub use memory::{Form, MemoryCounts, MemoryLimits};
