//! Opens a journal after whatever happened to it.
//!
//! Comes in: a directory, in the state that a crash, a full disk or somebody's hand left it in.
//! Goes out: the segment to go on writing, the next place to give out, and a [`Recovery`] that
//! says what was found. Only the last segment's records are read, so opening does not slow down
//! with the length of the log; of the others the headers are.
//!
//! * A half-made segment is removed. A file that has a segment's name but is none is renamed.
//! * A torn tail is cut off and the room is reserved again, as zeroes.
//! * A damaged last segment is left as it is; the log goes on in a new one, at a place that no
//!   acknowledged record ever had, so that no consumer's cursor can skip a new record.
//! * What the durable mark does not vouch for is written again and synced before anybody is told
//!   that it is on disk: a sync that failed may have left pages that only look written.

use std::path::{Path, PathBuf};

use tracing::{error, warn};

use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkWriter};
use crate::record::{HEADER_BYTES, Salt};
use crate::recovery::{Damage, Recovery, TornTail};
use crate::scan::SegmentScan;
use crate::segment::{
    HeaderFault, JournalError, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentInfo, create_segment, list_segments,
    quarantine, read_full, remove_unfinished, segment_path,
};
use crate::tail::{Rest, Tail, examine};

const LOCK_NAME: &str = "lock";
const COPY_BYTES: usize = 1 << 20;

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active<H> {
    pub(crate) file: H,
    pub(crate) first: Lsn,
    /// Where the next record goes.
    pub(crate) end: u64,
    /// How far room is reserved.
    pub(crate) allocated: u64,
}

/// A journal that has been opened.
#[derive(Debug)]
pub(crate) struct Opened<F: Fs> {
    pub(crate) lock: F::File,
    pub(crate) uuid: [u8; 16],
    pub(crate) sealed: Vec<SegmentInfo>,
    pub(crate) active: Active<F::File>,
    pub(crate) mark: MarkWriter<F::File>,
    pub(crate) next: Lsn,
    pub(crate) recovery: Recovery,
}

/// What the directory holds.
struct Survey {
    uuid: [u8; 16],
    /// The mark, if it is this journal's.
    mark: Option<Mark>,
    segments: Vec<SegmentInfo>,
    /// Files whose header cannot be read: place of the name, place after the last record they can
    /// have held, and where they are now.
    unreadable: Vec<(Lsn, Lsn, PathBuf)>,
}

/// Opens the journal in `dir`, or makes one.
pub(crate) fn open_journal<F: Fs>(fs: &F, dir: &Path, segment_bytes: u64) -> Result<Opened<F>, JournalError> {
    fs.create_dir(dir).map_err(FsError::on("create", dir))?;
    let lock = take_lock(fs, dir)?;
    remove_unfinished(fs, dir)?;
    let (writer, mark) = MarkWriter::open(fs, dir)?.unzip();
    let mut recovery = Recovery::default();
    let mut survey = survey(fs, dir, mark, &mut recovery)?;
    let (active, next) = match survey.segments.pop() {
        Some(last) => open_last(fs, dir, &mut survey, last, segment_bytes, &mut recovery)?,
        None => begin(fs, dir, &survey, segment_bytes, &mut recovery)?,
    };
    recovery.durable = next.previous();
    let mark = Mark { uuid: survey.uuid, durable: next.previous(), segment: active.first, end: active.end };
    let writer = match writer.filter(|_| survey.mark.is_some()) {
        Some(mut writer) => {
            writer.publish(&mark)?;
            writer
        }
        None => MarkWriter::create(fs, dir, &mark)?,
    };
    report(dir, &recovery);
    Ok(Opened { lock, uuid: survey.uuid, sealed: survey.segments, active, mark: writer, next, recovery })
}

