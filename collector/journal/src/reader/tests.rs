//! Damage of every kind: what is left is read, what is gone is named, nothing is passed over.

use proptest::prelude::*;

use super::*;
use crate::fs::fake::{Crash, FakeFs};
use crate::journal::Journal;
use crate::trial::{DIR, OPTIONS, RECORDS, body, harvest, mark_path, nothing_is_silent, open, records_of, sample};

#[test]
fn each_flipped_byte_costs_at_most_its_record_or_its_segment_and_is_named() {
    let whole = sample(1);
    let segments = whole.segments();
    for (n, path) in segments.iter().enumerate() {
        let records = records_of(&whole, path);
        let end = records.last().unwrap().1.end;
        for at in 0..end {
            let fs = whole.copy();
            let mut bytes = fs.read(path);
            bytes[at] ^= 0x10;
            fs.put(path, bytes);
            let (recovery, harvest) = nothing_is_silent(&fs, &format_args!("byte {at} of {}", path.display()));
            let (from, to) = match records.iter().find(|(_, range)| range.contains(&at)) {
                Some((lsn, _)) => (*lsn, *lsn),
                None => (records[0].0, records.last().unwrap().0),
            };
            let found: Vec<_> = recovery.damage.iter().map(|damage| (damage.from, damage.to)).collect();
            let named = if at < 64 { &found } else { &harvest.lost };
            // Of a last segment whose header is bad nobody knows how many records it held.
            let ends = named.first().map(|(from, _)| *from).zip(named.last().map(|(_, to)| *to));
            assert!(ends.is_some_and(|(f, t)| f == Lsn(from) && t >= Lsn(to)), "byte {at}: {named:?}");
            if at < 64 {
                assert_eq!(recovery.quarantined.len(), 1, "a header");
            } else if n + 1 == segments.len() {
                assert_eq!(recovery.damage.len(), 1, "the last segment is read when it is opened");
                assert_eq!(harvest.lost, [(Lsn(from), Lsn(to))]);
            }
        }
    }
}

#[test]
fn each_truncation_of_a_segment_is_named() {
    let whole = sample(1);
    for path in whole.segments() {
        let end = records_of(&whole, &path).last().unwrap().1.end;
        for len in 0..end {
            let fs = whole.copy();
            fs.put(&path, fs.read(&path)[..len].to_vec());
            let (recovery, harvest) = nothing_is_silent(&fs, &format_args!("{} cut to {len}", path.display()));
            assert!(if len < 64 { !recovery.is_whole() } else { !harvest.lost.is_empty() }, "cut to {len}");
        }
    }
}

#[test]
fn tail_record_cut_at_each_byte_is_torn_if_nothing_says_it_was_durable() {
    let whole = sample(1);
    let path = whole.segments().pop().unwrap();
    let (lsn, range) = records_of(&whole, &path).pop().unwrap();
    assert_eq!(lsn, RECORDS);
    for len in range.clone() {
        let fs = whole.copy();
        fs.take(&mark_path());
        fs.put(&path, fs.read(&path)[..len].to_vec());
        let (mut journal, recovery) = open(&fs);
        assert!(recovery.is_whole(), "cut to {len}: {recovery:?}");
        // A cut in a run of zeroes leaves fewer bytes to count, and one at the border leaves none.
        assert_eq!(recovery.torn.is_some(), len > range.start, "cut to {len}");
        assert!(recovery.torn.is_none_or(|torn| torn.at == Lsn(RECORDS) && torn.bytes <= (len - range.start) as u64));
        assert_eq!(journal.append(7, b"in its place").unwrap(), Lsn(RECORDS));
        journal.sync().unwrap();
        let harvest = harvest(&fs);
        assert_eq!((harvest.records.len() as u64, harvest.lost.len()), (RECORDS, 0));
        assert_eq!(harvest.records[&Lsn(RECORDS)], b"in its place");
    }
}

#[test]
fn bad_record_that_a_later_one_knew_to_be_durable_is_damage_without_the_mark_too() {
    let [alone, grouped] = [sample(1), sample(RECORDS)];
    for (whole, is_damage) in [(alone, true), (grouped, false)] {
        whole.take(&mark_path());
        let path = whole.segments().pop().unwrap();
        let records = records_of(&whole, &path);
        let (lsn, range) = records[records.len() - 2].clone();
        for at in range {
            let fs = whole.copy();
            let mut bytes = fs.read(&path);
            bytes[at] ^= 0x01;
            fs.put(&path, bytes);
            let (_journal, recovery) = open(&fs);
            let lost: Vec<_> = recovery.damage.iter().map(|damage| (damage.from, damage.to)).collect();
            if is_damage {
                assert_eq!(lost, [(Lsn(lsn), Lsn(lsn))], "byte {at}");
                assert_eq!(recovery.durable, Lsn(RECORDS), "the record behind it is kept");
            } else {
                assert_eq!(recovery.torn.map(|torn| torn.at), Some(Lsn(lsn)), "byte {at}");
                assert!(recovery.is_whole(), "the whole group was never acknowledged");
            }
        }
    }
}

