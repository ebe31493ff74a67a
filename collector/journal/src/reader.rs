//! Reads a journal from any place on, also while another process writes it.
//!
//! Comes in: a directory and a place. Goes out: records in order, each once, and only durable
//! ones: the reader looks at the durable mark and never goes past it, for a power cut may take
//! back what was merely written. At the end it says so and can be asked again.
//!
//! A record that is gone is an error that names the places lost; the caller decides whether to
//! go on behind them ([`Reader::skip_damage`]). Nothing is ever skipped silently.

use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::floor::read_floor;
use crate::fs::{DiskFs, Fs, FsError, OpenMode};
use crate::header::{HeaderFault, LATEST_VERSION, SegmentHeader};
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkReader};
use crate::record::Salt;
use crate::recovery::Damage;
use crate::scan::{Found, SegmentScan, Step};
use crate::segment::{list_segments, segment_path};

/// How often a segment may vanish between being listed and being opened.
const OPEN_ATTEMPTS: usize = 8;

/// A journal that cannot be read on from where the reader stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A call to the file system failed.
    #[error(transparent)]
    File(#[from] FsError),
    /// There is no journal in the directory, or not yet.
    #[error("no journal in {}", dir.display())]
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// The record wanted has been dropped; [`Reader::seek`] to the oldest one.
    #[error("record {wanted} has been dropped, the oldest kept is {oldest}")]
    Dropped {
        /// The place the reader stands at.
        wanted: Lsn,
        /// The first place still kept.
        oldest: Lsn,
    },
    /// Records that were acknowledged cannot be read; [`Reader::skip_damage`] goes on behind them.
    #[error("records {} to {} are lost: {} is damaged at byte {}", .0.from, .0.to, .0.segment.display(), .0.offset)]
    Damaged(Damage),
    /// A segment was written by a release this one does not know.
    #[error("segment {} has version {got}, this release reads {LATEST_VERSION}", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        got: u16,
    },
    /// The directory now holds another journal than the one that was opened.
    #[error("journal in {} has been replaced by another", dir.display())]
    Replaced {
        /// The directory.
        dir: PathBuf,
    },
}

/// A record as it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place.
    pub lsn: Lsn,
    /// Its kind.
    pub kind: u8,
    /// Its body.
    pub body: &'a [u8],
}

/// Reads a journal.
#[derive(Debug)]
pub struct Reader<F: Fs = DiskFs> {
    fs: F,
    dir: PathBuf,
    mark_file: MarkReader<F::File>,
    mark: Mark,
    wanted: Lsn,
    current: Option<Current<F::File>>,
    damage: Option<Lost>,
}

/// The segment being read.
#[derive(Debug)]
struct Current<H> {
    first: Lsn,
    scan: SegmentScan<H>,
}

/// Damage that the reader stands before.
#[derive(Clone, Debug)]
struct Lost {
    damage: Damage,
    /// Whether the walker already stands at the first good record behind it.
    is_passed: bool,
}

impl Reader {
    /// Opens the journal in a directory; the reader stands at the oldest record kept.
    ///
    /// # Errors
    /// [`ReadError::NoJournal`], [`ReadError::File`].
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_on(DiskFs, dir)
    }
}

