//! A reader in one process follows a writer in another, which compresses its segments meanwhile and is
//! then killed.

#![expect(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use canh_journal::{Compression, Journal, JournalOptions, Lsn, ReadError, Reader, SegmentState};

/// Names the directory for the process that writes.
const WRITER: &str = "CANH_JOURNAL_TEST_WRITER";
const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 64 << 10, reserve_bytes: 0, compression: Compression::Zstd { level: 1 } };
/// Enough for the reader to go over several segments.
const RECORDS: u64 = 3_000;
const DEADLINE: Duration = Duration::from_secs(60);

fn body(lsn: u64) -> Vec<u8> {
    format!("{lsn} ").repeat(usize::try_from(lsn % 97).unwrap()).into_bytes()
}

/// Not a test by itself: the other process. Without the variable it has nothing to do.
#[test]
fn writer_process() {
    let Some(dir) = env::var_os(WRITER) else { return };
    let (mut journal, _) = Journal::open(Path::new(&dir), OPTIONS).unwrap();
    let segments = journal.sealed();
    thread::spawn(move || while segments.compress_next(&|| true).is_ok() {});
    for lsn in 1.. {
        assert_eq!(journal.append(1, &body(lsn)).unwrap(), Lsn(lsn));
        if lsn % 20 == 0 {
            journal.sync().unwrap();
        }
    }
}

#[test]
fn reader_follows_another_process_and_nothing_it_saw_is_gone_when_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "writer_process", "--nocapture"])
        .env(WRITER, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let last = follow(dir.path());
    let locked = Journal::open(dir.path(), OPTIONS);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(locked.is_err(), "the other process holds the journal");

    let (journal, recovery) = Journal::open(dir.path(), OPTIONS).unwrap();
    assert!(recovery.is_whole(), "{recovery:?}");
    assert!(journal.durable().unwrap() >= last);
    let states = journal.sealed().list().into_iter().map(|segment| segment.state);
    assert!(states.filter(|state| *state == SegmentState::Compressed).count() > 3, "both forms were read");
    let mut reader = Reader::open(dir.path()).unwrap();
    let mut seen = Lsn::ZERO;
    while let Some(entry) = reader.next().unwrap() {
        assert_eq!((entry.lsn, entry.body), (seen.next(), body(entry.lsn.0).as_slice()));
        seen = entry.lsn;
    }
    assert_eq!(Some(seen), journal.durable());
}

/// Reads what the other process writes, and returns the last place read.
fn follow(dir: &Path) -> Lsn {
    let start = Instant::now();
    let mut reader = loop {
        match Reader::open(dir) {
            Ok(reader) => break reader,
            Err(ReadError::NoJournal { .. }) => assert!(start.elapsed() < DEADLINE, "the writer has not begun"),
            Err(error) => panic!("{error}"),
        }
        thread::yield_now();
    };
    let mut seen = Lsn::ZERO;
    while seen < Lsn(RECORDS) {
        match reader.next().unwrap() {
            Some(entry) => {
                assert_eq!((entry.lsn, entry.body), (seen.next(), body(entry.lsn.0).as_slice()));
                seen = entry.lsn;
            }
            None => {
                assert!(start.elapsed() < DEADLINE, "only {seen} was written");
                thread::yield_now();
            }
        }
    }
    seen
}
