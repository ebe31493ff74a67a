//! The journal's room: opens it, finds out how far every stream is durable, hands records to the
//! committer, and keeps it within its bound.
//!
//! ```text
//!  open ── marks rebuilt ──► CommitHandle ◄── normalisers
//!                              │ callbacks, in journal order: marks settle, sessions wake
//!  keeper, once a second ──────┴── marks into the journal, cursor, retention, gauges
//! ```
//!
//! After a failed sync nothing is acknowledged any more: the daemon stops and says so.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use anyhow::Context;
use canh_journal::{
    CommitError, CommitHandle, CommitOutcome, CommitPolicy, CommitReport, Committer, Cursor, Journal, JournalOptions,
    Lsn, Reader, Recovery, Segments,
};
use canh_service::signals::ShutdownTrigger;

use crate::books;
use crate::config::Config;
use crate::losses::{LossOutbox, Losses, is_loss};
use crate::marks::{self, Rebuilt};
use crate::metrics::Metrics;
use crate::streams::Streams;

/// Others of the group may read: the correlator does.
const DIR_MODE: u32 = 0o750;
const CURSOR_FILE: &str = "marks.cursor";
/// Room for records of our own when the disk is full, such as the places of streams at a stop.
const RESERVE_BYTES: u64 = 16 << 20;
const BOOKS_FILE: &str = "books";
const LOSSES_DIR: &str = "losses";
/// Bytes of a store's id, which is the cursor's payload.
const STORE_ID_BYTES: usize = 16;

/// How far the journal's callbacks have come, and whether it failed.
#[derive(Debug)]
pub(crate) struct Settled {
    last: AtomicU64,
    failure: OnceLock<CommitError>,
    trigger: ShutdownTrigger,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct OpenJournal {
    pub(crate) commit: CommitHandle,
    pub(crate) thread: JoinHandle<CommitOutcome>,
    pub(crate) settled: Arc<Settled>,
    pub(crate) losses: LossOutbox,
    pub(crate) kept: Kept,
}

/// Where the marks are kept, and how far.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The journal's segments.
    pub(crate) segments: Segments,
    /// The journal's directory.
    pub(crate) dir: PathBuf,
    /// The file of the books.
    pub(crate) books: PathBuf,
    /// The copies of gaps and accounts.
    pub(crate) losses: Losses,
    /// Where the next start reads on from.
    pub(crate) cursor: Cursor,
    /// Up to where the journal tells of nothing that is not in the marks kept.
    pub(crate) up_to: Lsn,
    /// Tells agents which store they talk to; the cursor's payload.
    pub(crate) store: u128,
}

impl Settled {
    /// Returns the state of a journal that is durable up to `last`.
    pub(crate) fn new(last: Lsn, trigger: ShutdownTrigger) -> Self {
        Self { last: AtomicU64::new(last.0), failure: OnceLock::new(), trigger }
    }

    /// Says that everything a record tells is known now. Called in journal order.
    pub(crate) fn settle(&self, lsn: Lsn) {
        self.last.store(lsn.0, Ordering::Release);
    }

    /// Returns the last record whose telling is known.
    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.last.load(Ordering::Acquire))
    }

    /// Stops the daemon: the journal takes nothing more.
    pub(crate) fn fail(&self, error: CommitError) {
        // Closed is how a journal ends when it is asked to; then nobody has to come.
        if !matches!(error, CommitError::Closed) {
            let _ = self.failure.set(error);
        }
        self.trigger.request();
    }

    /// Returns why the journal failed.
    pub(crate) fn failure(&self) -> Option<&CommitError> {
        self.failure.get()
    }
}

/// Opens the journal, or makes it, and restores every stream's mark.
///
/// # Errors
/// It is locked, cannot be read or written.
pub(crate) fn open(
    config: &Config,
    streams: &Streams,
    metrics: &Metrics,
    trigger: ShutdownTrigger,
) -> anyhow::Result<OpenJournal> {
    let (state_dir, dir) = (&config.state_dir, config.journal_dir());
    let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(state_dir);
    made.with_context(|| format!("while making {}", state_dir.display()))?;
    let (segment_bytes, compression) = (config.segment_bytes, config.compression);
    let options = JournalOptions { segment_bytes, reserve_bytes: RESERVE_BYTES, compression };
    let (journal, recovery) = Journal::open(&dir, options).context("while opening the journal")?;
    report(&recovery, metrics);
    let mut cursor = open_cursor(&state_dir.join(CURSOR_FILE))?;
    let (from, store) = place_of(&cursor, &recovery)?;
    if from.is_none() {
        cursor.set(Lsn::FIRST, &store.to_le_bytes()).context("while making the cursor of the marks")?;
    }
    let books = state_dir.join(BOOKS_FILE);
    // Without the books everything is counted again, which is also how far copies may be missing.
    let from = if take_books(&books, store, streams) { from.unwrap_or(Lsn::FIRST) } else { Lsn::FIRST };
    let mut losses = Losses::open(&state_dir.join(LOSSES_DIR), config.losses_max_bytes, recovery.durable)?;
    let rebuilt = rebuild(&dir, from, streams, &mut losses)?;
    metrics.journal_lost_records.inc_by(rebuilt.lost);
    tracing::info!(records = rebuilt.records, streams = streams.durable().len(), "places of streams rebuilt");
    let up_to = if rebuilt.changes == 0 { recovery.durable } else { Lsn::ZERO };
    let settled = Arc::new(Settled::new(recovery.durable, trigger));
    let policy = CommitPolicy { queue_bytes: queue_bytes(config), ..CommitPolicy::default() };
    let (segments, sync_seconds) = (journal.sealed(), metrics.journal_sync_seconds.clone());
    let observe = move |report: &CommitReport| sync_seconds.observe(report.synced.took.as_secs_f64());
    let spawned = Committer::spawn_observed(journal, policy, observe);
    let (commit, thread) = spawned.context("while starting the journal's committer")?;
    let kept = Kept { segments, dir, books, losses, cursor, up_to, store };
    Ok(OpenJournal { commit, thread, settled, losses: LossOutbox::default(), kept })
}

