//! The log of record: an append-only journal of checksummed records in segment files.
//!
//! One format serves the agent's spool, the collector's journal and the correlator's incident
//! ledger. What it promises: **a record whose place [`Journal::sync`] has returned is on disk**,
//! and stays readable after a kill, a power cut, a full disk or a failed sync, at any moment; a
//! record that is lost all the same (a broken disk, a careless hand) is named, never passed over.
//!
//! ```text
//!                 ┌──────────────────────── one directory ───────────────────────┐
//!  append, sync   │ lock                       one writer                        │  next, next, ...
//!  ─────────────► │ 00000000000000000001.seg   sealed, compressed                │ ─────────────►
//!   Journal or    │ 00000000000000083412.seg   being written, room reserved      │   Reader, also in
//!   Committer     │ durable                    how far it is on disk             │   another process
//!                 │ floor                      the oldest record kept            │
//!                 └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! * [`Journal`] writes. [`Committer`] writes for many: one sync for a group of records.
//! * [`Reader`] reads, from any place on, and follows a writer; it returns durable records only.
//! * [`Segments`] tells of the segments, compresses them and drops them, by a rule if need be
//!   ([`Retention`]), on any thread and without the writer waiting.
//! * [`Cursor`] keeps a consumer's place through a crash.
//! * [`Chain`] is a journal whose records are chained by SHA-256.
//! * [`Fs`] is all that is asked of a file system, so that a fake can lose what was not synced.
//!
//! Formats: `segment.rs`, `header.rs`, `record.rs`, `packed.rs`, `slots.rs`. What a crash may leave, and
//! how it is told from damage: `tail.rs`, `recover.rs`, `survey.rs`. A segment is found by its name and
//! walked from its start, so [`Reader::seek`] reads up to one segment, of a compressed one up to one
//! block; only the last segment is read when a journal is opened.
//!
//! # Example
//!
//! ```
//! use canh_journal::{Journal, JournalOptions, Lsn, Reader};
//!
//! let dir = tempfile::tempdir()?;
//! let (mut journal, recovery) = Journal::open(dir.path(), JournalOptions::default())?;
//! assert!(recovery.is_new);
//! journal.append(1, b"first")?;
//! journal.append(1, b"second")?;
//!
//! let mut reader = Reader::open(dir.path())?;
//! assert!(reader.next()?.is_none(), "nothing is durable yet");
//! assert_eq!(journal.sync()?, Lsn(2));
//! let entry = reader.next()?.ok_or("two records are durable")?;
//! assert_eq!((entry.lsn, entry.kind, entry.body), (Lsn(1), 1, b"first".as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod commit;
mod content;
mod cursor;
mod floor;
mod fs;
mod header;
mod info;
mod journal;
mod lsn;
mod mark;
mod options;
mod pack;
mod packed;
mod queue;
mod reader;
mod record;
mod recover;
mod recovery;
mod retention;
mod scan;
mod segment;
mod segments;
mod slots;
mod survey;
mod tail;
#[cfg(test)]
mod trial;
mod unpack;
mod window;

pub use chain::{
    CHAIN_HASH_BYTES, Chain, ChainBreak, ChainError, ChainHash, ChainReport, split_chained, verify_chain,
    verify_chain_on,
};
pub use commit::{CommitHandle, CommitOutcome, Committer, NotSubmitted};
pub use cursor::{Cursor, CursorError, MAX_CURSOR_PAYLOAD_BYTES};
pub use fs::{DiskFs, Fs, FsError, FsFile, OpenMode};
pub use info::{SegmentInfo, SegmentState};
pub use journal::{Journal, Synced};
pub use lsn::Lsn;
pub use options::{Compression, JournalOptions};
pub use queue::{CommitError, CommitPolicy, CommitReport, CommitStats};
pub use reader::{Entry, ReadError, Reader};
pub use record::MAX_BODY_BYTES;
pub use recovery::{Damage, Recovery, TornTail};
pub use retention::Retention;
pub use segment::JournalError;
pub use segments::Segments;
