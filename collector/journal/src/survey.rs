//! What a journal's directory holds: which files are its segments, which are not, and what is missing.
//!
//! Only headers are read here, and the ends of compressed segments. Files that lie below the floor are
//! removed: they were dropped, and a crash came between.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::floor::Floor;
use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::header::{Form, HeaderFault, SegmentHeader};
use crate::info::{SegmentInfo, SegmentState};
use crate::lsn::Lsn;
use crate::mark::Mark;
use crate::packed::Index;
use crate::record::{HEADER_BYTES, Salt};
use crate::recovery::{Damage, Recovery};
use crate::segment::{JournalError, list_segments, quarantine, segment_path};

/// What the directory holds.
pub(crate) struct Survey<H> {
    pub(crate) uuid: [u8; 16],
    /// The mark, if it is this journal's.
    pub(crate) mark: Option<Mark>,
    /// The floor, if it is this journal's.
    pub(crate) floor: Option<Floor<H>>,
    pub(crate) segments: Vec<SegmentInfo>,
    /// Files whose header cannot be read: place of the name, place after the last record they can
    /// have held, and where they are now.
    pub(crate) unreadable: Vec<(Lsn, Lsn, PathBuf)>,
}

/// A file with a segment's name, as it is.
struct Candidate {
    first: Lsn,
    bytes: u64,
    header: Result<SegmentHeader, HeaderFault>,
}

impl Candidate {
    /// Returns the header if the file is what its name says, and this journal's.
    fn fits(&self, uuid: &[u8; 16]) -> Option<SegmentHeader> {
        self.header.ok().filter(|header| header.first == self.first && header.uuid == *uuid)
    }
}

/// Looks at a directory, puts aside what is no segment of its journal, and notes what is missing.
pub(crate) fn survey<F: Fs>(
    fs: &F,
    dir: &Path,
    mark: Option<Mark>,
    recovery: &mut Recovery,
) -> Result<Survey<F::File>, JournalError> {
    let mut candidates = Vec::new();
    for first in list_segments(fs, dir)? {
        candidates.push(look_at(fs, dir, first)?);
    }
    let uuids = || candidates.iter().filter_map(|candidate| candidate.header.ok()).map(|header| header.uuid);
    // A mark that fits none of the segments is not theirs.
    let mark = mark.filter(|mark| uuids().next().is_none() || uuids().any(|uuid| uuid == mark.uuid));
    let uuid = match mark.map(|mark| mark.uuid).or_else(|| uuids().next_back()) {
        Some(uuid) => uuid,
        None => fs.random().map_err(FsError::on("draw a uuid for", dir))?,
    };
    let floor = take_floor(fs, dir, uuid, &mut candidates)?;
    let mut survey = Survey { uuid, mark, floor, segments: Vec::new(), unreadable: Vec::new() };
    let mut fitting: Vec<(SegmentHeader, u64)> = Vec::new();
    for candidate in candidates {
        let Some(header) = candidate.fits(&uuid) else {
            put_aside(fs, dir, &candidate, &mut survey, recovery)?;
            continue;
        };
        if let Some(from) = missing_before(&survey, fitting.last().map(|(last, _)| last.first), &header) {
            let (to, segment) = (header.first.previous(), segment_path(dir, from));
            recovery.damage.push(Damage { from, to, segment, offset: 0 });
        }
        fitting.push((header, candidate.bytes));
    }
    for (number, (header, bytes)) in fitting.iter().enumerate() {
        let after = fitting.get(number + 1).map(|(after, _)| after);
        survey.segments.push(info_of(fs, dir, header, *bytes, after)?);
    }
    Ok(survey)
}

