//! The writer: appends records, makes them durable, rolls segments.
//!
//! Comes in: bodies with a kind. Goes out: their places, and a promise about them: what
//! [`Journal::sync`] has returned is on disk. What is appended waits in memory until then, at most
//! [`WRITE_BUFFER_BYTES`] of it; beyond that it is written early, unsynced.
//!
//! After a write or a sync that failed nobody knows what the disk holds, so the journal stops:
//! every later call says [`JournalError::Stopped`], and only opening it anew finds out. A full disk
//! is the exception: it is met when room for a segment is reserved, before anything is written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::fs::{DiskFs, Fs, FsError, FsFile};
use crate::header::{Form, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::info::{SegmentInfo, SegmentState};
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkWriter};
use crate::options::JournalOptions;
use crate::record::{HEADER_BYTES, MAX_BODY_BYTES, Salt, encode};
use crate::recover::{Active, Opened, open_journal};
use crate::recovery::Recovery;
use crate::segment::{JournalError, create_segment, segment_path};
use crate::segments::Segments;

/// How much is held back before it is written without waiting for a sync.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// A buffer longer than this is given back once it is written.
const KEPT_BUFFER_BYTES: usize = 2 << 20;

/// A sync that made records durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took, the sync alone.
    pub took: Duration,
}

/// Which room a record may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Ordinary,
    Reserve,
}

/// A journal open for writing. There is one writer at a time; the directory is locked.
#[derive(Debug)]
pub struct Journal<F: Fs = DiskFs> {
    fs: F,
    dir: PathBuf,
    options: JournalOptions,
    uuid: [u8; 16],
    salt: Salt,
    segments: Segments<F>,
    active: Active<F::File>,
    /// Records not written yet; they go right before `active.end`.
    buffer: Vec<u8>,
    next: Lsn,
    durable: Lsn,
    synced: Option<Synced>,
    mark: MarkWriter<F::File>,
    is_stopped: bool,
}

impl Journal {
    /// Opens the journal in a directory, or makes one, and says what was found there.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if another process has it, [`JournalError::NoSpace`],
    /// [`JournalError::Version`], [`JournalError::File`]. Damage is no error: it is in the
    /// [`Recovery`], and the journal can be written.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Recovery), JournalError> {
        Self::open_on(DiskFs, dir, options)
    }
}

