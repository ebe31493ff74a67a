use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::cursor::Cursor;
use crate::fs::fake::{Crash, FakeFs};
use crate::journal::Journal;
use crate::options::JournalOptions;
use crate::reader::Reader;
use crate::trial::{DIR, OPTIONS, body, compress_all, harvest, open, sample};

const CURSOR: &str = "/state/consumer.cursor";

fn secs(secs: u64) -> Option<std::time::SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs(secs))
}

/// A journal whose record n was synced at second 1,000 + n.
fn timed() -> (FakeFs, Journal<FakeFs>) {
    let fs = FakeFs::default();
    fs.set_now(1_000);
    let (mut journal, _) = open(&fs);
    for lsn in 1..=14 {
        fs.set_now(1_000 + lsn);
        journal.append(7, &body(lsn)).unwrap();
        journal.sync().unwrap();
    }
    (fs, journal)
}

#[test]
fn borders_forms_and_times_of_segments_are_told_and_the_same_after_a_restart() {
    let (fs, journal) = timed();
    assert!(journal.sealed().compress_next(&|| true).unwrap().is_some());
    let told = journal.sealed().list();
    assert!(told.len() > 3);
    for pair in told.windows(2) {
        assert_eq!(pair[0].last, Some(pair[1].first.previous()));
        assert_eq!(pair[0].until, secs(1_000 + pair[0].last.unwrap().0), "its last record's sync");
        assert!(pair[0].since <= pair[0].until && pair[0].until <= pair[1].since);
    }
    let (first, open) = (told[0], told[told.len() - 1]);
    assert_eq!((first.state, first.since), (SegmentState::Compressed, secs(1_000)));
    assert!(first.bytes < first.written_bytes);
    assert_eq!(told[1].state, SegmentState::Sealed);
    assert_eq!((open.state, open.last, open.until), (SegmentState::Open, Some(Lsn(14)), secs(1_014)));
    assert_eq!(journal.synced().map(|synced| synced.at), secs(1_014).into_iter().next());
    assert_eq!(journal.size_bytes(), told.iter().map(|segment| segment.bytes).sum());
    drop(journal);

    let (journal, _) = self::open(&fs);
    for (before, after) in told.iter().zip(journal.sealed().list()) {
        match before.state {
            SegmentState::Compressed => assert_eq!(after, *before),
            // The next one was begun one record later, here a second.
            SegmentState::Sealed => {
                assert_eq!(SegmentInfo { until: None, ..after }, SegmentInfo { until: None, ..*before });
                assert!(
                    after.until >= before.until && after.until <= before.until.map(|at| at + Duration::from_secs(1))
                );
            }
            SegmentState::Open => assert_eq!(after, SegmentInfo { until: None, ..*before }),
        }
    }
}

#[test]
fn retention_drops_by_size_and_by_age_and_nothing_still_needed() {
    let (fs, journal) = timed();
    let segments = journal.sealed();
    let firsts: Vec<Lsn> = segments.list().iter().map(|segment| segment.first).collect();
    let rule = Retention { max_bytes: Some(0), max_age: None };
    assert_eq!(segments.retain(&rule, firsts[1].previous()).unwrap(), 0, "the first segment is still needed");
    assert_eq!(segments.retain(&rule, firsts[1]).unwrap(), 1);
    let rule = Retention { max_bytes: None, max_age: Some(Duration::from_secs(1)) };
    fs.set_now(1_000 + firsts[2].0 + 1);
    assert_eq!(segments.retain(&rule, Lsn(u64::MAX)).unwrap(), 1);
    assert_eq!((segments.oldest(), fs.segments().len()), (firsts[2], firsts.len() - 2));
    assert_eq!(harvest(&fs).records.keys().next(), Some(&firsts[2]));
}