/// The memory budget already holds what waits for the journal; this is a second, wider wall.
fn queue_bytes(config: &Config) -> usize {
    usize::try_from(config.limits.memory_bytes).unwrap_or(usize::MAX)
}

fn report(recovery: &Recovery, metrics: &Metrics) {
    if let Some(torn) = recovery.torn {
        tracing::info!(at = %torn.at, bytes = torn.bytes, "a half-written end of the journal was cut off");
    }
    for damage in &recovery.damage {
        let count = damage.to.0.saturating_sub(damage.from.0) + 1;
        metrics.journal_lost_records.inc_by(count);
        tracing::error!(from = %damage.from, to = %damage.to, segment = %damage.segment.display(), "journal records are lost");
    }
    for path in &recovery.quarantined {
        tracing::error!(path = %path.display(), "a file that is no segment of this journal was put aside");
    }
}

/// A damaged cursor costs time, not records: the whole journal is read instead.
fn open_cursor(path: &Path) -> anyhow::Result<Cursor> {
    match Cursor::open(path) {
        Ok(cursor) => Ok(cursor),
        Err(error @ canh_journal::CursorError::Damaged { .. }) => {
            tracing::warn!(%error, "the whole journal is read to find the places of streams");
            fs::remove_file(path).with_context(|| format!("while removing {}", path.display()))?;
            Cursor::open(path).context("while making the cursor of the marks anew")
        }
        Err(error) => Err(error).context("while opening the cursor of the marks"),
    }
}

/// Returns where to read on from, if that is known, and the store's id.
fn place_of(cursor: &Cursor, recovery: &Recovery) -> anyhow::Result<(Option<Lsn>, u128)> {
    let kept = cursor.get().and_then(|(lsn, payload)| {
        let id: [u8; STORE_ID_BYTES] = payload.try_into().ok()?;
        Some((lsn, u128::from_le_bytes(id)))
    });
    match kept {
        // A cursor ahead of the journal belongs to another one: the directory was emptied or put back.
        Some((lsn, store)) if !recovery.is_new && lsn <= recovery.durable.next() => Ok((Some(lsn), store)),
        Some(_) => {
            tracing::warn!("the cursor of the marks belongs to another journal and begins anew");
            Ok((None, new_store_id()?))
        }
        None => Ok((None, new_store_id()?)),
    }
}

/// Takes the books over from their file; false if everything must be counted anew.
fn take_books(path: &Path, store: u128, streams: &Streams) -> bool {
    match books::load(path, store, streams) {
        Ok(is_there) => is_there,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the whole journal is counted to find what there is of each source");
            false
        }
    }
}

fn rebuild(dir: &Path, from: Lsn, streams: &Streams, losses: &mut Losses) -> anyhow::Result<Rebuilt> {
    let mut reader = Reader::open(dir).context("while opening the journal to read")?;
    let mut copied = Ok(());
    let rebuilt = marks::rebuild(&mut reader, from, streams, |entry| {
        if is_loss(entry.kind) && copied.is_ok() {
            copied = losses.copy(entry.lsn, entry.body);
        }
    });
    let rebuilt = rebuilt.context("while rebuilding the places of streams from the journal")?;
    copied.and_then(|()| losses.sync()).context("while copying gaps and accounts")?;
    Ok(rebuilt)
}

fn new_store_id() -> anyhow::Result<u128> {
    let mut id = [0; STORE_ID_BYTES];
    let drawn: io::Result<()> = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut id));
    drawn.context("while drawing the store's id from /dev/urandom")?;
    Ok(u128::from_le_bytes(id))
}

#[cfg(test)]
mod tests;
