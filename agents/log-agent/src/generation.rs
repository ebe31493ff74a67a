//! One file that is or was at a watched path: closed at a position, or open with its tail.
//!
//! ```text
//!  Closed ──open──► Open ──finished, gone from every watched path──► forgotten
//!    ▲               │ └──finished, at a watched path under another name──► parked (Closed)
//!    └──too many ────┘                                                        │ grown: back to Open
//! ```

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::batch::Pen;
use crate::metrics::Reason;
use crate::position::{FileId, Position};
use crate::room::Room;
use crate::siblings::{self, Age};
use crate::tail::Tail;

/// How long a deleted file is held open after its last growth, at most: it takes room on the disk.
const DELETED_WAIT: Duration = Duration::from_secs(5);

/// How long a file that could not be opened or read is left alone.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// One file of a source.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) id: FileId,
    pub(crate) state: State,
    pub(crate) age: Age,
    /// Up to where it is read in this visit.
    pub(crate) size: u64,
    links: u64,
    pub(crate) is_current: bool,
    /// Finished, but still at a watched path under another name, so it must stay known.
    pub(crate) is_parked: bool,
    pub(crate) grown: Instant,
    pub(crate) retry_at: Option<Instant>,
    /// When the file had been written last, as of the last poll.
    pub(crate) polled_written: i64,
}

/// Whether the file is held open.
#[derive(Debug)]
pub(crate) enum State {
    /// Not held open; the size it had when it was closed, if it was read to its end.
    Closed {
        position: Position,
        read_size: Option<u64>,
    },
    Open {
        file: File,
        tail: Tail,
    },
}

impl Generation {
    pub(crate) fn new(position: Position, age: Age, now: Instant) -> Self {
        let read_size = position.is_finished.then_some(position.offset);
        let state = State::Closed { position, read_size };
        let (id, is_current, is_parked) = (position.file, false, position.is_finished);
        let polled_written = age.written;
        Self { id, state, age, size: 0, links: 1, is_current, is_parked, grown: now, retry_at: None, polled_written }
    }

    pub(crate) fn position(&self) -> Position {
        let position = match &self.state {
            State::Closed { position, .. } => *position,
            State::Open { tail, .. } => tail.position(self.id),
        };
        let born = self.age.born.unwrap_or(0);
        Position { written: self.age.written, born, is_finished: self.is_parked, ..position }
    }

    pub(crate) fn see(&mut self, metadata: &Metadata) {
        self.size = metadata.len();
        self.links = metadata.nlink();
        self.age = Age::of(metadata);
    }

    pub(crate) fn wants_opening(&self, now: Instant) -> bool {
        let State::Closed { read_size, .. } = &self.state else { return false };
        let has_news = !self.is_current || *read_size != Some(self.size) || self.is_written_since();
        has_news && !self.is_parked && self.retry_at.is_none_or(|at| at <= now)
    }

    /// Whether the file was written since the last poll, even if it is no longer than it was.
    pub(crate) fn is_written_since(&self) -> bool {
        self.age.written != self.polled_written
    }

    /// Opens the file wherever it is now. Returns false if it is nowhere.
    pub(crate) fn open(&mut self, path: &Path, room: &mut Room) -> bool {
        if self.is_current {
            self.open_at(path, room);
            return true;
        }
        let seen = room.present.get(&self.id).map(|(path, _)| path.clone());
        let seen = seen.filter(|path| fs::metadata(path).is_ok_and(|it| FileId::of(&it) == self.id));
        match seen.map_or_else(|| siblings::locate(path, self.id), |path| Ok(Some(path))) {
            Ok(Some(place)) => self.open_at(&place, room),
            Ok(None) => false,
            Err(error) => {
                self.retry_at = Some(room.moment.instant + RETRY_PAUSE);
                room.complain(path, Reason::Scan, Some(&error));
                true
            }
        }
    }

