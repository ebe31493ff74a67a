//! `canh loss`: the loss ledger, read from the collector's own files.
//!
//! ```text
//!  <state>/losses (a journal) ─► balance: the last statement of each stream, the last of each source
//!                              └► gaps, newest kept ─► page: table, json, csv ... ─► stdout
//! ```

pub(crate) mod arguments;
mod balance;
mod page;
pub(crate) mod run;
