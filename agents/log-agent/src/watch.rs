//! All watched paths: which exist, whose turn it is, and the cursors that have moved.
//!
//! A tick visits up to [`MAX_VISITS`] paths, going on where the last one ended, and looks for new
//! paths once a second. It never waits. Where it stops for want of room in the batch, the next tick
//! begins behind, so a file without end does not keep others from being read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canh_event::{DecodeError, Source as RecordSource, SourceName, StreamName};
use canh_ship::Priority;

use crate::batch::{Batch, Moment, MovedCursor, Told};
use crate::glob::{Expanded, Glob};
use crate::metrics::{AgentMetrics, Reason};
use crate::position::{self, FileId, Position};
use crate::room::{Room, TailLimits};
use crate::source::Source;
use crate::tail::SMALL_BUFFER_BYTES;

/// How often patterns are compared with the disk.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Most paths visited in a tick: a few milliseconds of looking.
const MAX_VISITS: usize = 1_024;

/// Paths to read, and how their records are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSpec {
    pub(crate) glob: Glob,
    pub(crate) format: StreamName,
    /// Seconds east of UTC; none for the host's own zone.
    pub(crate) utc_offset_secs: Option<i32>,
    /// How much its lines matter when the spool is full.
    pub(crate) priority: Priority,
    /// Whether files that are there when the agent runs for the first time are read from their end.
    pub(crate) starts_at_end: bool,
}

/// What the watch is made with.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    pub(crate) specs: Vec<FileSpec>,
    pub(crate) host: Box<str>,
    pub(crate) limits: TailLimits,
    /// Most paths watched.
    pub(crate) max_files: usize,
}

/// A cursor that cannot be read: it is of another release. Reading everything again would send
/// every line twice, so the agent does not start.
#[derive(Debug, thiserror::Error)]
#[error(
    "the cursor of {source_name} in the spool cannot be read; use the release that wrote it, or remove the spool to read all files again"
)]
pub(crate) struct CursorError {
    source_name: SourceName,
    #[source]
    source: DecodeError,
}

/// What a tick did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing was new.
    Idle,
    /// Lines were read, and all that there were.
    Busy,
    /// The batch is full: hand it over and tick again.
    Full,
}

/// All watched paths.
#[derive(Debug)]
pub(crate) struct Watch {
    options: WatchOptions,
    sources: BTreeMap<Arc<Path>, Source>,
    room: Room,
    /// Cursors of paths that are not watched; they are resumed if a reload brings them back.
    waiting: BTreeMap<SourceName, Vec<Position>>,
    /// Sources whose cursor is another one than was handed over.
    moved: BTreeSet<Arc<Path>>,
    /// Cursors of sources that are no longer watched; an empty one is of a source that is no more.
    departed: Vec<MovedCursor>,
    next_scan: Option<Instant>,
    /// The path visited last.
    last: Option<Arc<Path>>,
    is_first_run: bool,
}

impl Watch {
    /// Returns a watch that goes on where the cursors say.
    ///
    /// # Errors
    /// A cursor of another release.
    pub(crate) fn new(
        options: WatchOptions,
        cursors: BTreeMap<SourceName, Vec<u8>>,
        metrics: AgentMetrics,
        moment: Moment,
    ) -> Result<Self, CursorError> {
        let is_first_run = cursors.is_empty();
        let mut waiting = BTreeMap::new();
        for (name, payload) in cursors {
            match position::decode(&payload) {
                Ok(positions) if positions.is_empty() => {}
                Ok(positions) => drop(waiting.insert(name, positions)),
                Err(source) => return Err(CursorError { source_name: name, source }),
            }
        }
        Ok(Self {
            room: Room::new(options.limits, metrics, moment),
            options,
            sources: BTreeMap::new(),
            waiting,
            moved: BTreeSet::new(),
            departed: Vec::new(),
            next_scan: None,
            last: None,
            is_first_run,
        })
    }

    /// Takes over other patterns. Paths that none of them names are let go where they stand.
    pub(crate) fn set_specs(&mut self, specs: Vec<FileSpec>) {
        self.options.specs = specs;
        self.next_scan = None;
        for (path, source) in std::mem::take(&mut self.sources) {
            if self.spec_of(&path).is_some() {
                self.sources.insert(path, source);
            } else {
                let name = source.sent_as.name.clone();
                self.moved.remove(&path);
                self.departed.push(MovedCursor {
                    name: name.clone(),
                    cursor: source.cursor(),
                    priority: source.priority,
                });
                self.waiting.insert(name, source.positions());
                source.close(&mut self.room);
            }
        }
    }

    /// Visits paths and fills the batch.
    pub(crate) fn tick(&mut self, moment: Moment, batch: &mut Batch) -> Tick {
        self.room.moment = moment;
        if self.next_scan.is_none_or(|at| at <= moment.instant) {
            self.next_scan = Some(moment.instant + SCAN_INTERVAL);
            self.scan();
        }
        let tick = self.visit_some(batch);
        if tick == Tick::Idle && self.room.buffer.len() > SMALL_BUFFER_BYTES {
            self.room.buffer = Vec::new();
        }
        self.room.metrics.files_open.set(i64::try_from(self.room.open_files).unwrap_or(i64::MAX));
        tick
    }

    /// Returns whether there are cursors that have moved since they were last handed over.
    pub(crate) fn has_moved(&self) -> bool {
        !self.moved.is_empty() || !self.departed.is_empty()
    }

