//! Whole lines through the one door: golden cases, real logs, hostile bytes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "all of it is test, files of the corpus are read, and what is skipped is said"
)]

mod corpus;
mod golden;
mod properties;
mod reading;