impl<F: Fs> Journal<F> {
    /// Opens a journal on a given file system.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(fs: F, dir: &Path, options: JournalOptions) -> Result<(Self, Recovery), JournalError> {
        let opened = open_journal(&fs, dir, &options)?;
        let Opened { lock, uuid, sealed, active, mark, floor, next, recovery } = opened;
        let known = (sealed, open_info(&active, next));
        let segments = Segments::new((fs.clone(), dir, lock), uuid, options.compression, known, floor);
        let journal = Self {
            fs,
            dir: dir.to_path_buf(),
            options,
            uuid,
            salt: Salt::new(&uuid),
            segments,
            active,
            buffer: Vec::new(),
            next,
            durable: next.previous(),
            synced: None,
            mark,
            is_stopped: false,
        };
        Ok((journal, recovery))
    }

    /// Appends a record and returns its place. It is durable once [`Journal::sync`] has returned
    /// that place or a later one.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] and [`JournalError::NoSpace`], after which the journal is as it
    /// was; [`JournalError::File`] and then [`JournalError::Stopped`].
    pub fn append(&mut self, kind: u8, body: &[u8]) -> Result<Lsn, JournalError> {
        self.append_to(Room::Ordinary, kind, body)
    }

    /// Appends a record as [`Journal::append`] does, if need be into the room that is kept for such
    /// records when the disk is full ([`JournalOptions::reserve_bytes`]).
    ///
    /// # Errors
    /// As [`Journal::append`]; [`JournalError::NoSpace`] once that room is used up too.
    pub fn append_control(&mut self, kind: u8, body: &[u8]) -> Result<Lsn, JournalError> {
        self.append_to(Room::Reserve, kind, body)
    }

    fn append_to(&mut self, room: Room, kind: u8, body: &[u8]) -> Result<Lsn, JournalError> {
        self.check_running()?;
        if body.len() > MAX_BODY_BYTES {
            return Err(JournalError::TooLarge { bytes: body.len() });
        }
        let total = (HEADER_BYTES + body.len()) as u64;
        if self.active.end + total > self.ordinary_end() {
            match self.make_room(total) {
                Err(JournalError::NoSpace { .. })
                    if room == Room::Reserve && self.active.end + total <= self.active.allocated => {}
                made => made?,
            }
        }
        let lsn = self.next;
        encode(&mut self.buffer, self.salt, lsn, self.durable, kind, body);
        self.active.end += total;
        self.next = lsn.next();
        if self.buffer.len() >= WRITE_BUFFER_BYTES {
            self.guarded(Self::write_buffer)?;
        }
        Ok(lsn)
    }

    /// Makes everything appended so far durable and returns the last durable place,
    /// [`Lsn::ZERO`] if nothing was ever appended. Readers may then go that far.
    ///
    /// # Errors
    /// [`JournalError::File`], and then [`JournalError::Stopped`].
    pub fn sync(&mut self) -> Result<Lsn, JournalError> {
        self.check_running()?;
        if self.next.previous() > self.durable {
            self.guarded(Self::write_and_sync)?;
        }
        Ok(self.durable)
    }

    /// Returns the last place that is durable.
    pub fn durable(&self) -> Option<Lsn> {
        self.durable.known()
    }

    /// Returns the last sync that made records durable, if there was one since the journal was opened.
    pub fn synced(&self) -> Option<Synced> {
        self.synced
    }

    /// Returns the place that the next record will have.
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Returns the first place still kept; if the journal is empty, that of its first record to come.
    pub fn oldest(&self) -> Lsn {
        self.segments.oldest()
    }

    /// Returns all segments, oldest first; the last one is the one being written.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> + use<F> {
        self.segments.list().into_iter()
    }

    /// Returns a handle on the segments, for whoever compresses and drops those that are sealed.
    pub fn sealed(&self) -> Segments<F> {
        self.segments.clone()
    }

    /// Returns the bytes that the journal takes up on disk, reserved room included.
    pub fn size_bytes(&self) -> u64 {
        self.segments.size_bytes()
    }

    /// Returns by how many bytes the journal would grow on disk if a record with a body of this
    /// length were appended now: nothing while it fits the room reserved.
    pub fn growth(&self, body_bytes: usize) -> u64 {
        let total = (HEADER_BYTES + body_bytes) as u64;
        if self.active.end + total <= self.ordinary_end() {
            0
        } else if self.active.end == SEGMENT_HEADER_BYTES {
            (SEGMENT_HEADER_BYTES + total + self.options.reserve_bytes).saturating_sub(self.active.allocated)
        } else {
            self.segment_bytes_for(total)
        }
    }

    fn segment_bytes_for(&self, record_bytes: u64) -> u64 {
        self.options.segment_bytes.max(SEGMENT_HEADER_BYTES + record_bytes) + self.options.reserve_bytes
    }

    /// Returns where the room for ordinary records ends.
    fn ordinary_end(&self) -> u64 {
        self.active.allocated.saturating_sub(self.options.reserve_bytes)
    }

    /// Returns the journal's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the file system it is on.
    pub fn fs(&self) -> &F {
        &self.fs
    }

    /// Drops segments as [`Segments::drop_before`] does.
    ///
    /// # Errors
    /// As [`Segments::drop_before`].
    ///
    /// # Contract
    /// Whoever needs the records has made their own place durable first.
    pub fn drop_before(&mut self, lsn: Lsn) -> Result<usize, JournalError> {
        self.check_running()?;
        self.segments.drop_before(lsn)
    }

    fn check_running(&self) -> Result<(), JournalError> {
        if self.is_stopped { Err(JournalError::Stopped) } else { Ok(()) }
    }

    /// Runs a step after whose failure the journal must not go on.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, JournalError>) -> Result<T, JournalError> {
        self.is_stopped = true;
        let done = step(self)?;
        self.is_stopped = false;
        Ok(done)
    }

    fn write_buffer(&mut self) -> Result<(), JournalError> {
        if !self.buffer.is_empty() {
            let offset = self.active.end - self.buffer.len() as u64;
            let written = self.active.file.write_all_at(&self.buffer, offset);
            written.map_err(|error| FsError::new("write", &segment_path(&self.dir, self.active.first), error))?;
            self.buffer.clear();
            // One long record must not be paid for ever after.
            self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        }
        Ok(())
    }

    fn write_and_sync(&mut self) -> Result<(), JournalError> {
        self.write_buffer()?;
        let start = Instant::now();
        let synced = self.active.file.sync_data();
        synced.map_err(|error| FsError::new("sync", &segment_path(&self.dir, self.active.first), error))?;
        let synced = Synced { at: self.fs.now(), took: start.elapsed() };
        self.durable = self.next.previous();
        self.synced = Some(synced);
        self.segments.note_open(|open| (open.last, open.until) = (Some(self.durable), Some(synced.at)));
        self.publish()
    }

    fn publish(&mut self) -> Result<(), JournalError> {
        let Active { first: segment, end, .. } = self.active;
        self.mark.publish(&Mark { uuid: self.uuid, durable: self.durable, segment, end })?;
        Ok(())
    }

    fn make_room(&mut self, record_bytes: u64) -> Result<(), JournalError> {
        if self.active.end > SEGMENT_HEADER_BYTES {
            return self.roll(record_bytes);
        }
        // A segment without a record is not sealed: the next one would have the same name.
        let bytes = SEGMENT_HEADER_BYTES + record_bytes + self.options.reserve_bytes;
        let path = segment_path(&self.dir, self.active.first);
        match self.active.file.allocate(bytes).map_err(FsError::on("reserve room for", &path)) {
            Ok(()) => {
                self.active.allocated = bytes;
                self.segments.note_open(|open| (open.bytes, open.written_bytes) = (bytes, bytes));
            }
            Err(source) if source.is_no_space() => return Err(JournalError::NoSpace { bytes, source }),
            Err(error) => {
                self.is_stopped = true;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Seals the segment being written and starts one with room for `record_bytes`.
    fn roll(&mut self, record_bytes: u64) -> Result<(), JournalError> {
        // What is in the old segment is on disk before anything is in the new one: a torn tail
        // can only be in the last segment.
        self.sync()?;
        let bytes = self.segment_bytes_for(record_bytes);
        let since = Some(self.fs.now());
        let (form, first, previous) = (Form::Raw, self.next, self.active.first);
        let header = SegmentHeader { form, uuid: self.uuid, first, previous, since };
        let file = match create_segment(&self.fs, &self.dir, &header, bytes) {
            Ok(file) => file,
            Err(error) => {
                self.is_stopped = !matches!(error, JournalError::NoSpace { .. });
                return Err(error);
            }
        };
        let active = Active { file, first, end: SEGMENT_HEADER_BYTES, allocated: bytes, since };
        let old = std::mem::replace(&mut self.active, active);
        self.guarded(|journal| {
            journal.publish()?;
            let path = segment_path(&journal.dir, old.first);
            // Gives back reserved room. It need not be durable: zeroes at the end harm nobody.
            old.file.truncate(old.end).map_err(FsError::on("cut", &path))?;
            journal.segments.note_roll(old.end, open_info(&journal.active, journal.next));
            Ok(())
        })
    }
}

/// Returns what is known of a segment that is being written from now on.
fn open_info<H>(active: &Active<H>, next: Lsn) -> SegmentInfo {
    SegmentInfo {
        first: active.first,
        last: (next > active.first).then(|| next.previous()),
        bytes: active.allocated,
        written_bytes: active.allocated,
        state: SegmentState::Open,
        since: active.since,
        until: None,
    }
}

#[cfg(test)]
mod tests;
