//! Journals as earlier releases wrote them, in `golden/`: they are read, opened, gone on with and
//! compressed. A folder there is never changed; a new format gets a new one.

#![expect(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use std::fs;
use std::path::Path;

use canh_journal::{Compression, Journal, JournalOptions, Lsn, Reader, SegmentState};

const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 600, reserve_bytes: 0, compression: Compression::Zstd { level: 3 } };
/// Every golden journal holds the records 1 to 12.
const RECORDS: u64 = 12;

fn kind_and_body(lsn: u64) -> (u8, Vec<u8>) {
    let body = format!("record {lsn} ").repeat(usize::try_from(lsn).unwrap());
    (u8::try_from(lsn % 3).unwrap(), body.into_bytes())
}

/// Returns a copy to work on: opening a journal writes to it.
fn golden(name: &str) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn assert_all_there(dir: &Path, last: u64) {
    let mut reader = Reader::open(dir).unwrap();
    for lsn in 1..=last {
        let entry = reader.next().unwrap().unwrap();
        let (kind, body) = kind_and_body(lsn);
        assert_eq!((entry.lsn, entry.kind, entry.body), (Lsn(lsn), kind, body.as_slice()));
    }
    assert!(reader.next().unwrap().is_none());
}

/// Reads it, goes on with it, compresses it and reads it again.
fn work_on(dir: &Path) -> Vec<SegmentState> {
    assert_all_there(dir, RECORDS);
    let (mut journal, recovery) = Journal::open(dir, OPTIONS).unwrap();
    assert!(recovery.is_whole() && recovery.torn.is_none() && !recovery.is_new, "{recovery:?}");
    let found: Vec<SegmentState> = journal.sealed().list().iter().map(|segment| segment.state).collect();
    let (kind, body) = kind_and_body(RECORDS + 1);
    assert_eq!(journal.append(kind, &body).unwrap(), Lsn(RECORDS + 1));
    journal.sync().unwrap();
    while journal.sealed().compress_next(&|| true).unwrap().is_some() {}
    let states: Vec<SegmentState> = journal.sealed().list().iter().map(|segment| segment.state).collect();
    let (_, sealed) = states.split_last().unwrap();
    assert!(sealed.iter().all(|state| *state == SegmentState::Compressed), "{states:?}");
    drop(journal);
    assert_all_there(dir, RECORDS + 1);
    found
}

/// Before segments were compressed: no times in headers, no floor.
#[test]
fn journal_of_version_1_is_read_and_gone_on_with() {
    let dir = golden("version-1");
    assert!(!dir.path().join("floor").exists());
    let found = work_on(dir.path());
    assert_eq!(found, [SegmentState::Sealed, SegmentState::Open]);
    let (mut journal, _) = Journal::open(dir.path(), OPTIONS).unwrap();
    assert_eq!(journal.sealed().list()[0].since, None, "it was not noted");
    assert_eq!(journal.drop_before(Lsn(9)).unwrap(), 1, "the oldest was taken at its word");
}

/// A compressed segment, an open one with its time, a floor.
#[test]
fn journal_of_version_2_is_read_and_gone_on_with() {
    let dir = golden("version-2");
    assert_eq!(work_on(dir.path()), [SegmentState::Compressed, SegmentState::Open]);
}
