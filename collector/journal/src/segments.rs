//! The segments of a journal that are written no more: what is known of them, and what becomes of
//! them. They are compressed and dropped here, by whoever holds a handle, on any thread; the writer
//! never waits for either.
//!
//! ```text
//!  writer ── sealed ──► │ 1 │ 83412 │ 170022 │ ... │ open │
//!                         │     └─ compress: written beside, synced, read back, renamed over
//!                         └─ drop: floor on disk first, then the files go
//! ```
//!
//! A segment is compressed under its own name: the renaming puts one form in the other's place, so at
//! any moment, also after a crash, there is exactly one. A reader that has the old file open reads on
//! in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{debug, error};

use crate::floor::Floor;
use crate::fs::{DiskFs, Fs, FsError};
use crate::info::{SegmentInfo, SegmentState};
use crate::lsn::Lsn;
use crate::options::Compression;
use crate::pack::{Packing, pack_segment};
use crate::retention::Retention;
use crate::segment::{JournalError, segment_path, unfinished_path};

/// A handle on a journal's segments. As long as there is one, the directory stays locked.
#[derive(Debug)]
pub struct Segments<F: Fs = DiskFs> {
    shared: Arc<Shared<F>>,
}

#[derive(Debug)]
struct Shared<F: Fs> {
    _lock: F::File,
    fs: F,
    dir: PathBuf,
    uuid: [u8; 16],
    compression: Compression,
    /// Held for moments only and over no call to the file system: the writer takes it as well.
    state: Mutex<State>,
    /// Held by whoever drops, or puts one form in the other's place.
    floor: Mutex<Floor<F::File>>,
    /// Held by whoever compresses.
    compressing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    sealed: Vec<SegmentInfo>,
    open: SegmentInfo,
    /// Sealed segments that stay as they are: damaged, or compression does not make them shorter.
    left_raw: BTreeSet<Lsn>,
}

impl<F: Fs> Clone for Segments<F> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<F: Fs> Segments<F> {
    pub(crate) fn new(
        place: (F, &Path, F::File),
        uuid: [u8; 16],
        compression: Compression,
        (sealed, open): (Vec<SegmentInfo>, SegmentInfo),
        floor: Floor<F::File>,
    ) -> Self {
        let (fs, dir, lock) = place;
        let state = Mutex::new(State { sealed, open, left_raw: BTreeSet::new() });
        let (dir, floor, compressing) = (dir.to_path_buf(), Mutex::new(floor), Mutex::new(()));
        Self { shared: Arc::new(Shared { _lock: lock, fs, dir, uuid, compression, state, floor, compressing }) }
    }

    /// Returns all segments, oldest first; the last one is the one being written.
    pub fn list(&self) -> Vec<SegmentInfo> {
        let state = self.state();
        state.sealed.iter().copied().chain([state.open]).collect()
    }

    /// Returns the first place still kept; if the journal is empty, that of its first record to come.
    pub fn oldest(&self) -> Lsn {
        let state = self.state();
        state.sealed.first().unwrap_or(&state.open).first
    }

