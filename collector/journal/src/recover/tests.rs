//! Every crash point of a scripted life: stop after change k, restart, and compare.

#![expect(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use std::collections::BTreeMap;
use std::path::Path;

use crate::fs::fake::{Crash, Dice, FakeFs};
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::options::{Compression, JournalOptions};
use crate::reader::{ReadError, Reader};
use crate::recovery::Recovery;
use crate::segment::JournalError;

const DIR: &str = "/journal";
const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 1_200, reserve_bytes: 100, compression: Compression::Zstd { level: 1 } };

/// One act of the script.
#[derive(Clone, Copy, Debug)]
enum Act {
    Append(usize),
    Sync,
    DropBefore(u64),
    /// Compresses as many segments, or as there are.
    Compress(usize),
    Reopen,
}

/// What the script's writer knows: what it appended, and what it was promised.
#[derive(Clone, Debug, Default)]
struct Knowledge {
    bodies: BTreeMap<Lsn, Vec<u8>>,
    durable: Lsn,
    dropped_before: Lsn,
    appends: u64,
    compressed: usize,
}

/// A life with every kind of event: several rolls, empty and long records, groups over a roll,
/// dropping, compressing, a record longer than a segment, a restart with and without unsynced records.
fn script() -> Vec<Act> {
    use Act::{Append, Compress, DropBefore, Reopen, Sync};
    let mut acts = vec![Append(10), Sync, Append(0), Append(700), Sync, Append(300), Append(300), Append(300), Sync];
    acts.extend([Compress(1), Append(5_000), Append(1), Sync, DropBefore(3), Append(600), Reopen, Append(601), Sync]);
    acts.extend([Append(900), Compress(9), Append(900), Append(900), Sync, Compress(1), DropBefore(11), Reopen]);
    acts.extend([Append(7), Append(8), Sync, Compress(9)]);
    acts
}

fn body_of(appends: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(appends);
    (0..len).map(|_| b"abcd"[dice.roll(4) as usize]).collect()
}

fn live(fs: &FakeFs, acts: &[Act], known: &mut Knowledge) -> Result<(), JournalError> {
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS)?;
    for act in acts {
        if let Act::Reopen = act {
            drop(journal);
            let recovery;
            (journal, recovery) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS)?;
            assert!(recovery.is_whole() && recovery.torn.is_none(), "{recovery:?}");
            known.bodies.retain(|lsn, _| *lsn <= recovery.durable);
        } else if let Err(error) = perform(&mut journal, *act, known) {
            let durable = journal.durable();
            assert!(matches!(journal.sync(), Err(JournalError::Stopped)), "nothing is acknowledged after {error:?}");
            assert!(matches!(journal.append(1, b"later"), Err(JournalError::Stopped)));
            assert_eq!(journal.durable(), durable);
            return Err(error);
        }
        known.durable = known.durable.max(journal.durable().unwrap_or_default());
    }
    Ok(())
}

fn perform(journal: &mut Journal<FakeFs>, act: Act, known: &mut Knowledge) -> Result<(), JournalError> {
    match act {
        Act::Append(len) => {
            let body = body_of(known.appends, len);
            known.appends += 1;
            // Noted first: a write that is cut short may be on disk.
            known.bodies.insert(journal.next(), body.clone());
            journal.append(1, &body)?;
        }
        Act::Sync => known.durable = journal.sync()?,
        // Neither stops the writer if it fails.
        Act::DropBefore(lsn) => {
            known.dropped_before = Lsn(lsn);
            let _ = journal.drop_before(Lsn(lsn));
        }
        Act::Compress(count) => {
            let segments = journal.sealed();
            let is_done = |_: &usize| matches!(segments.compress_next(&|| true), Ok(Some(_)));
            known.compressed += (0..count).filter(is_done).count();
        }
        Act::Reopen => {}
    }
    Ok(())
}

/// Reads everything there is; each record must be one that was appended.
fn read_all(fs: &FakeFs, known: &Knowledge) -> Vec<Lsn> {
    let mut reader = match Reader::open_on(fs.clone(), Path::new(DIR)) {
        Err(ReadError::NoJournal { .. }) => return Vec::new(),
        opened => opened.unwrap(),
    };
    let mut seen = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        assert_eq!(known.bodies.get(&entry.lsn).map(Vec::as_slice), Some(entry.body), "record {}", entry.lsn);
        seen.push(entry.lsn);
    }
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0].next()), "{seen:?}");
    seen
}

/// Everything promised is there, nothing else is, and the journal goes on.
fn check(fs: &FakeFs, known: &Knowledge, what: &dyn std::fmt::Display) {
    read_all(fs, known);
    let (mut journal, recovery) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    assert!(recovery.is_whole(), "{what}: a false alarm: {recovery:?}");
    assert!(recovery.durable >= known.durable, "{what}: {} was promised, {}", known.durable, recovery.durable);
    let seen = read_all(fs, known);
    let first_kept = seen.first().copied().unwrap_or(Lsn::FIRST);
    assert!(first_kept <= known.dropped_before.max(Lsn::FIRST), "{what}: too much was dropped");
    assert_eq!(seen.last().copied().unwrap_or_default(), recovery.durable, "{what}");

    let mut known = known.clone();
    let lsn = journal.append(2, b"after").unwrap();
    known.bodies.insert(lsn, b"after".to_vec());
    assert_eq!(journal.sync().unwrap(), lsn);
    known.durable = lsn;
    let fs = fs.after(Crash::Lost);
    let (_journal, recovery) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    assert!(recovery.is_whole() && recovery.torn.is_none(), "{what}: {recovery:?}");
    assert_eq!(read_all(&fs, &known).last(), Some(&lsn), "{what}");
}

