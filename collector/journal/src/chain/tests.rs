use super::*;
use crate::fs::fake::{Crash, FakeFs};

const DIR: &str = "/ledger";
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 300, ..JournalOptions::DEFAULT };

fn journal(fs: &FakeFs) -> Journal<FakeFs> {
    Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap().0
}

fn chain(fs: &FakeFs) -> Chain<FakeFs> {
    Chain::resume(journal(fs)).unwrap()
}

fn verify(fs: &FakeFs) -> ChainReport {
    verify_chain_on(fs.clone(), Path::new(DIR)).unwrap()
}

fn hex(hash: &ChainHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn hashes_are_those_that_anybody_can_compute() {
    let mut chain = chain(&FakeFs::default());
    chain.append(1, b"abc").unwrap();
    // (head -c 32 /dev/zero; printf abc) | sha256sum
    assert_eq!(hex(chain.head()), "365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370");
    chain.append(1, b"").unwrap();
    // the hash above as 32 bytes | sha256sum
    assert_eq!(hex(chain.head()), "e68b0c72b1aff9488294900ba6cc1e99075122a8d0c122eb42da506f9c2321a4");
}

#[test]
fn chain_goes_on_after_a_restart_and_holds() {
    let fs = FakeFs::default();
    for round in 0..4 {
        let mut chain = chain(&fs);
        for n in 0..5 {
            chain.append(1, format!("round {round} record {n}").as_bytes()).unwrap();
        }
        chain.sync().unwrap();
        let report = verify(&fs);
        assert_eq!((report.records, report.broken), (5 * (round + 1), None));
        assert_eq!((report.first, report.last), (Some(Lsn(1)), Some(Lsn(5 * (round + 1)))));
        assert_eq!(report.head, *chain.head());
    }
}

#[test]
fn what_was_not_synced_is_no_link_after_a_crash() {
    let fs = FakeFs::default();
    let mut before = chain(&fs);
    before.append(1, b"kept").unwrap();
    before.sync().unwrap();
    before.append(1, b"lost").unwrap();
    let fs = fs.after(Crash::Lost);
    let mut chain = chain(&fs);
    chain.append(1, b"another").unwrap();
    chain.sync().unwrap();
    let report = verify(&fs);
    assert_eq!((report.records, report.broken), (2, None));
}

/// Writes records as they are, with checksums that fit: what somebody with a hand on the disk does.
fn forged(bodies: &[Vec<u8>]) -> FakeFs {
    let fs = FakeFs::default();
    let mut journal = journal(&fs);
    for body in bodies {
        journal.append(1, body).unwrap();
    }
    journal.sync().unwrap();
    fs
}

fn honest() -> Vec<Vec<u8>> {
    let fs = FakeFs::default();
    let mut chain = chain(&fs);
    for n in 0..6 {
        chain.append(1, &[n; 9]).unwrap();
    }
    chain.sync().unwrap();
    let mut reader = Reader::open_on(fs, Path::new(DIR)).unwrap();
    let mut bodies = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        bodies.push(entry.body.to_vec());
    }
    bodies
}

#[test]
fn a_changed_missing_added_or_moved_record_is_the_first_break() {
    let broken = |bodies: &[Vec<u8>]| verify(&forged(bodies)).broken;
    let honest = honest();
    assert_eq!(broken(&honest), None);
    let at = |lsn| Some(ChainBreak::Hash { lsn: Lsn(lsn) });
    let mut changed = honest.clone();
    changed[3][40] ^= 1;
    assert_eq!(broken(&changed), at(4));
    let mut missing = honest.clone();
    missing.remove(2);
    assert_eq!(broken(&missing), at(3));
    let mut added = honest.clone();
    added.insert(1, honest[4].clone());
    assert_eq!(broken(&added), at(2));
    let mut moved = honest.clone();
    moved.swap(0, 1);
    assert_eq!(broken(&moved), at(1));
    let mut short = honest.clone();
    short[5].truncate(31);
    assert_eq!(broken(&short), at(6));
}

#[test]
fn damage_is_a_break_too() {
    let fs = forged(&honest());
    let path = fs.segments()[0].clone();
    let mut bytes = fs.read(&path);
    bytes[64 + 24] ^= 1;
    fs.put(&path, bytes);
    let report = verify(&fs);
    assert!(matches!(report.broken, Some(ChainBreak::Lost(Damage { from: Lsn(1), to: Lsn(1), .. }))), "{report:?}");
}

#[test]
fn a_journal_that_is_no_chain_is_not_continued() {
    let fs = forged(&[b"short".to_vec()]);
    assert!(matches!(Chain::resume(journal(&fs)), Err(ChainError::NoHash { lsn: Lsn(1) })));
}