fn take_lock<F: Fs>(fs: &F, dir: &Path) -> Result<F::File, JournalError> {
    let path = dir.join(LOCK_NAME);
    let lock = fs.open(&path, OpenMode::CreateEmpty).map_err(FsError::on("create", &path))?;
    if lock.try_lock().map_err(FsError::on("lock", &path))? {
        Ok(lock)
    } else {
        Err(JournalError::Locked { dir: dir.to_path_buf() })
    }
}

/// A file with a segment's name, as it is.
struct Candidate {
    info: SegmentInfo,
    header: Result<SegmentHeader, HeaderFault>,
}

fn survey<F: Fs>(fs: &F, dir: &Path, mark: Option<Mark>, recovery: &mut Recovery) -> Result<Survey, JournalError> {
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
    let mut survey = Survey { uuid, mark, segments: Vec::new(), unreadable: Vec::new() };
    let mut last: Option<Lsn> = None;
    for Candidate { info, header } in candidates {
        match header {
            Ok(header) if header.first == info.first && header.uuid == uuid => {
                let is_unreadable = survey.unreadable.iter().any(|(first, ..)| *first == header.previous);
                if is_unreadable || last.is_some_and(|last| last < header.previous) {
                    note_missing(dir, &header, recovery);
                }
                last = Some(info.first);
                survey.segments.push(info);
            }
            unfit => {
                let path = quarantine(fs, dir, info.first)?;
                if unfit.is_err() {
                    let most = info.bytes / HEADER_BYTES as u64;
                    survey.unreadable.push((info.first, Lsn(info.first.0.saturating_add(most)), path.clone()));
                }
                recovery.quarantined.push(path);
            }
        }
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
    Ok(Candidate { info: SegmentInfo { first, bytes }, header })
}

/// Notes that the segment this one was written after is not there. Nobody asks after the
/// predecessor of the oldest one: it has been dropped, and that is no damage.
fn note_missing(dir: &Path, header: &SegmentHeader, recovery: &mut Recovery) {
    let segment = segment_path(dir, header.previous);
    recovery.damage.push(Damage { from: header.previous, to: header.first.previous(), segment, offset: 0 });
}

/// Opens the last segment, or starts a new one behind it if it must not be written any more.
fn open_last<F: Fs>(
    fs: &F,
    dir: &Path,
    survey: &mut Survey,
    last: SegmentInfo,
    segment_bytes: u64,
    recovery: &mut Recovery,
) -> Result<(Active<F::File>, Lsn), JournalError> {
    let path = segment_path(dir, last.first);
    let file = fs.open(&path, OpenMode::Update).map_err(FsError::on("open", &path))?;
    let mut scan = SegmentScan::new(file, Salt::new(&survey.uuid), last.first);
    let marked = survey.mark.map_or(Lsn::ZERO, |mark| mark.durable);
    let tail = examine(&mut scan, last.bytes, marked).map_err(FsError::on("read", &path))?;
    let file = scan.into_file();
    let (mut next, mut end) = (tail.next, tail.end);
    match tail.rest {
        Rest::Nothing => {}
        Rest::Torn(bytes) => recovery.torn = Some(TornTail { at: tail.next, bytes }),
        Rest::Damaged { to, next: behind, end: behind_end } => {
            recovery.damage.push(Damage { from: tail.next, to, segment: path.clone(), offset: tail.end });
            (next, end) = (behind, behind_end);
        }
    }
    let next = note_unreadable(survey, next, recovery);
    settle(&file, &path, survey.mark, last.first, end)?;
    if next != tail.next {
        survey.segments.push(last);
        return Ok((start_segment(fs, dir, survey, next, segment_bytes)?, next));
    }
    let allocated = cut_off(&file, &path, &tail, last.bytes, segment_bytes)?;
    Ok((Active { file, first: last.first, end: tail.end, allocated }, next))
}

/// Starts the log where no segment is left.
fn begin<F: Fs>(
    fs: &F,
    dir: &Path,
    survey: &Survey,
    segment_bytes: u64,
    recovery: &mut Recovery,
) -> Result<(Active<F::File>, Lsn), JournalError> {
    let marked = survey.mark.map_or(Lsn::ZERO, |mark| mark.durable);
    recovery.is_new = survey.mark.is_none() && survey.unreadable.is_empty();
    if marked > Lsn::ZERO {
        let segment = segment_path(dir, Lsn::FIRST);
        recovery.damage.push(Damage { from: Lsn::FIRST, to: marked, segment, offset: 0 });
    }
    let next = note_unreadable(survey, marked.next(), recovery);
    Ok((start_segment(fs, dir, survey, next, segment_bytes)?, next))
}

/// Returns the next place, past every record that an unreadable last segment can have held.
fn note_unreadable(survey: &Survey, next: Lsn, recovery: &mut Recovery) -> Lsn {
    let mut next = next;
    for (first, after, path) in &survey.unreadable {
        let follows = *first == next || survey.mark.is_some_and(|mark| mark.segment == *first);
        if follows && *after > next {
            recovery.damage.push(Damage { from: next, to: after.previous(), segment: path.clone(), offset: 0 });
            next = *after;
        }
    }
    next
}

fn start_segment<F: Fs>(
    fs: &F,
    dir: &Path,
    survey: &Survey,
    first: Lsn,
    bytes: u64,
) -> Result<Active<F::File>, JournalError> {
    let previous = survey.segments.last().map_or(Lsn::ZERO, |segment| segment.first);
    let header = SegmentHeader { uuid: survey.uuid, first, previous };
    let file = create_segment(fs, dir, &header, bytes)?;
    Ok(Active { file, first, end: SEGMENT_HEADER_BYTES, allocated: bytes })
}

/// Makes sure that every byte up to `end` is on disk, whatever an earlier sync said.
fn settle<H: FsFile>(file: &H, path: &Path, mark: Option<Mark>, first: Lsn, end: u64) -> Result<(), FsError> {
    let mut offset = match mark {
        Some(mark) if mark.segment == first => mark.end,
        Some(mark) if mark.segment > first => end,
        _ => SEGMENT_HEADER_BYTES,
    };
    if offset >= end {
        return Ok(());
    }
    let mut copy = vec![0; COPY_BYTES];
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let room = copy.get_mut(..want).unwrap_or_default();
        let count = read_full(file, room, offset).map_err(FsError::on("read", path))?;
        if count == 0 {
            break;
        }
        file.write_all_at(copy.get(..count).unwrap_or_default(), offset).map_err(FsError::on("write", path))?;
        offset += count as u64;
    }
    file.sync_data().map_err(FsError::on("sync", path))
}

