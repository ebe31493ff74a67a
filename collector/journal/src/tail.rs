//! Looks at the last segment after a crash: where its good records end, and what the rest is.
//!
//! A write that a crash cut short leaves any mixture of its pages on disk: a bad record with good
//! ones behind it proves nothing. What tells a torn tail from damage is whether the bad record had
//! been acknowledged, that is, had been on disk:
//!
//! * the durable mark names it or a later one, or
//! * a good record behind it was written knowing that it was on disk (`behind` in its header).
//!
//! Either makes it damage: loud, and nothing is cut off. Otherwise it is a torn tail: it is cut
//! off and counted.

use std::io;

use crate::fs::FsFile;
use crate::lsn::Lsn;
use crate::record::{HEADER_BYTES, MAX_BODY_BYTES};
use crate::scan::{SegmentScan, Step};

/// What was found in the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the unbroken run of good records ends.
    pub(crate) end: u64,
    /// The place after the last record of that run.
    pub(crate) next: Lsn,
    pub(crate) rest: Rest,
}

/// What stands behind the unbroken run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing but reserved room.
    Nothing,
    /// So many bytes of what a crash cut short.
    Torn(u64),
    /// Records that were acknowledged and are bad; good ones may stand behind them.
    Damaged {
        /// The last record lost.
        to: Lsn,
        /// The place after the last good record, or after the last one lost.
        next: Lsn,
        /// Where the good records behind the damage end.
        end: u64,
    },
}

/// Walks the last segment; `marked` is the last place that was surely on disk.
pub(crate) fn examine<H: FsFile>(scan: &mut SegmentScan<H>, marked: Lsn) -> io::Result<Tail> {
    let len = scan.len()?;
    while let Step::Record(_) = scan.step(len)? {}
    let (end, next) = (scan.offset, scan.expected);
    let litter = scan.litter(len)?;
    let behind = if litter == 0 { Behind::default() } else { look_behind(scan, reach(end, litter, len))? };
    let is_damage = marked >= next || behind.known_durable >= next;
    let rest = if is_damage {
        let to = behind.first.map_or(marked, Lsn::previous).max(next);
        Rest::Damaged { to, next: marked.next().max(behind.next).max(next), end: behind.end.max(end) }
    } else if litter == 0 {
        Rest::Nothing
    } else {
        Rest::Torn(litter)
    };
    Ok(Tail { end, next, rest })
}

/// Returns how far a record can reach that begins before the last byte that is not zero.
fn reach(end: u64, litter: u64, len: u64) -> u64 {
    len.min(end + litter + (HEADER_BYTES + MAX_BODY_BYTES) as u64)
}

/// What good records stand behind a bad one.
#[derive(Default)]
struct Behind {
    first: Option<Lsn>,
    /// The highest place that one of them knew to be on disk.
    known_durable: Lsn,
    next: Lsn,
    end: u64,
}

fn look_behind<H: FsFile>(scan: &mut SegmentScan<H>, len: u64) -> io::Result<Behind> {
    let mut behind = Behind::default();
    while let Some(lsn) = scan.find_next(len)? {
        behind.first.get_or_insert(lsn);
        while let Step::Record(found) = scan.step(len)? {
            behind.known_durable = behind.known_durable.max(found.durable_before);
        }
        (behind.next, behind.end) = (scan.expected, scan.offset);
    }
    Ok(behind)
}