    /// Returns the cursors that have moved since the last call, and what was lost meanwhile.
    pub(crate) fn news(&mut self) -> Told {
        let mut cursors = std::mem::take(&mut self.departed);
        for path in std::mem::take(&mut self.moved) {
            if let Some(source) = self.sources.get(&path) {
                let (name, cursor) = (source.sent_as.name.clone(), source.cursor());
                cursors.push(MovedCursor { name, cursor, priority: source.priority });
            }
        }
        let (losses, figures) = self.room.take_losses();
        Told { cursors, losses, figures }
    }

    fn visit_some(&mut self, batch: &mut Batch) -> Tick {
        let (mut tick, mut visits) = (Tick::Idle, 0);
        let last = self.last.take();
        let behind = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let upto = last.as_deref().map(|path| (Bound::Unbounded, Bound::Included(path)));
        for range in [Some((behind, Bound::Unbounded)), upto].into_iter().flatten() {
            for (path, source) in self.sources.range_mut::<Path, _>(range) {
                let visit = source.visit(&mut self.room, batch);
                visits += 1;
                if visit.is_moved {
                    self.moved.insert(Arc::clone(path));
                }
                if visit.is_busy {
                    tick = Tick::Busy;
                }
                if visit.is_full || visits >= MAX_VISITS {
                    self.last = Some(Arc::clone(path));
                    return if visit.is_full { Tick::Full } else { tick };
                }
            }
        }
        tick
    }

    /// Compares the patterns with the disk: begins with new paths, lets go of those that are no more.
    fn scan(&mut self) {
        self.resume_waiting();
        let mut expanded = Expanded::default();
        let mut owners = Vec::new();
        for (index, spec) in self.options.specs.iter().enumerate() {
            spec.glob.expand(self.options.max_files, &mut expanded);
            owners.resize(expanded.paths.len(), index);
        }
        for (path, error) in &expanded.errors {
            self.room.complain(path, Reason::Scan, Some(error));
        }
        if expanded.is_cut {
            self.room.complain(Path::new("/"), Reason::TooMany, None);
        }
        let mut is_whole = expanded.errors.is_empty();
        let mut present = HashMap::new();
        for (path, owner) in expanded.paths.into_iter().zip(owners) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    let id = FileId::of(&metadata);
                    self.adopt(&path, owner, id);
                    present.insert(id, (path, metadata.len()));
                }
                // A pattern may well match a directory; a path that was written out should not.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.room.complain(&path, Reason::Stat, Some(&error));
                    is_whole = false;
                }
            }
        }
        if is_whole {
            self.room.present = present;
        } else {
            // What could not be looked at is not known to be gone.
            self.room.present.extend(present);
        }
        self.is_first_run = false;
        self.forget_gone();
        self.refresh_offsets();
    }

    /// Goes on with every cursor whose path is watched, whether a file is there now or not.
    fn resume_waiting(&mut self) {
        for (name, positions) in std::mem::take(&mut self.waiting) {
            let path: Arc<Path> = Arc::from(Path::new(name.as_str()));
            match self.spec_of(&path) {
                Some(spec) => {
                    let sent_as = self.sent_as(name, spec);
                    let priority = spec.priority;
                    let mut source = Source::resume(Arc::clone(&path), sent_as, positions, &mut self.room);
                    source.priority = priority;
                    self.sources.insert(path, source);
                }
                None => drop(self.waiting.insert(name, positions)),
            }
        }
    }

    fn adopt(&mut self, path: &Path, owner: usize, id: FileId) {
        if self.sources.contains_key(path) || self.room.known.contains(&id) {
            return;
        }
        let Some(spec) = self.options.specs.get(owner).cloned() else { return };
        let Some(Ok(name)) = path.to_str().map(str::parse::<SourceName>) else {
            return self.room.complain(path, Reason::Name, None);
        };
        let starts_at_end = self.is_first_run && spec.starts_at_end;
        let path: Arc<Path> = Arc::from(path);
        let mut source = Source::new(Arc::clone(&path), self.sent_as(name, &spec), starts_at_end);
        source.priority = spec.priority;
        self.sources.insert(path, source);
    }

    fn forget_gone(&mut self) {
        let gone: Vec<_> =
            self.sources.iter().filter(|(_, it)| it.is_gone()).map(|(path, _)| Arc::clone(path)).collect();
        for path in gone {
            if let Some(source) = self.sources.remove(&path) {
                self.moved.remove(&path);
                let (name, priority) = (source.sent_as.name, source.priority);
                self.departed.push(MovedCursor { name, cursor: Vec::new(), priority });
            }
        }
        self.room.metrics.files_watched.set(i64::try_from(self.sources.len()).unwrap_or(i64::MAX));
    }

    /// Takes over format and zone, which a reload or the end of summer time may have changed.
    fn refresh_offsets(&mut self) {
        let (specs, moment) = (&self.options.specs, self.room.moment);
        for (path, source) in &mut self.sources {
            if let Some(spec) = specs.iter().find(|spec| spec.glob.matches(path)) {
                source.sent_as.utc_offset_secs = spec.utc_offset_secs.unwrap_or(moment.utc_offset_secs);
                source.sent_as.format = spec.format.clone();
                source.priority = spec.priority;
            }
        }
    }

    fn spec_of(&self, path: &Path) -> Option<&FileSpec> {
        self.options.specs.iter().find(|spec| spec.glob.matches(path))
    }

    fn sent_as(&self, name: SourceName, spec: &FileSpec) -> RecordSource {
        let utc_offset_secs = spec.utc_offset_secs.unwrap_or(self.room.moment.utc_offset_secs);
        RecordSource { name, host: self.options.host.clone(), format: spec.format.clone(), utc_offset_secs }
    }
}

#[cfg(test)]
mod tests;
