//! One watched path and the files that are or were at it, oldest first.
//!
//! ```text
//!  auth.log  ──stat──►  inode 7          generations: [ 5 detached ][ 6 detached ][ 7 current ]
//!  auth.log.1           inode 6                         read first ───────────────► read last
//! ```
//!
//! A file that is no longer at its path is detached: it is read to its end, and on for a while, since
//! whoever writes it may not have noticed. Then its last line is handed over even without an end, and
//! it is let go. Sizes are taken from the newest file to the oldest and lines are read from the oldest
//! to the newest, so a writer that moved on to the new file is not read there before what it wrote in
//! the old one.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use canh_event::{GapReason, Source as RecordSource};
use canh_ship::Priority;

use crate::batch::Batch;
use crate::generation::{Generation, RETRY_PAUSE, State, open_file};
use crate::metrics::Reason;
use crate::position::{self, FileId, MAX_GENERATIONS, Position};
use crate::room::Room;
use crate::siblings::{self, Age};
use crate::tail::Tail;

/// A file whose position is further than this is told from its copies by content.
const COPY_OFFSET: u64 = 256;

/// What a visit did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visit {
    /// Whether lines were read.
    pub(crate) is_busy: bool,
    /// Whether the batch had no room; there is more to read.
    pub(crate) is_full: bool,
    /// Whether the source's cursor is another one than before.
    pub(crate) is_moved: bool,
}

/// One watched path.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: Arc<Path>,
    pub(crate) sent_as: RecordSource,
    /// How much its lines matter when the spool is full.
    pub(crate) priority: Priority,
    generations: VecDeque<Generation>,
    /// Whether a file found by the first visit is read from its end.
    starts_at_end: bool,
    is_visited: bool,
    is_moved: bool,
}

impl Source {
    pub(crate) fn new(path: Arc<Path>, sent_as: RecordSource, starts_at_end: bool) -> Self {
        let (generations, priority) = (VecDeque::new(), Priority::default());
        Self { path, sent_as, priority, generations, starts_at_end, is_visited: false, is_moved: false }
    }

    /// Returns a source that goes on where its cursor says.
    pub(crate) fn resume(path: Arc<Path>, sent_as: RecordSource, positions: Vec<Position>, room: &mut Room) -> Self {
        let mut source = Self::new(path, sent_as, false);
        for position in positions {
            room.known.insert(position.file);
            let age = Age { written: position.written, born: Some(position.born).filter(|born| *born != 0) };
            source.generations.push_back(Generation::new(position, age, room.moment.instant));
        }
        source
    }

    /// Returns the source's cursor.
    pub(crate) fn cursor(&self) -> Vec<u8> {
        position::encode(self.generations.iter().map(Generation::position))
    }