#[test]
fn floor_is_on_disk_before_anything_is_removed_and_a_start_finishes_the_work() {
    let whole = sample(1);
    let (journal, _) = open(&whole);
    let (before, kept) = (whole.changes(), journal.sealed().list()[2].first);
    drop(journal);
    for stop in before.. {
        let fs = whole.copy();
        let (mut journal, _) = open(&fs);
        fs.stop_after(stop - before);
        let ended = journal.drop_before(kept);
        for seed in 0..8 {
            // Removals reach the disk in any order.
            let fs = fs.after(if seed == 0 { Crash::Kept } else { Crash::Mixed(2 * seed + 1) });
            let read = harvest(&fs);
            assert!(read.lost.is_empty(), "a reader is told of dropping, not of damage: {:?}", read.lost);
            let (journal, recovery) = open(&fs);
            assert!(recovery.is_whole(), "{recovery:?}");
            let oldest = journal.oldest();
            assert!(oldest == Lsn(1) || oldest == kept, "all or nothing: {oldest}");
            assert_eq!(fs.segments().len(), journal.sealed().list().len());
        }
        if ended.is_ok() {
            break;
        }
    }
}

/// Sets a cursor and lets go what lies behind it, again and again; returns whether it came to its end.
fn consume(fs: &FakeFs) -> Result<(), Box<dyn std::error::Error>> {
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS)?;
    let mut cursor = Cursor::open_on(fs, Path::new(CURSOR))?;
    for lsn in [3, 6, 9, 12] {
        cursor.set(Lsn(lsn), b"")?;
        journal.sealed().compress_next(&|| true)?;
        journal.drop_before(Lsn(lsn))?;
    }
    Ok(())
}

#[test]
fn consumer_that_sets_its_cursor_first_finds_its_record_after_a_crash_at_any_point() {
    let whole = sample(1);
    for stop in 0.. {
        let fs = whole.copy();
        fs.stop_after(stop);
        let ended = consume(&fs);
        for crash in [Crash::Lost, Crash::Kept].into_iter().chain((0..8).map(|n| Crash::Mixed(stop * 8 + n))) {
            let fs = fs.after(crash);
            let wanted = Cursor::open_on(&fs, Path::new(CURSOR)).unwrap().get().map_or(Lsn(1), |(lsn, _)| lsn);
            for is_reopened in [false, true] {
                if is_reopened {
                    assert!(open(&fs).1.is_whole());
                }
                let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
                reader.seek(wanted).unwrap();
                assert_eq!(reader.next().unwrap().unwrap().body, body(wanted.0), "{crash:?} after change {stop}");
            }
        }
        if ended.is_ok() {
            assert!(stop > 30, "{stop}");
            break;
        }
    }
}

#[test]
fn floor_that_no_segment_stands_on_removes_nothing() {
    let (fs, other) = (sample(1), sample(1));
    let (mut journal, _) = open(&other);
    journal.drop_before(Lsn(9)).unwrap();
    let floor = Path::new(DIR).join("floor");
    let path = other.segments()[0].clone();
    fs.take(&path);
    fs.put(&floor, other.read(&floor));
    let (journal, recovery) = open(&fs);
    assert_eq!(journal.oldest(), Lsn(1), "{recovery:?}");
    assert_eq!(recovery.damage.len(), 1, "what is missing is named all the same");
}

#[test]
fn a_failed_floor_drops_nothing_and_stops_dropping() {
    let fs = sample(1);
    let (mut journal, _) = open(&fs);
    let count = fs.segments().len();
    fs.fail_sync(fs.syncs());
    assert!(matches!(journal.drop_before(Lsn(9)), Err(JournalError::File(_))));
    assert!(matches!(journal.drop_before(Lsn(9)), Err(JournalError::Stopped)));
    assert_eq!(fs.segments().len(), count);
    journal.append(7, b"still written").unwrap();
    journal.sync().unwrap();
    drop(journal);
    // The floor looks written: a start makes it so, and finishes.
    assert!(open(&fs).0.oldest() > Lsn(1) && fs.segments().len() < count);
    assert!(open(&fs.after(Crash::Lost)).1.is_whole());
}