impl<F: Fs> Reader<F> {
    /// Opens a journal on a given file system.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_on(fs: F, dir: &Path) -> Result<Self, ReadError> {
        let no_journal = || ReadError::NoJournal { dir: dir.to_path_buf() };
        let mark_file = match MarkReader::open(&fs, dir) {
            Err(error) if error.is_not_found() => return Err(no_journal()),
            opened => opened?,
        };
        let mark = mark_file.read()?.ok_or_else(no_journal)?;
        let oldest = list_segments(&fs, dir)?.first().copied().unwrap_or(mark.durable.next());
        // What lies below the floor is on its way out. What is missing from it on is lost, and reading
        // begins with saying so.
        let wanted = read_floor(&fs, dir, &mark.uuid)?.unwrap_or(oldest);
        Ok(Self { fs, dir: dir.to_path_buf(), mark_file, mark, wanted, current: None, damage: None })
    }

    /// Moves to a place: the next record returned is the one there, or the first one to come if it
    /// has not been written yet.
    ///
    /// # Errors
    /// [`ReadError::Dropped`] if it is older than the oldest kept; the reader then stands where it
    /// stood. [`ReadError::File`].
    pub fn seek(&mut self, lsn: Lsn) -> Result<(), ReadError> {
        let wanted = lsn.max(Lsn::FIRST);
        let firsts = list_segments(&self.fs, &self.dir)?;
        let oldest = self.oldest_of(&firsts)?;
        if wanted < oldest {
            return Err(ReadError::Dropped { wanted, oldest });
        }
        let holder = firsts.iter().copied().rfind(|first| *first <= wanted);
        // Forward in the same segment the walk just goes on.
        let is_ahead = |current: &Current<F::File>| holder == Some(current.first) && wanted >= current.scan.expected;
        self.current = self.current.take().filter(is_ahead);
        if let Some(current) = &mut self.current {
            current.scan.skip_towards(wanted);
        }
        self.damage = None;
        self.wanted = wanted;
        Ok(())
    }

    /// Returns the next record, or nothing if there is no further durable one yet.
    ///
    /// # Errors
    /// [`ReadError`]. The reader stays where it is, and the same call says the same again.
    #[expect(clippy::should_implement_trait, reason = "the record borrows from the reader, no iterator can")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        let Some(found) = self.advance()? else {
            return Ok(None);
        };
        let body = self.current.as_ref().map(|current| current.scan.body(&found)).unwrap_or_default();
        Ok(Some(Entry { lsn: found.lsn, kind: found.kind, body }))
    }

    /// Goes on behind the damage that the last call reported, and returns it; nothing if the
    /// reader does not stand before any.
    pub fn skip_damage(&mut self) -> Option<Damage> {
        let lost = self.damage.take()?;
        self.wanted = lost.damage.to.next();
        if !lost.is_passed {
            self.current = None;
        }
        Some(lost.damage)
    }

    /// Returns the place of the next record.
    pub fn position(&self) -> Lsn {
        self.wanted
    }

    /// Returns the last durable place, as of now.
    ///
    /// # Errors
    /// [`ReadError::File`], [`ReadError::Replaced`].
    pub fn durable(&mut self) -> Result<Option<Lsn>, ReadError> {
        self.refresh()?;
        Ok(self.mark.durable.known())
    }

    /// Returns the first place still kept, as of now.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn oldest(&self) -> Result<Lsn, ReadError> {
        let firsts = list_segments(&self.fs, &self.dir)?;
        self.oldest_of(&firsts)
    }

    /// Returns the first place kept: what the journal says, or else where the first segment begins. To
    /// be asked after listing segments: the floor is raised before anything below it goes.
    fn oldest_of(&self, firsts: &[Lsn]) -> Result<Lsn, ReadError> {
        let floor = read_floor(&self.fs, &self.dir, &self.mark.uuid)?;
        Ok(floor.or(firsts.first().copied()).unwrap_or(self.mark.durable.next()))
    }

    fn refresh(&mut self) -> Result<(), ReadError> {
        let Some(mark) = self.mark_file.read()? else {
            return Ok(());
        };
        if mark.uuid != self.mark.uuid {
            return Err(ReadError::Replaced { dir: self.dir.clone() });
        }
        // The older slot may be all that could be read while the newer one was being written.
        if mark.durable >= self.mark.durable {
            self.mark = mark;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Found>, ReadError> {
        if let Some(lost) = &self.damage {
            return Err(ReadError::Damaged(lost.damage.clone()));
        }
        loop {
            if self.wanted > self.mark.durable {
                self.refresh()?;
            }
            if self.wanted > self.mark.durable {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                self.enter()?;
                continue;
            };
            let limit = final_bytes(&self.mark, current);
            let step = current.scan.step(limit);
            match step.map_err(|error| FsError::new("read", &segment_path(&self.dir, current.first), error))? {
                Step::Record(found) if found.lsn < self.wanted => {}
                Step::Record(found) => {
                    self.wanted = found.lsn.next();
                    return Ok(Some(found));
                }
                Step::End | Step::Bad => self.pass()?,
            }
        }
    }

    /// Opens the segment that holds the record wanted.
    fn enter(&mut self) -> Result<(), ReadError> {
        for _ in 0..OPEN_ATTEMPTS {
            let firsts = list_segments(&self.fs, &self.dir)?;
            let Some(first) = firsts.iter().copied().rfind(|first| *first <= self.wanted) else {
                let path = segment_path(&self.dir, self.wanted);
                let to = firsts.first().copied().unwrap_or(self.mark.durable.next()).previous();
                return Err(self.lose(&firsts, to, path, 0, false)?);
            };
            let path = segment_path(&self.dir, first);
            match self.fs.open(&path, OpenMode::Read).map_err(FsError::on("open", &path)) {
                Ok(file) => return self.start(first, file, &firsts),
                // The writer dropped it meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReadError::Dropped { wanted: self.wanted, oldest: self.oldest()? })
    }

    fn start(&mut self, first: Lsn, file: F::File, firsts: &[Lsn]) -> Result<(), ReadError> {
        let path = segment_path(&self.dir, first);
        match SegmentHeader::read(&file).map_err(FsError::on("read", &path))? {
            Ok(header) if header.first == first && header.uuid == self.mark.uuid => {
                let salt = Salt::new(&self.mark.uuid);
                let content = Content::open(file, header.form, salt).map_err(FsError::on("read", &path))?;
                let mut scan = SegmentScan::new(content, salt, first);
                scan.skip_towards(self.wanted);
                self.current = Some(Current { first, scan });
                Ok(())
            }
            Err(HeaderFault::Version(got)) => Err(ReadError::Version { path, got }),
            _ => {
                let to = last_before_next(firsts, first).unwrap_or(self.mark.durable);
                Err(self.lose(firsts, to, path, 0, false)?)
            }
        }
    }

    /// Deals with a segment that holds no further record: goes on to the next one, or past records
    /// before the one wanted, or reports what is lost.
    fn pass(&mut self) -> Result<(), ReadError> {
        let firsts = list_segments(&self.fs, &self.dir)?;
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let last = last_before_next(&firsts, current.first);
        if last.is_some_and(|last| last < self.wanted) {
            self.current = None;
            return Ok(());
        }
        let (path, offset) = (segment_path(&self.dir, current.first), current.scan.offset);
        let len = current.scan.len().map_err(FsError::on("measure", &path))?;
        let limit = final_bytes(&self.mark, current).min(len);
        match current.scan.find_next(limit).map_err(FsError::on("read", &path))? {
            Some(lsn) if lsn <= self.wanted => Ok(()),
            Some(lsn) => Err(self.lose(&firsts, lsn.previous(), path, offset, true)?),
            None => Err(self.lose(&firsts, last.unwrap_or(self.mark.durable), path, offset, false)?),
        }
    }

    /// Says that the record wanted and those up to `to` are not to be had: dropped, or else damaged.
    fn lose(
        &mut self,
        firsts: &[Lsn],
        to: Lsn,
        segment: PathBuf,
        offset: u64,
        is_passed: bool,
    ) -> Result<ReadError, ReadError> {
        let (wanted, oldest) = (self.wanted, self.oldest_of(firsts)?);
        if wanted < oldest {
            self.current = None;
            return Ok(ReadError::Dropped { wanted, oldest });
        }
        let damage = Damage { from: wanted, to: to.max(wanted), segment, offset };
        self.damage = Some(Lost { damage: damage.clone(), is_passed });
        Ok(ReadError::Damaged(damage))
    }
}

/// Returns how far a segment's bytes are final: all of them, unless it is still being written.
fn final_bytes<H>(mark: &Mark, current: &Current<H>) -> u64 {
    if mark.segment == current.first { mark.end } else { u64::MAX }
}

/// Returns the last place before the segment after `first` begins; nothing if there is none.
fn last_before_next(firsts: &[Lsn], first: Lsn) -> Option<Lsn> {
    firsts.iter().copied().find(|other| *other > first).map(Lsn::previous)
}

#[cfg(test)]
mod tests;
