//! A small journal to break, and what must hold afterwards. Tests only.

#![expect(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fs::fake::FakeFs;
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::options::{Compression, JournalOptions};
use crate::reader::{ReadError, Reader};
use crate::recovery::Recovery;

pub(crate) const DIR: &str = "/journal";
pub(crate) const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 340, reserve_bytes: 0, compression: Compression::Zstd { level: 1 } };
pub(crate) const RECORDS: u64 = 14;

pub(crate) fn mark_path() -> PathBuf {
    Path::new(DIR).join("durable")
}

pub(crate) fn body(lsn: u64) -> Vec<u8> {
    format!("record {lsn} ").repeat(2 + lsn as usize % 5).into_bytes()
}

/// A journal of fourteen records in four segments or more, each synced alone if `group` is 1.
pub(crate) fn sample(group: u64) -> FakeFs {
    let fs = FakeFs::default();
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap();
    for lsn in 1..=RECORDS {
        assert_eq!(journal.append(7, &body(lsn)).unwrap(), Lsn(lsn));
        if lsn % group == 0 {
            journal.sync().unwrap();
        }
    }
    assert_eq!(journal.sync().unwrap(), Lsn(RECORDS));
    assert!(fs.segments().len() > 3, "{:?}", fs.segments());
    drop(journal);
    fs
}

pub(crate) fn open(fs: &FakeFs) -> (Journal<FakeFs>, Recovery) {
    Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap()
}

/// Everything a reader gets, and everything it is told is lost.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) records: BTreeMap<Lsn, Vec<u8>>,
    pub(crate) lost: Vec<(Lsn, Lsn)>,
}

pub(crate) fn harvest(fs: &FakeFs) -> Harvest {
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    let mut harvest = Harvest::default();
    let mut last = reader.position().previous();
    loop {
        match reader.next() {
            Ok(Some(entry)) => {
                assert_eq!((entry.lsn, entry.kind), (last.next(), 7), "the next record, or an error");
                last = entry.lsn;
                harvest.records.insert(entry.lsn, entry.body.to_vec());
            }
            Ok(None) => return harvest,
            Err(ReadError::Damaged(damage)) => {
                assert_eq!(damage.from, last.next(), "damage begins where reading ended");
                assert!(reader.next().is_err(), "it is said until somebody skips it");
                assert_eq!(reader.skip_damage(), Some(damage.clone()));
                last = damage.to;
                harvest.lost.push((damage.from, damage.to));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Checks that each of the sample's records is either read, as it was, or named as lost, before
/// and after the journal is opened again; returns what opening found and what was read after.
pub(crate) fn nothing_is_silent(fs: &FakeFs, what: &dyn std::fmt::Display) -> (Recovery, Harvest) {
    let check = |harvest: &Harvest, newest: u64| {
        let is_lost = |lsn| harvest.lost.iter().any(|(from, to)| (*from..=*to).contains(&Lsn(lsn)));
        for lsn in 1..=RECORDS {
            match harvest.records.get(&Lsn(lsn)) {
                Some(read) => assert_eq!(*read, body(lsn), "{what}: record {lsn}"),
                None => assert!(is_lost(lsn), "{what}: record {lsn} is silently gone: {harvest:?}"),
            }
        }
        let known = |lsn: &&Lsn| lsn.0 > RECORDS && lsn.0 != newest;
        assert!(!harvest.records.keys().any(|lsn| known(&lsn)), "{what}: a record out of nothing");
    };
    check(&harvest(fs), 0);
    let (mut journal, recovery) = open(fs);
    assert!(recovery.durable >= Lsn(RECORDS), "{what}: a place was given out twice: {recovery:?}");
    let lsn = journal.append(7, b"new").unwrap();
    journal.sync().unwrap();
    let harvest = harvest(fs);
    check(&harvest, lsn.0);
    assert_eq!(harvest.records.get(&lsn).map(Vec::as_slice), Some(b"new".as_slice()), "{what}: {harvest:?}");
    (recovery, harvest)
}

/// Where each record begins and ends in its segment.
pub(crate) fn records_of(fs: &FakeFs, path: &Path) -> Vec<(u64, std::ops::Range<usize>)> {
    let bytes = fs.read(path);
    let mut lsn: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let (mut at, mut records) = (64, Vec::new());
    while bytes.get(at..at + 24).is_some_and(|header| header[8] != 0) {
        let len = 24 + body(lsn).len();
        records.push((lsn, at..at + len));
        (at, lsn) = (at + len, lsn + 1);
    }
    records
}

/// Compresses every sealed segment and returns how many there were.
pub(crate) fn compress_all(journal: &Journal<FakeFs>) -> usize {
    let segments = journal.sealed();
    std::iter::from_fn(|| segments.compress_next(&|| true).unwrap()).count()
}