fn look_at<F: Fs>(fs: &F, dir: &Path, first: Lsn) -> Result<Candidate, JournalError> {
    let path = segment_path(dir, first);
    let file = fs.open(&path, OpenMode::Read).map_err(FsError::on("open", &path))?;
    let bytes = file.len().map_err(FsError::on("measure", &path))?;
    let header = SegmentHeader::read(&file).map_err(FsError::on("read", &path))?;
    if let Err(HeaderFault::Version(got)) = header {
        return Err(JournalError::Version { path, got });
    }
    Ok(Candidate { first, bytes, header })
}

/// Opens the floor and removes what lies below it. A floor that no segment stands on is not believed:
/// somebody has put other files there, and nothing is removed on its word.
fn take_floor<F: Fs>(
    fs: &F,
    dir: &Path,
    uuid: [u8; 16],
    candidates: &mut Vec<Candidate>,
) -> Result<Option<Floor<F::File>>, FsError> {
    let Some(mut floor) = Floor::open(fs, dir, uuid)? else { return Ok(None) };
    let is_stood_on = candidates.iter().any(|other| other.first == floor.lsn() && other.fits(&uuid).is_some());
    let below = candidates.iter().take_while(|candidate| candidate.first < floor.lsn()).count();
    if below == 0 {
        return Ok(Some(floor));
    }
    if !is_stood_on {
        warn!(journal = %dir.display(), floor = %floor.lsn(), "no segment begins where the oldest kept should, all are kept");
        return Ok(None);
    }
    // A sync that failed may have left a floor that only looks written.
    floor.raise(floor.lsn())?;
    for candidate in candidates.drain(..below) {
        let path = segment_path(dir, candidate.first);
        fs.remove(&path).map_err(FsError::on("remove", &path))?;
    }
    fs.sync_dir(dir).map_err(FsError::on("sync", dir))?;
    Ok(Some(floor))
}

fn put_aside<F: Fs>(
    fs: &F,
    dir: &Path,
    candidate: &Candidate,
    survey: &mut Survey<F::File>,
    recovery: &mut Recovery,
) -> Result<(), JournalError> {
    let path = quarantine(fs, dir, candidate.first)?;
    if candidate.header.is_err() {
        let most = candidate.bytes / HEADER_BYTES as u64;
        survey.unreadable.push((candidate.first, Lsn(candidate.first.0.saturating_add(most)), path.clone()));
    }
    recovery.quarantined.push(path);
    Ok(())
}

/// Returns the first record that is missing between the segment that begins with `last` and the one
/// with this header; before the oldest one, between the floor and it.
fn missing_before<H: FsFile>(survey: &Survey<H>, last: Option<Lsn>, header: &SegmentHeader) -> Option<Lsn> {
    let is_unreadable = survey.unreadable.iter().any(|(first, ..)| *first == header.previous);
    let floor = survey.floor.as_ref().map(Floor::lsn).filter(|floor| last.is_none() && *floor < header.first);
    floor.or_else(|| (is_unreadable || last.is_some_and(|last| last < header.previous)).then_some(header.previous))
}

fn info_of<F: Fs>(
    fs: &F,
    dir: &Path,
    header: &SegmentHeader,
    bytes: u64,
    after: Option<&SegmentHeader>,
) -> Result<SegmentInfo, FsError> {
    let mut info = SegmentInfo {
        first: header.first,
        last: after.map(|after| after.first.previous()),
        bytes,
        written_bytes: bytes,
        state: SegmentState::Sealed,
        since: header.since,
        // The next one is begun right after the last sync.
        until: after.and_then(|after| after.since),
    };
    if header.form == Form::Packed {
        let path = segment_path(dir, header.first);
        let file = fs.open(&path, OpenMode::Read).map_err(FsError::on("open", &path))?;
        let index = Index::read(&file, Salt::new(&header.uuid)).map_err(FsError::on("read", &path))?;
        (info.state, info.written_bytes) = (SegmentState::Compressed, index.end());
        match index.seal {
            Some(seal) => (info.last, info.until) = (Some(seal.last), seal.until),
            None => warn!(segment = %path.display(), "end of a compressed segment is damaged, its blocks are walked"),
        }
    }
    Ok(info)
}