    /// Opens the file at a path, if it is still there. Returns false if it is another one by its
    /// content and not at its own path, so that it is not the one that was read.
    pub(crate) fn open_at(&mut self, path: &Path, room: &mut Room) -> bool {
        match self.try_open(path, room) {
            Ok(is_it) => is_it,
            Err(error) => {
                self.retry_at = Some(room.moment.instant + RETRY_PAUSE);
                if is_out_of_descriptors(&error) {
                    room.limits.open_files = (room.open_files).saturating_sub(room.open_files / 4).max(1);
                }
                room.complain(path, Reason::Open, Some(&error));
                true
            }
        }
    }

    fn try_open(&mut self, path: &Path, room: &mut Room) -> io::Result<bool> {
        let State::Closed { position, .. } = &self.state else { return Ok(true) };
        let file = open_file(path)?;
        let metadata = file.metadata()?;
        if FileId::of(&metadata) != self.id {
            // It moved on between the look and the opening; the next look will tell.
            return Ok(true);
        }
        let tail = match Tail::resume(position, &file)? {
            Some(tail) => tail,
            None if self.is_current || self.is_same_birth(&metadata) => {
                room.metrics.truncations.inc();
                tracing::info!(path = ?path, "file holds other lines than before, reading it from its beginning");
                Tail::default()
            }
            None => return Ok(false),
        };
        if !self.is_current {
            self.see(&metadata);
        }
        room.open_files += 1;
        self.state = State::Open { file, tail };
        self.retry_at = None;
        Ok(true)
    }

    /// Whether a file of this identity was born at another time, so that it is another one.
    pub(crate) fn is_other_birth(&self, metadata: &Metadata) -> bool {
        self.age.born.zip(Age::of(metadata).born).is_some_and(|(own, others)| own != others)
    }

    fn is_same_birth(&self, metadata: &Metadata) -> bool {
        self.age.born.is_some() && self.age.born == Age::of(metadata).born
    }

    /// Opens a file so that only what is past `size` is read.
    pub(crate) fn start_at_end(&mut self, path: &Path, size: u64, room: &mut Room) {
        self.open_at(path, room);
        if let State::Open { file, tail } = &mut self.state {
            match Tail::at_end(file, size) {
                Ok(ended) => *tail = ended,
                Err(error) => room.complain(path, Reason::Read, Some(&error)),
            }
        }
    }

    /// Whether a detached file has been read to its end and has not grown for long enough.
    pub(crate) fn is_finished(&self, room: &Room) -> bool {
        let State::Open { tail, .. } = &self.state else { return false };
        let wait = if self.links == 0 { room.limits.rotated_wait.min(DELETED_WAIT) } else { room.limits.rotated_wait };
        self.size == tail.end() && room.moment.instant.saturating_duration_since(self.grown) >= wait
    }

    pub(crate) fn finish(&mut self, pen: &mut Pen<'_>) -> io::Result<bool> {
        match &mut self.state {
            State::Open { file, tail } => tail.finish(file, pen),
            State::Closed { .. } => Ok(true),
        }
    }

    pub(crate) fn park(&mut self, room: &mut Room) {
        self.is_parked = true;
        self.shut(room);
    }

    pub(crate) fn unpark_if_grown(&mut self, size: Option<u64>) {
        if let State::Closed { read_size, .. } = &self.state
            && size.is_some_and(|size| Some(size) != *read_size)
        {
            self.is_parked = false;
        }
    }

    pub(crate) fn close_if_crowded(&mut self, room: &mut Room) {
        if let State::Open { tail, .. } = &self.state
            && room.open_files > room.limits.open_files
            && tail.end() == self.size
        {
            self.shut(room);
        }
    }

    fn shut(&mut self, room: &mut Room) {
        if let State::Open { tail, .. } = &self.state {
            let read_size = Some(tail.end());
            self.state = State::Closed { position: self.position(), read_size };
            room.open_files = room.open_files.saturating_sub(1);
        }
    }

    pub(crate) fn forget(mut self, room: &mut Room) {
        self.shut(room);
        room.known.remove(&self.id);
    }
}

/// Opens a file for reading; a pipe that took its place does not make the open wait.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)?;
    Ok(file)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error()) || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}
