//! Opens a journal after whatever happened to it.
//!
//! Comes in: a directory, in the state that a crash, a full disk or somebody's hand left it in.
//! Goes out: the segment to go on writing, the next place to give out, and a [`Recovery`] that
//! says what was found. Only the last segment's records are read, so opening does not slow down
//! with the length of the log; of the others the headers are.
//!
//! * A half-made segment is removed. A file that has a segment's name but is none is renamed.
//! * What lies below the floor is removed: a crash came between. A segment missing above it is lost.
//! * A torn tail is cut off and the room is reserved again, as zeroes.
//! * A damaged last segment is left as it is; the log goes on in a new one, at a place that no
//!   acknowledged record ever had, so that no consumer's cursor can skip a new record.
//! * What the durable mark does not vouch for is written again and synced before anybody is told
//!   that it is on disk: a sync that failed may have left pages that only look written.

use std::path::Path;
use std::time::SystemTime;

use tracing::{error, warn};

use crate::content::Content;
use crate::floor::Floor;
use crate::fs::{Fs, FsError, FsFile, OpenMode, read_full};
use crate::header::{Form, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::info::{SegmentInfo, SegmentState};
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkWriter};
use crate::options::JournalOptions;
use crate::record::Salt;
use crate::recovery::{Damage, Recovery, TornTail};
use crate::scan::SegmentScan;
use crate::segment::{JournalError, create_segment, remove_unfinished, segment_path};
use crate::survey::{Survey, survey};
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
    /// When it was begun.
    pub(crate) since: Option<SystemTime>,
}

/// A journal that has been opened.
#[derive(Debug)]
pub(crate) struct Opened<F: Fs> {
    pub(crate) lock: F::File,
    pub(crate) uuid: [u8; 16],
    pub(crate) sealed: Vec<SegmentInfo>,
    pub(crate) active: Active<F::File>,
    pub(crate) mark: MarkWriter<F::File>,
    pub(crate) floor: Floor<F::File>,
    pub(crate) next: Lsn,
    pub(crate) recovery: Recovery,
}

/// Opens the journal in `dir`, or makes one.
pub(crate) fn open_journal<F: Fs>(fs: &F, dir: &Path, options: &JournalOptions) -> Result<Opened<F>, JournalError> {
    fs.create_dir(dir).map_err(FsError::on("create", dir))?;
    let lock = take_lock(fs, dir)?;
    remove_unfinished(fs, dir)?;
    let (writer, mark) = MarkWriter::open(fs, dir)?.unzip();
    let mut recovery = Recovery::default();
    let mut survey = survey(fs, dir, mark, &mut recovery)?;
    let room = room_of(options);
    let (active, next) = match survey.segments.pop() {
        Some(last) => open_last(fs, dir, &mut survey, last, room, &mut recovery)?,
        None => begin(fs, dir, &survey, room, &mut recovery)?,
    };
    recovery.durable = next.previous();
    let Survey { uuid, mark: own_mark, floor, segments: sealed, .. } = survey;
    let mark = Mark { uuid, durable: next.previous(), segment: active.first, end: active.end };
    let mark = match writer.filter(|_| own_mark.is_some()) {
        Some(mut writer) => {
            writer.publish(&mark)?;
            writer
        }
        None => MarkWriter::create(fs, dir, &mark)?,
    };
    let floor = match floor {
        Some(floor) => floor,
        // A new journal, or one of a release that kept no floor: the oldest is taken at its word.
        None => Floor::create(fs, dir, uuid, sealed.first().map_or(active.first, |segment| segment.first))?,
    };
    report(dir, &recovery);
    Ok(Opened { lock, uuid, sealed, active, mark, floor, next, recovery })
}

/// Returns how much is reserved for a segment.
fn room_of(options: &JournalOptions) -> u64 {
    options.segment_bytes.max(SEGMENT_HEADER_BYTES) + options.reserve_bytes
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

/// Opens the last segment, or starts a new one behind it if it must not be written any more.
fn open_last<F: Fs>(
    fs: &F,
    dir: &Path,
    survey: &mut Survey<F::File>,
    last: SegmentInfo,
    room: u64,
    recovery: &mut Recovery,
) -> Result<(Active<F::File>, Lsn), JournalError> {
    let path = segment_path(dir, last.first);
    let file = fs.open(&path, OpenMode::Update).map_err(FsError::on("open", &path))?;
    let (content, salt) =
        (content_of(file, &last, survey.uuid).map_err(FsError::on("read", &path))?, Salt::new(&survey.uuid));
    let mut scan = SegmentScan::new(content, salt, last.first);
    // All that a compressed segment holds was on disk once.
    let marked = survey.mark.map_or(Lsn::ZERO, |mark| mark.durable).max(last.last.unwrap_or_default());
    let tail = examine(&mut scan, marked).map_err(FsError::on("read", &path))?;
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
    if let Content::Raw(file) = scan.into_content() {
        settle(&file, &path, survey.mark, last.first, end)?;
        if next == tail.next {
            let allocated = cut_off(&file, &path, &tail, last.bytes, room)?;
            return Ok((Active { file, first: last.first, end: tail.end, allocated, since: last.since }, next));
        }
    }
    survey.segments.push(SegmentInfo { last: Some(next.previous()), ..last });
    Ok((start_segment(fs, dir, survey, next, room)?, next))
}

fn content_of<H: FsFile>(file: H, last: &SegmentInfo, uuid: [u8; 16]) -> std::io::Result<Content<H>> {
    let form = if last.state == SegmentState::Compressed { Form::Packed } else { Form::Raw };
    Content::open(file, form, Salt::new(&uuid))
}

/// Starts the log where no segment is left.
fn begin<F: Fs>(
    fs: &F,
    dir: &Path,
    survey: &Survey<F::File>,
    room: u64,
    recovery: &mut Recovery,
) -> Result<(Active<F::File>, Lsn), JournalError> {
    let marked = survey.mark.map_or(Lsn::ZERO, |mark| mark.durable);
    recovery.is_new = survey.mark.is_none() && survey.unreadable.is_empty();
    if marked > Lsn::ZERO {
        let from = survey.floor.as_ref().map_or(Lsn::FIRST, Floor::lsn).min(marked);
        recovery.damage.push(Damage { from, to: marked, segment: segment_path(dir, from), offset: 0 });
    }
    let next = note_unreadable(survey, marked.next(), recovery);
    Ok((start_segment(fs, dir, survey, next, room)?, next))
}

/// Returns the next place, past every record that an unreadable last segment can have held.
fn note_unreadable<H: FsFile>(survey: &Survey<H>, next: Lsn, recovery: &mut Recovery) -> Lsn {
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
    survey: &Survey<F::File>,
    first: Lsn,
    bytes: u64,
) -> Result<Active<F::File>, JournalError> {
    let previous = survey.segments.last().map_or(Lsn::ZERO, |segment| segment.first);
    let since = Some(fs.now());
    let header = SegmentHeader { form: Form::Raw, uuid: survey.uuid, first, previous, since };
    let file = create_segment(fs, dir, &header, bytes)?;
    Ok(Active { file, first, end: SEGMENT_HEADER_BYTES, allocated: bytes, since })
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
fn cut_off<H: FsFile>(file: &H, path: &Path, tail: &Tail, len: u64, room: u64) -> Result<u64, JournalError> {
    if tail.rest == Rest::Nothing {
        return Ok(len.max(tail.end));
    }
    file.truncate(tail.end).map_err(FsError::on("cut", path))?;
    let wanted = room.max(tail.end);
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