#[test]
fn missing_segments_are_named() {
    let whole = sample(1);
    let segments = whole.segments();
    for missing in &segments {
        let fs = whole.copy();
        fs.take(missing);
        let (recovery, harvest) = nothing_is_silent(&fs, &missing.display());
        assert_eq!(recovery.damage.len(), 1, "{}", missing.display());
        assert_eq!(harvest.lost.len(), 1, "{}", missing.display());
    }
    let fs = whole.copy();
    segments.iter().for_each(|path| drop(fs.take(path)));
    let (journal, recovery) = open(&fs);
    assert_eq!(journal.next(), Lsn(RECORDS + 1));
    assert_eq!((recovery.damage[0].from, recovery.damage[0].to), (Lsn(1), Lsn(RECORDS)));
}

#[test]
fn copied_swapped_and_zeroed_segments_are_quarantined_or_named() {
    let whole = sample(1);
    let segments = whole.segments();
    let name = |lsn: u64| Path::new(DIR).join(format!("{lsn:020}.seg"));
    for path in &segments {
        for lsn in [2, 900, u64::MAX] {
            let fs = whole.copy();
            if !segments.contains(&name(lsn)) {
                fs.put(&name(lsn), fs.read(path));
                let (_, recovery) = open(&fs.copy());
                assert_eq!((recovery.quarantined.len(), recovery.durable), (1, Lsn(RECORDS)), "copied to {lsn}");
                assert!(recovery.damage.is_empty(), "a copy takes nothing away: {recovery:?}");
            }
        }
        let fs = whole.copy();
        fs.put(path, vec![0; 340]);
        let (recovery, _) = nothing_is_silent(&fs, &format_args!("{} zeroed", path.display()));
        assert_eq!(recovery.quarantined.len(), 1);
    }
    let fs = whole.copy();
    let [first, second] = [fs.read(&segments[0]), fs.read(&segments[1])];
    fs.put(&segments[0], second);
    fs.put(&segments[1], first);
    let (_, recovery) = open(&fs);
    assert_eq!(recovery.quarantined.len(), 2, "swapped");
}

#[test]
fn segment_of_another_journal_is_quarantined() {
    let fs = sample(1);
    let path = fs.segments()[1].clone();
    let other = FakeFs::default().after(Crash::Kept);
    let (mut journal, _) = open(&other);
    (1..=RECORDS).for_each(|lsn| drop(journal.append(7, &body(lsn))));
    journal.sync().unwrap();
    assert_eq!(other.segments()[1], path, "the same name");
    fs.put(&path, other.read(&path));
    let (recovery, harvest) = nothing_is_silent(&fs, &"another journal's segment");
    assert_eq!((recovery.quarantined.len(), harvest.lost.len()), (1, 1));
}

#[test]
fn a_lost_mark_is_made_again_and_a_foreign_one_is_not_believed() {
    for mark in [None, Some(sample_of_another().read(&mark_path())), Some(vec![0; 8_192])] {
        let fs = sample(1);
        fs.take(&mark_path());
        if let Some(bytes) = mark {
            fs.put(&mark_path(), bytes);
        }
        let (_journal, recovery) = open(&fs);
        assert!(recovery.is_whole() && recovery.torn.is_none(), "{recovery:?}");
        assert_eq!(harvest(&fs).records.len() as u64, RECORDS);
    }
}

fn sample_of_another() -> FakeFs {
    let fs = FakeFs::default().after(Crash::Lost);
    open(&fs).0.append(7, b"other").unwrap();
    fs
}

#[test]
fn unreadable_last_header_never_makes_a_place_be_given_out_twice() {
    let fs = sample(1);
    fs.take(&mark_path());
    let path = fs.segments().pop().unwrap();
    let mut bytes = fs.read(&path);
    bytes[..64].fill(0);
    fs.put(&path, bytes);
    let (journal, recovery) = open(&fs);
    assert!(journal.next() > Lsn(RECORDS), "{recovery:?}");
    assert_eq!((recovery.quarantined.len(), recovery.damage.len()), (1, 1));
}

#[test]
fn record_in_the_wrong_place_is_no_record() {
    let fs = sample(1);
    fs.take(&mark_path());
    let path = fs.segments().pop().unwrap();
    let (_, first) = records_of(&fs, &path)[0].clone();
    let end = records_of(&fs, &path).last().unwrap().1.end;
    let mut bytes = fs.read(&path);
    let copy = bytes[first].to_vec();
    bytes.resize(end + copy.len(), 0);
    bytes[end..].copy_from_slice(&copy);
    fs.put(&path, bytes);
    let (_journal, recovery) = open(&fs);
    assert_eq!(recovery.torn.map(|torn| torn.at), Some(Lsn(RECORDS + 1)));
    assert_eq!(recovery.durable, Lsn(RECORDS));
}

