//! Runs the cases of `test-corpus/cases` through the real rooms: parser, matcher, correlator, grouper.
//!
//! ```text
//! case.toml + input.<format> ──► Case ──► replay ──► Replayed { detections, incidents, formats }
//! expected.ndjson ──► Expectation ◄── compare ──► differences, in words
//! ```
//!
//! The format of a case is written in `test-corpus/README.md`. The layer tests, which hold the import
//! law, live here too since this is the one crate that sees all others.

mod case;
mod expectation;
mod pack;
mod replay;

pub use case::{Case, CaseError};
pub use expectation::{Expectation, differences, expected_of, raised_of};
pub use pack::{LoadedPack, load_pack};
pub use replay::{Replayed, replay};