    /// Returns the positions of its files.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.generations.iter().map(Generation::position).collect()
    }

    /// Returns whether every file that was at the path has been let go.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_visited && self.generations.is_empty()
    }

    /// Lets go of every file.
    pub(crate) fn close(mut self, room: &mut Room) {
        while let Some(generation) = self.generations.pop_front() {
            generation.forget(room);
        }
    }

    /// Looks at the path and hands over what is new.
    pub(crate) fn visit(&mut self, room: &mut Room, batch: &mut Batch) -> Visit {
        self.is_moved = false;
        self.look(room);
        self.is_visited = true;
        self.open(room);
        self.measure(room);
        let mut visit = self.read(room, batch);
        if !visit.is_full {
            visit.is_full = !self.settle(room, batch);
        }
        visit.is_moved |= self.is_moved;
        visit
    }

    fn look(&mut self, room: &mut Room) {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => self.found(&metadata, room),
            Ok(_) => {
                room.complain(&self.path, Reason::NotAFile, None);
                self.detach(room.moment.instant);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.detach(room.moment.instant),
            Err(error) => room.complain(&self.path, Reason::Stat, Some(&error)),
        }
        self.starts_at_end = false;
    }

    /// Compares the file at the path with those that were there before.
    fn found(&mut self, metadata: &Metadata, room: &mut Room) {
        let id = FileId::of(metadata);
        let is_it = |last: &Generation| last.id == id && last.is_current && !last.is_other_birth(metadata);
        if !self.generations.back().is_some_and(is_it) {
            self.detach(room.moment.instant);
            if let Some(index) = self.generations.iter().position(|it| it.id == id) {
                if self.generations.get(index).is_some_and(|it| it.is_other_birth(metadata)) {
                    // Its file is gone, and its inode was given to another one.
                    self.replace(index, id, metadata, room);
                } else if let Some(mut generation) = self.generations.remove(index) {
                    // A rename undone, a link turned back, or the first look after a restart.
                    generation.is_current = true;
                    generation.is_parked = false;
                    room.known.insert(id);
                    self.generations.push_back(generation);
                }
            } else if room.known.contains(&id) {
                // Another source's file was moved here: it goes on reading it.
                return;
            } else {
                self.rotate(id, metadata, None, room);
            }
        }
        if let Some(current) = self.generations.back_mut() {
            current.see(metadata);
        }
    }

    /// Begins with a file that has the inode of one that is gone, and with those that came between.
    fn replace(&mut self, index: usize, id: FileId, metadata: &Metadata, room: &mut Room) {
        let Some(lost) = self.generations.remove(index) else { return };
        let newest = (index == self.generations.len()).then_some(lost.age);
        self.let_go(index, lost, room);
        self.rotate(id, metadata, newest, room);
    }

    /// Lets go of a file that is nowhere to be found, which stood at `index`.
    fn let_go(&mut self, index: usize, lost: Generation, room: &mut Room) {
        room.complain(&self.path, Reason::Vanished, None);
        // Files are read from the oldest to the newest: where the next one was begun, this one was read
        // to its end, and only what was written to it late may be missing.
        if self.generations.get(index).is_none_or(|next| next.position().offset == 0) {
            room.lose(&self.sent_as.name, GapReason::FileLost);
        }
        lost.forget(room);
        self.is_moved = true;
    }

    /// Begins with a file that was not seen before, and with those that came between it and the last
    /// one seen: `newest` if that one is gone.
    fn rotate(&mut self, id: FileId, metadata: &Metadata, newest: Option<Age>, room: &mut Room) {
        let last_seen = newest.or(self.generations.back().map(|last| last.age));
        if let Some(last_seen) = last_seen {
            room.metrics.rotations.inc();
            self.open(room);
            self.measure(room);
            let after = newest.or(self.generations.back().map(|last| last.age)).unwrap_or(last_seen);
            self.begin_between(id, after, room);
        }
        let mut current = Generation::new(Position::start(id), Age::of(metadata), room.moment.instant);
        current.is_current = true;
        if self.starts_at_end {
            current.start_at_end(&self.path, metadata.len(), room);
        }
        self.push(current, room);
    }

    /// Begins with the files that were at the path between two looks, oldest first.
    fn begin_between(&mut self, current: FileId, after: Age, room: &mut Room) {
        let between = match siblings::rotated_since(&self.path, after) {
            Ok(between) => between,
            Err(error) => return room.complain(&self.path, Reason::Scan, Some(&error)),
        };
        for sibling in between {
            let is_own = self.generations.iter().any(|it| it.id == sibling.id);
            if sibling.id == current || is_own || room.known.contains(&sibling.id) || self.is_copy(&sibling.path) {
                continue;
            }
            room.metrics.rotations.inc();
            let mut generation = Generation::new(Position::start(sibling.id), sibling.age, room.moment.instant);
            generation.open_at(&sibling.path, room);
            self.push(generation, room);
        }
    }

    /// Whether a file is only a copy of one that is read: it has the same bytes at both places.
    fn is_copy(&self, path: &Path) -> bool {
        let Ok(file) = open_file(path) else { return false };
        let positions = self.generations.iter().map(Generation::position);
        let mut far = positions.filter(|position| position.offset >= COPY_OFFSET);
        far.any(|position| matches!(Tail::resume(&position, &file), Ok(Some(_))))
    }

    fn push(&mut self, generation: Generation, room: &mut Room) {
        room.known.insert(generation.id);
        self.generations.push_back(generation);
        self.is_moved = true;
        if self.generations.len() > MAX_GENERATIONS
            && let Some(oldest) = self.generations.pop_front()
        {
            room.complain(&self.path, Reason::TooMany, None);
            room.lose(&self.sent_as.name, GapReason::FileLost);
            oldest.forget(room);
        }
    }

    fn detach(&mut self, now: Instant) {
        for generation in self.generations.iter_mut().filter(|it| it.is_current) {
            generation.is_current = false;
            generation.grown = now;
        }
    }

    /// Opens what is to be read; a detached file that is nowhere to be found is let go.
    fn open(&mut self, room: &mut Room) {
        let mut index = 0;
        while let Some(generation) = self.generations.get_mut(index) {
            let is_gone = generation.wants_opening(room.moment.instant) && !generation.open(&self.path, room);
            if is_gone && let Some(lost) = self.generations.remove(index) {
                self.let_go(index, lost, room);
            } else {
                index += 1;
            }
        }
    }

    /// Takes the sizes, newest file first. That of the current one was taken when it was found.
    fn measure(&mut self, room: &mut Room) {
        for generation in self.generations.iter_mut().rev().filter(|it| !it.is_current) {
            if let State::Open { file, .. } = &generation.state {
                match file.metadata() {
                    Ok(metadata) => generation.see(&metadata),
                    Err(error) => room.complain(&self.path, Reason::Stat, Some(&error)),
                }
            }
        }
    }

    /// Hands over what is new, oldest file first.
    fn read(&mut self, room: &mut Room, batch: &mut Batch) -> Visit {
        let mut visit = Visit::default();
        for generation in &mut self.generations {
            let State::Open { file, tail } = &mut generation.state else { continue };
            let is_grown = generation.size != tail.end();
            // Truncated and written anew to the same length, it looks as if nothing had happened.
            let is_written = generation.age.written != generation.polled_written;
            if !(is_grown || is_written) || generation.retry_at.is_some_and(|at| at > room.moment.instant) {
                continue;
            }
            let Some(mut pen) = batch.pen(&self.sent_as, self.priority, room.moment) else {
                visit.is_full = true;
                return visit;
            };
            match tail.poll(file, generation.size, &mut room.buffer, &mut pen) {
                Ok(polled) => {
                    if is_grown || polled.truncations > 0 {
                        // It grew even if the line it grew by has no end yet.
                        generation.grown = room.moment.instant;
                    }
                    if !polled.is_full {
                        generation.polled_written = generation.age.written;
                    }
                    room.count(&self.path, &self.sent_as.name, polled);
                    visit.is_busy |= polled.consumed > 0;
                    visit.is_moved |= polled.consumed > 0 || polled.truncations > 0;
                    visit.is_full = polled.is_full;
                }
                Err(error) => {
                    generation.retry_at = Some(room.moment.instant + RETRY_PAUSE);
                    room.complain(&self.path, Reason::Read, Some(&error));
                }
            }
            if visit.is_full {
                return visit;
            }
        }
        visit
    }

    /// Lets go of what is finished. Returns false if the batch had no room for a last line.
    fn settle(&mut self, room: &mut Room, batch: &mut Batch) -> bool {
        for generation in &mut self.generations {
            let present_size = room.present.get(&generation.id).map(|(_, size)| *size);
            if generation.is_current {
                generation.close_if_crowded(room);
            } else if generation.is_parked {
                generation.unpark_if_grown(present_size);
            } else if generation.is_finished(room) {
                let Some(mut pen) = batch.pen(&self.sent_as, self.priority, room.moment) else { return false };
                match generation.finish(&mut pen) {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(error) => room.complain(&self.path, Reason::Read, Some(&error)),
                }
                generation.park(room);
                self.is_moved = true;
            }
        }
        self.forget_finished(room);
        true
    }

    /// Forgets finished files that are at no watched path any more. While another file is being read
    /// the youngest of them are kept in mind: by their times, which are coarse, they could be taken
    /// for files that came after that one when it is rotated.
    fn forget_finished(&mut self, room: &mut Room) {
        let is_reading = self.generations.iter().any(|it| !it.is_parked);
        let finished = self.generations.iter().filter(|it| it.is_parked && is_reading);
        let youngest = finished.map(|it| it.age.began()).max();
        let (known, present) = (&mut room.known, &room.present);
        let before = self.generations.len();
        self.generations.retain(|generation| {
            if !generation.is_parked || present.contains_key(&generation.id) {
                return true;
            }
            // Its inode may be given to another file, which must not be taken for it.
            known.remove(&generation.id);
            youngest == Some(generation.age.began())
        });
        self.is_moved |= self.generations.len() < before;
    }
}