fn crashes(k: u64) -> impl Iterator<Item = Crash> {
    [Crash::Lost, Crash::Kept].into_iter().chain((0..6).map(move |n| Crash::Mixed(k * 6 + n)))
}

/// Lives the script on a machine that stops after `k` changes.
fn live_until(k: u64) -> (FakeFs, Knowledge) {
    let (fs, mut known) = (FakeFs::default(), Knowledge::default());
    fs.stop_after(k);
    let ended = live(&fs, &script(), &mut known);
    assert!(matches!(ended, Ok(()) | Err(JournalError::File(_) | JournalError::Stopped)), "{ended:?}");
    (fs, known)
}

fn changes_of_the_script() -> u64 {
    let (fs, mut known) = (FakeFs::default(), Knowledge::default());
    live(&fs, &script(), &mut known).unwrap();
    assert!(fs.changes() > 100 && known.compressed > 4, "the script is worth its name: {} {known:?}", fs.changes());
    fs.changes()
}

#[test]
fn whatever_sync_returned_survives_a_crash_after_any_change() {
    for k in 0..=changes_of_the_script() {
        let (fs, known) = live_until(k);
        for crash in crashes(k) {
            check(&fs.after(crash), &known, &format_args!("{crash:?} after change {k}"));
        }
    }
}

#[test]
fn a_second_crash_during_recovery_loses_nothing_either() {
    for k in (0..=changes_of_the_script()).step_by(3) {
        let (fs, known) = live_until(k);
        for crash in [Crash::Kept, Crash::Mixed(k)] {
            let whole = fs.after(crash);
            for j in 0.. {
                let fs = whole.copy();
                fs.stop_after(j);
                let opened = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS);
                for again in [Crash::Lost, Crash::Kept, Crash::Mixed(j)] {
                    let what = format_args!("{crash:?} after change {k}, {again:?} after change {j} of recovery");
                    check(&fs.after(again), &known, &what);
                }
                if opened.is_ok() {
                    break;
                }
            }
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_promised_and_nothing_promised_is_lost() {
    let (fs, mut known) = (FakeFs::default(), Knowledge::default());
    live(&fs, &script(), &mut known).unwrap();
    for n in 0..fs.syncs() {
        let (fs, mut known) = (FakeFs::default(), Knowledge::default());
        fs.fail_sync(n);
        let ended = live(&fs, &script(), &mut known);
        assert!(matches!(ended, Ok(()) | Err(JournalError::File(_))), "sync {n}: {ended:?}");
        // The same machine goes on: pages whose sync failed look written and are not.
        let (journal, recovery) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
        assert!(recovery.is_whole(), "sync {n}: {recovery:?}");
        drop(journal);
        known.durable = known.durable.max(recovery.durable);
        let what = format_args!("failed sync {n}, restart, then a power cut");
        check(&fs.after(Crash::Lost), &known, &what);
    }
}

#[test]
fn whichever_call_fails_nothing_is_promised_after_it_and_nothing_promised_is_lost() {
    let (fs, mut known) = (FakeFs::default(), Knowledge::default());
    live(&fs, &script(), &mut known).unwrap();
    let calls = fs.calls();
    assert!(calls > 300, "{calls}");
    let mut failed = 0;
    for n in 1..=calls {
        let (fs, mut known) = (FakeFs::default(), Knowledge::default());
        fs.fail_call(n);
        let ended = live(&fs, &script(), &mut known);
        assert!(matches!(ended, Ok(()) | Err(JournalError::File(_))), "call {n}: {ended:?}");
        failed += u64::from(ended.is_err());
        let (journal, recovery) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
        assert!(recovery.is_whole(), "call {n}: {recovery:?}");
        drop(journal);
        known.durable = known.durable.max(recovery.durable);
        check(&fs.after(Crash::Lost), &known, &format_args!("failed call {n}, restart, then a power cut"));
    }
    assert!(failed > 100, "most calls cannot be done without: {failed}");
}

#[test]
fn a_stopped_journal_says_so_to_every_call() {
    let fs = FakeFs::default();
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    journal.append(1, b"one").unwrap();
    fs.fail_sync(fs.syncs());
    assert!(matches!(journal.sync(), Err(JournalError::File(_))));
    assert!(matches!(journal.sync(), Err(JournalError::Stopped)));
    assert!(matches!(journal.append(1, b"two"), Err(JournalError::Stopped)));
    assert!(matches!(journal.drop_before(Lsn(9)), Err(JournalError::Stopped)));
    assert_eq!(journal.durable(), None);
}

#[test]
fn what_is_torn_is_counted_from_the_first_record_that_is_not_whole() {
    let fs = FakeFs::default();
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    journal.append(1, b"kept").unwrap();
    journal.sync().unwrap();
    let path = fs.segments()[0].clone();
    drop(journal);
    let mut bytes = fs.read(&path);
    let end = 64 + 24 + 4;
    bytes[end..end + 30].fill(0xaa);
    fs.put(&path, bytes);
    let (_, Recovery { torn, durable, damage, .. }) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    let torn = torn.unwrap();
    assert_eq!((torn.at, torn.bytes, durable, damage.len()), (Lsn(2), 30, Lsn(1), 0));
    assert!(fs.read(&path)[end..].iter().all(|byte| *byte == 0), "what was cut off is gone");
}