/// Cuts off a torn tail and returns how far room is reserved.
fn cut_off<H: FsFile>(file: &H, path: &Path, tail: &Tail, len: u64, segment_bytes: u64) -> Result<u64, JournalError> {
    if tail.rest == Rest::Nothing {
        return Ok(len.max(tail.end));
    }
    file.truncate(tail.end).map_err(FsError::on("cut", path))?;
    let wanted = segment_bytes.max(tail.end);
    // A full disk is no reason not to start: the next record asks for a new segment and waits.
    let allocated = match file.allocate(wanted).map_err(FsError::on("reserve room for", path)) {
        Ok(()) => wanted,
        Err(error) if error.is_no_space() => tail.end,
        Err(error) => return Err(error.into()),
    };
    file.sync_data().map_err(FsError::on("sync", path))?;
    Ok(allocated)
}

fn report(dir: &Path, recovery: &Recovery) {
    let journal = dir.display();
    if let Some(TornTail { at, bytes }) = recovery.torn {
        warn!(%journal, %at, bytes, "torn tail cut off, none of it was acknowledged");
    }
    for Damage { from, to, segment, offset } in &recovery.damage {
        let segment = segment.display();
        error!(%journal, %from, %to, %segment, offset, "journal is damaged, acknowledged records are lost");
    }
    for path in &recovery.quarantined {
        let file = path.display();
        error!(%journal, %file, "file with a segment's name is none of this journal's, renamed");
    }
}

#[cfg(test)]
mod tests;
