use super::*;
use crate::fs::fake::FakeFs;
use crate::reader::Reader;
use crate::record::MAX_BODY_BYTES;

const DIR: &str = "/journal";
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 1_000, ..JournalOptions::DEFAULT };

fn open(fs: &FakeFs) -> Journal<FakeFs> {
    Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).unwrap().0
}

#[test]
fn places_are_contiguous_from_one_and_go_on_after_a_restart() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    assert_eq!((journal.durable(), journal.sync().unwrap()), (None, Lsn::ZERO));
    assert_eq!(journal.append(1, b"a").unwrap(), Lsn(1));
    assert_eq!(journal.append(1, b"b").unwrap(), Lsn(2));
    assert_eq!(journal.durable(), None, "appended is not durable");
    assert_eq!(journal.sync().unwrap(), Lsn(2));
    drop(journal);
    let mut journal = open(&fs);
    assert_eq!((journal.durable(), journal.next()), (Some(Lsn(2)), Lsn(3)));
    assert_eq!(journal.append(1, b"c").unwrap(), Lsn(3));
}

#[test]
fn sync_with_nothing_new_costs_no_sync() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    journal.append(1, b"a").unwrap();
    journal.sync().unwrap();
    let syncs = fs.syncs();
    assert_eq!(journal.sync().unwrap(), Lsn(1));
    assert_eq!(fs.syncs(), syncs);
}

#[test]
fn second_writer_is_refused_until_the_first_is_gone() {
    let fs = FakeFs::default();
    let first = open(&fs);
    let second = Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS);
    assert!(matches!(second, Err(JournalError::Locked { .. })));
    drop(first);
    open(&fs);
}

#[test]
fn longest_record_fits_and_a_longer_one_is_refused_before_anything_is_written() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    let mut body = vec![7; MAX_BODY_BYTES + 1];
    assert!(matches!(journal.append(1, &body), Err(JournalError::TooLarge { bytes }) if bytes == MAX_BODY_BYTES + 1));
    body.pop();
    assert_eq!(journal.append(1, &body).unwrap(), Lsn(1));
    assert_eq!(journal.append(1, b"next").unwrap(), Lsn(2));
    journal.sync().unwrap();
    let mut reader = Reader::open_on(fs, Path::new(DIR)).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().body, body);
    assert_eq!(reader.next().unwrap().unwrap().body, b"next");
}

#[test]
fn dropping_takes_whole_sealed_segments_and_gives_their_bytes_back() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    for _ in 0..10 {
        journal.append(1, &[1; 400]).unwrap();
    }
    journal.sync().unwrap();
    let firsts: Vec<_> = journal.sealed().list().iter().map(|segment| segment.first).collect();
    assert_eq!(firsts, [1, 3, 5, 7, 9].map(Lsn), "two records a segment");
    let size = journal.size_bytes();
    assert_eq!(journal.drop_before(Lsn(2)).unwrap(), 0, "record 2 is still wanted");
    assert_eq!(journal.drop_before(Lsn(6)).unwrap(), 2);
    assert_eq!(journal.oldest(), Lsn(5));
    assert_eq!(size - journal.size_bytes(), 2 * (64 + 2 * 424));
    assert_eq!(journal.drop_before(Lsn(u64::MAX)).unwrap(), 2, "the one being written stays");
    assert_eq!((journal.oldest(), fs.segments().len()), (Lsn(9), 1));
    drop(journal);
    assert_eq!(open(&fs).next(), Lsn(11));
}

#[test]
fn growth_is_said_before_it_happens() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    for len in [10, 900, 5_000, 20, 400, 400, 400] {
        let (before, growth) = (journal.size_bytes(), journal.growth(len));
        journal.append(1, &vec![1; len]).unwrap();
        // A sealed segment gives room back.
        assert!(journal.size_bytes() <= before + growth, "{len}: {before} + {growth}");
        assert!(growth > 0 || journal.size_bytes() == before, "{len}");
    }
}

#[test]
fn full_disk_refuses_the_record_and_takes_it_when_there_is_room() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    journal.append(1, &[1; 800]).unwrap();
    fs.set_capacity(Some(8_192 + 1_500));
    for _ in 0..3 {
        let refused = journal.append(1, &[2; 800]);
        assert!(matches!(refused, Err(JournalError::NoSpace { bytes: 1_000, .. })), "{refused:?}");
        assert_eq!(fs.segments().len(), 1);
    }
    assert_eq!(journal.durable(), Some(Lsn(1)), "what came before is safe");
    assert_eq!(journal.append(1, &[3; 20]).unwrap(), Lsn(2), "what fits still fits");
    fs.set_capacity(None);
    assert_eq!(journal.append(1, &[2; 800]).unwrap(), Lsn(3));
    assert_eq!(journal.sync().unwrap(), Lsn(3));
}

#[test]
fn control_records_have_room_of_their_own_when_the_disk_is_full() {
    let options = JournalOptions { reserve_bytes: 200, ..OPTIONS };
    let fs = FakeFs::default();
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), options).unwrap();
    assert_eq!(journal.size_bytes(), 1_200);
    journal.append(1, &[1; 800]).unwrap();
    fs.set_capacity(Some(0));
    let is_refused = |refused: Result<Lsn, JournalError>| matches!(refused, Err(JournalError::NoSpace { .. }));
    assert!(is_refused(journal.append(1, &[2; 200])));
    assert_eq!(journal.append_control(2, &[3; 200]).unwrap(), Lsn(2), "what others may use is used first");
    assert!(is_refused(journal.append(1, b"")), "the room kept is not for ordinary records");
    assert_eq!(journal.append_control(2, &[4; 40]).unwrap(), Lsn(3));
    assert!(is_refused(journal.append_control(2, &[5; 40])), "until it is used up too");
    assert_eq!(journal.sync().unwrap(), Lsn(3));
    drop(journal);
    let fs = fs.after(crate::fs::fake::Crash::Lost);
    fs.set_capacity(Some(0));
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), options).unwrap();
    assert!(is_refused(journal.append(1, b"")));
    assert_eq!(journal.append_control(2, b"").unwrap(), Lsn(4));
    fs.set_capacity(None);
    assert_eq!(journal.append(1, &[2; 200]).unwrap(), Lsn(5));
    assert_eq!(journal.sealed().list()[1].bytes, 1_200, "and the next segment has such room again");
}

#[test]
fn torn_tail_on_a_full_disk_is_no_reason_not_to_start() {
    let fs = FakeFs::default();
    let mut journal = open(&fs);
    journal.append(1, &[1; 100]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let path = fs.segments()[0].clone();
    let mut bytes = fs.read(&path);
    bytes[64 + 124] = 9;
    fs.put(&path, bytes);
    fs.set_capacity(Some(8_192 + 500));
    let mut journal = open(&fs);
    assert!(matches!(journal.append(1, &[1; 100]), Err(JournalError::NoSpace { .. })));
    fs.set_capacity(None);
    assert_eq!(journal.append(1, &[1; 100]).unwrap(), Lsn(2));
    assert_eq!(journal.sync().unwrap(), Lsn(2));
}