#[test]
fn older_slot_of_the_mark_does_not_take_the_reader_back() {
    let fs = sample(1);
    let (mut journal, _) = open(&fs);
    let before = fs.read(&mark_path());
    journal.append(7, &body(RECORDS + 1)).unwrap();
    journal.sync().unwrap();
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    assert_eq!(reader.durable().unwrap(), Some(Lsn(RECORDS + 1)));
    fs.overwrite(&mark_path(), &before);
    assert_eq!(reader.durable().unwrap(), Some(Lsn(RECORDS + 1)));
}

#[test]
fn what_a_crash_left_half_made_is_removed() {
    let fs = sample(1);
    for name in ["00000000000000000099.new", "somebody's.cursor.new"] {
        fs.put(&Path::new(DIR).join(name), vec![0; 10]);
    }
    open(&fs);
    let mut left = fs.list(Path::new(DIR)).unwrap();
    left.retain(|name| name.ends_with(".new"));
    assert_eq!(left, ["somebody's.cursor.new"], "and nothing that is somebody else's");
}

#[test]
fn reader_follows_the_writer_over_rolls_and_never_ahead_of_a_sync() {
    let fs = FakeFs::default();
    let (mut journal, _) = open(&fs);
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    for lsn in 1..=200 {
        journal.append(7, &body(lsn)).unwrap();
        // A roll syncs what came before it; the record itself waits.
        while let Some(entry) = reader.next().unwrap() {
            assert!(entry.lsn < Lsn(lsn));
        }
        if lsn % 3 == 0 {
            journal.sync().unwrap();
            let mut last = Lsn::ZERO;
            while let Some(entry) = reader.next().unwrap() {
                assert_eq!(entry.body, body(entry.lsn.0));
                last = entry.lsn;
            }
            assert_eq!(last, Lsn(lsn));
        }
    }
}

#[test]
fn seeking_finds_each_record_and_says_what_was_dropped() {
    let fs = sample(1);
    let (mut journal, _) = open(&fs);
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    for lsn in (1..=RECORDS).rev() {
        reader.seek(Lsn(lsn)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().body, body(lsn));
    }
    for lsn in [1, 2, 4, 9, 10, RECORDS] {
        reader.seek(Lsn(lsn)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().body, body(lsn), "forward");
    }
    reader.seek(Lsn(RECORDS + 5)).unwrap();
    assert_eq!(reader.next().unwrap(), None);
    assert!(journal.drop_before(Lsn(6)).unwrap() > 0);
    let oldest = journal.oldest();
    assert!(oldest > Lsn(1) && oldest <= Lsn(6));
    assert!(matches!(reader.seek(Lsn(1)), Err(ReadError::Dropped { wanted: Lsn(1), oldest: o }) if o == oldest));
    reader.seek(oldest).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().lsn, oldest);
}

#[test]
fn reader_overtaken_by_dropping_says_so_and_is_not_told_of_damage() {
    let fs = sample(1);
    let (mut journal, _) = open(&fs);
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().lsn, Lsn(1));
    journal.drop_before(Lsn(RECORDS)).unwrap();
    let dropped = loop {
        match reader.next() {
            Ok(Some(entry)) => assert_eq!(entry.body, body(entry.lsn.0), "from the file it still holds"),
            Ok(None) => panic!("there is more"),
            Err(error) => break error,
        }
    };
    assert!(matches!(dropped, ReadError::Dropped { oldest, .. } if oldest == journal.oldest()), "{dropped:?}");
}

#[test]
fn a_directory_without_a_journal_says_so() {
    let opened = Reader::open_on(FakeFs::default(), Path::new(DIR));
    assert!(matches!(opened, Err(ReadError::NoJournal { .. })));
}

proptest! {
    #[test]
    fn any_bytes_in_any_file_give_records_as_written_or_errors(
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..80), any::<bool>()),
            1..6,
        ),
        group in 1..5u64,
    ) {
        let fs = sample(group);
        let mut paths = fs.segments();
        paths.push(mark_path());
        for (file, place, bytes, is_cut) in edits {
            let path = file.get(&paths);
            let mut content = fs.read(path);
            let at = place.index(content.len() + 1);
            if is_cut { content.truncate(at) }
            let end = content.len().min(at + bytes.len());
            content.splice(at..end, bytes);
            fs.put(path, content);
        }
        let Ok(mut reader) = Reader::open_on(fs.clone(), Path::new(DIR)) else { return Ok(()) };
        let mut last = Lsn::ZERO;
        for _ in 0..1_000 {
            match reader.next() {
                Ok(Some(entry)) => {
                    prop_assert!(entry.lsn > last);
                    prop_assert_eq!(entry.body, body(entry.lsn.0));
                    last = entry.lsn;
                }
                Ok(None) => break,
                Err(ReadError::Damaged(_)) => drop(reader.skip_damage()),
                Err(_) => break,
            }
        }
        prop_assert!(matches!(reader.next(), Ok(None) | Err(_)), "the reader comes to an end");
        prop_assert!(Journal::open_on(fs.clone(), Path::new(DIR), OPTIONS).is_ok());
    }
}
