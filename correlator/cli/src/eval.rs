//! `canh eval`: lays rules against files of events, without a correlator.
//!
//! ```text
//!  files ─► source ─► lines ─┬─► block ─► judge (a thread) ─► judged ─┬─► report ─► stdout, in order
//!           (a thread)       ├─► block ─► judge (a thread) ─► judged ─┤   (main thread)
//!                   ▲        └─► ...                                  │
//!                   └──────────────── spent buffers ◄─────────────────┘
//! ```
//! What comes in a stream (stdin, packed, event logs) is read by the source; of a plain file it only
//! says which part a judge is to read.
//!
//! Blocks go to the judges in turn and are collected in turn, so that hits come out in the order of
//! the input however many judges there are. Every channel is bounded: at most a few blocks a judge
//! are in memory.

pub(crate) mod arguments;
mod block;
mod judge;
mod lines;
mod progress;
mod report;
pub(crate) mod run;
mod sink;
mod source;
mod span;
mod tally;