#[test]
fn segment_dropped_while_it_is_compressed_does_not_come_back() {
    let fs = FakeFs::default();
    let options = JournalOptions { segment_bytes: 2 << 20, ..OPTIONS };
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), options).unwrap();
    for lsn in 1..=40 {
        journal.append(7, &body(lsn).repeat(2_000)).unwrap();
    }
    journal.sync().unwrap();
    let segments = journal.sealed();
    let kept = segments.list()[1].first;
    let asked = AtomicUsize::new(0);
    let drop_meanwhile = || {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            assert_eq!(segments.drop_before(kept).unwrap(), 1);
        }
        true
    };
    let compressed = segments.compress_next(&drop_meanwhile).unwrap();
    assert!(compressed.is_none_or(|info| info.first >= kept), "{compressed:?}");
    assert!(asked.load(Ordering::Relaxed) > 0);
    assert_eq!((segments.oldest(), fs.segments().len()), (kept, segments.list().len()));
    let left = fs.list(Path::new(DIR)).unwrap();
    assert!(!left.iter().any(|name| name.ends_with(".new")), "{left:?}");
}

#[test]
fn compressing_stops_when_it_is_told_to_and_leaves_nothing_behind() {
    let fs = FakeFs::default();
    let options = JournalOptions { segment_bytes: 2 << 20, ..OPTIONS };
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), options).unwrap();
    (1..=40).for_each(|lsn| assert_eq!(journal.append(7, &body(lsn).repeat(2_000)).unwrap(), Lsn(lsn)));
    let before = journal.sealed().list();
    assert_eq!(journal.sealed().compress_next(&|| false).unwrap(), None);
    assert_eq!(journal.sealed().list(), before);
    assert!(!fs.list(Path::new(DIR)).unwrap().iter().any(|name| name.ends_with(".new")));
    assert!(journal.sealed().compress_next(&|| true).unwrap().is_some(), "and goes on later");
}

#[test]
fn damaged_and_incompressible_segments_stay_as_they_are() {
    let fs = sample(1);
    let path = fs.segments()[1].clone();
    let mut bytes = fs.read(&path);
    bytes[100] ^= 1;
    fs.put(&path, bytes.clone());
    let (journal, _) = open(&fs);
    assert_eq!(compress_all(&journal), fs.segments().len() - 2);
    assert_eq!(fs.read(&path), bytes);
    assert_eq!(harvest(&fs).lost.len(), 1, "one record, as before");

    let fs = FakeFs::default();
    let (mut journal, _) = open(&fs);
    let mut dice = crate::fs::fake::Dice(5);
    for _ in 0..20 {
        let noise: Vec<u8> = (0..100).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        journal.append(7, &noise).unwrap();
    }
    journal.sync().unwrap();
    assert_eq!(compress_all(&journal), 0);
    assert!(journal.sealed().list().iter().all(|segment| segment.state != SegmentState::Compressed));
}

#[test]
fn any_call_that_fails_while_compressing_costs_nothing_and_leaves_nothing_behind() {
    for call in 1..60 {
        let fs = sample(1);
        let (journal, _) = open(&fs);
        fs.fail_call(fs.calls() + call);
        match journal.sealed().compress_next(&|| true) {
            Ok(_) => continue,
            Err(error) => assert!(matches!(error, JournalError::File(_)), "{error:?}"),
        }
        assert_eq!(harvest(&fs).records.len(), 14, "call {call}");
        assert!(!fs.list(Path::new(DIR)).unwrap().iter().any(|name| name.ends_with(".new")), "call {call}");
        assert!(compress_all(&journal) > 0, "the next call tries again");
        assert_eq!(harvest(&fs).records.len(), 14);
    }
}

#[test]
fn reader_goes_on_in_the_file_it_has_while_the_forms_are_swapped() {
    let fs = sample(1);
    let (journal, _) = open(&fs);
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    for lsn in 1..=14 {
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((entry.lsn, entry.body), (Lsn(lsn), body(lsn).as_slice()));
        if lsn % 3 == 1 {
            journal.sealed().compress_next(&|| true).unwrap();
        }
    }
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn handle_keeps_the_directory_locked() {
    let fs = sample(1);
    let (journal, _) = open(&fs);
    let segments = journal.sealed();
    drop(journal);
    let again = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS);
    assert!(matches!(again, Err(JournalError::Locked { .. })), "two that drop and compress would be one too many");
    drop(segments);
    open(&fs);
}

#[test]
fn without_compression_nothing_is_compressed() {
    let fs = sample(1);
    let options = JournalOptions { compression: Compression::None, ..OPTIONS };
    let (journal, _) = Journal::open_on(fs, Path::new(DIR), options).unwrap();
    assert_eq!(compress_all(&journal), 0);
}