    /// Returns the bytes that all segments take up on disk, reserved room included.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state();
        state.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + state.open.bytes
    }

    /// Compresses the oldest sealed segment that is not compressed, as the journal's options say, and
    /// returns what it is now; nothing if there is none to compress, or `go_on`, which is asked every few
    /// milliseconds, says no.
    ///
    /// # Errors
    /// [`JournalError::NoSpace`], [`JournalError::File`]. The segment is as readable as before, and the
    /// next call tries again.
    pub fn compress_next(&self, go_on: &dyn Fn() -> bool) -> Result<Option<SegmentInfo>, JournalError> {
        let Compression::Zstd { level } = self.shared.compression else { return Ok(None) };
        let _one_at_a_time = self.shared.compressing.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(info) = self.next_raw() {
            let Shared { fs, dir, uuid, .. } = &*self.shared;
            let packing = pack_segment(fs, dir, *uuid, &info, level, go_on).map_err(|source| {
                // Best effort: what stays is removed when the journal is next opened.
                let _ = fs.remove(&unfinished_path(dir, info.first));
                if source.is_no_space() { JournalError::NoSpace { bytes: info.bytes, source } } else { source.into() }
            });
            match packing {
                Ok(Packing::Done { path, bytes }) => {
                    if let Some(info) = self.put_in_place(&info, &path, bytes)? {
                        return Ok(Some(info));
                    }
                }
                Ok(Packing::Interrupted) => return Ok(None),
                Ok(Packing::NotShorter) => self.leave_raw(info.first),
                Ok(Packing::Damaged) => {
                    self.leave_raw(info.first);
                    let segment = segment_path(dir, info.first);
                    error!(segment = %segment.display(), "sealed segment is damaged, it is left as it is");
                }
                // It may have been dropped meanwhile.
                Err(_) if !self.holds(info.first) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Puts a compressed form in a segment's place, unless that has been dropped meanwhile.
    fn put_in_place(&self, info: &SegmentInfo, new: &Path, bytes: u64) -> Result<Option<SegmentInfo>, JournalError> {
        let Shared { fs, dir, .. } = &*self.shared;
        // Whoever drops waits: a segment that is being dropped must not come back. The writer does not,
        // a renaming may take its time.
        let floor = self.floor();
        if !self.holds(info.first) {
            fs.remove(new).map_err(FsError::on("remove", new))?;
            return Ok(None);
        }
        fs.rename(new, &segment_path(dir, info.first)).map_err(|error| {
            let _ = fs.remove(new);
            FsError::new("rename", new, error)
        })?;
        let packed = SegmentInfo { bytes, state: SegmentState::Compressed, ..*info };
        if let Some(kept) = self.state().sealed.iter_mut().find(|kept| kept.first == info.first) {
            *kept = packed;
        }
        drop(floor);
        fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
        debug!(first = %packed.first, bytes, written = packed.written_bytes, "segment compressed");
        Ok(Some(packed))
    }

    fn next_raw(&self) -> Option<SegmentInfo> {
        let state = self.state();
        let is_raw = |info: &&SegmentInfo| info.state == SegmentState::Sealed && !state.left_raw.contains(&info.first);
        state.sealed.iter().find(is_raw).copied()
    }

    fn leave_raw(&self, first: Lsn) {
        self.state().left_raw.insert(first);
    }

    fn holds(&self, first: Lsn) -> bool {
        self.state().sealed.iter().any(|info| info.first == first)
    }

    /// Drops every sealed segment that the rule lets go, but none that holds a record from `needed` on,
    /// and returns how many.
    ///
    /// # Errors
    /// As [`Segments::drop_before`].
    ///
    /// # Contract
    /// Whoever needs records has made their own place durable, and none is before `needed`.
    pub fn retain(&self, rule: &Retention, needed: Lsn) -> Result<usize, JournalError> {
        self.drop_before(rule.first_kept(&self.list(), self.shared.fs.now(), needed))
    }

    /// Drops every sealed segment that holds only records before `lsn`, and returns how many. The
    /// segment being written always stays.
    ///
    /// # Errors
    /// [`JournalError::File`]. If the floor could not be noted, nothing was dropped, and nothing is
    /// until the journal is opened anew: [`JournalError::Stopped`]. If a file could not be removed, the
    /// next start removes it.
    ///
    /// # Contract
    /// Whoever needs the records has made their own place durable first.
    pub fn drop_before(&self, lsn: Lsn) -> Result<usize, JournalError> {
        let mut floor = self.floor();
        if floor.is_stopped() {
            return Err(JournalError::Stopped);
        }
        let kept = self.list().iter().map(|segment| segment.first).take_while(|first| *first <= lsn).last();
        let Some(kept) = kept.filter(|kept| *kept > self.oldest()) else { return Ok(0) };
        floor.raise(kept)?;
        let dropped = self.forget_before(kept);
        let Shared { fs, dir, .. } = &*self.shared;
        for info in &dropped {
            let path = segment_path(dir, info.first);
            fs.remove(&path).map_err(FsError::on("remove", &path))?;
        }
        fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
        Ok(dropped.len())
    }

    fn forget_before(&self, kept: Lsn) -> Vec<SegmentInfo> {
        let mut state = self.state();
        state.left_raw.retain(|first| *first >= kept);
        let count = state.sealed.partition_point(|info| info.first < kept);
        state.sealed.drain(..count).collect()
    }

    /// Notes how the segment being written stands.
    pub(crate) fn note_open(&self, change: impl FnOnce(&mut SegmentInfo)) {
        change(&mut self.state().open);
    }

    /// Notes that the segment being written has `bytes` bytes and is sealed, and that another one is
    /// being written.
    pub(crate) fn note_roll(&self, bytes: u64, open: SegmentInfo) {
        let mut state = self.state();
        let sealed = std::mem::replace(&mut state.open, open);
        // If nothing was synced since the journal was opened, it was before the next one was begun.
        let until = sealed.until.or(state.open.since);
        state.sealed.push(SegmentInfo { bytes, written_bytes: bytes, state: SegmentState::Sealed, until, ..sealed });
    }

    fn floor(&self) -> MutexGuard<'_, Floor<F::File>> {
        // It says itself whether it can still be relied on.
        self.shared.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything that could panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
