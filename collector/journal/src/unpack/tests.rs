//! Damage to compressed segments: what is left is read, what is gone is named.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::fs::fake::FakeFs;
use crate::journal::Journal;
use crate::lsn::Lsn;
use crate::options::{Compression, JournalOptions};
use crate::reader::Reader;
use crate::trial::{DIR, RECORDS, body, compress_all, harvest, nothing_is_silent, open, sample};

/// The sample with all but its last segment compressed, and these.
fn packed_sample() -> (FakeFs, Vec<PathBuf>) {
    let fs = sample(1);
    let (journal, _) = open(&fs);
    assert!(compress_all(&journal) > 2);
    drop(journal);
    let mut paths = fs.segments();
    paths.pop();
    assert!(paths.iter().all(|path| fs.read(path)[12] == 2), "compressed");
    (fs, paths)
}

/// The places that a segment holds, by the names of it and of the next one.
fn places(fs: &FakeFs, path: &Path) -> (Lsn, Lsn) {
    let first = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let segments = fs.segments();
    let next: u64 = segments.iter().map(|path| first(path)).find(|lsn| *lsn > first(path)).unwrap();
    (Lsn(first(path)), Lsn(next - 1))
}

#[test]
fn compressed_segments_are_read_as_they_were_before() {
    let (fs, _) = packed_sample();
    let harvest = harvest(&fs);
    assert_eq!((harvest.records.len() as u64, harvest.lost.len()), (RECORDS, 0));
    let (_, recovery) = open(&fs);
    assert!(recovery.is_whole() && recovery.torn.is_none());
}

#[test]
fn each_flipped_byte_of_a_compressed_segment_is_named_or_costs_nothing() {
    let (whole, paths) = packed_sample();
    for path in &paths {
        let (len, lost_range) = (whole.read(path).len(), places(&whole, path));
        for at in 0..len {
            let fs = whole.copy();
            let mut bytes = fs.read(path);
            bytes[at] ^= 0x10;
            fs.put(path, bytes);
            let (recovery, harvest) = nothing_is_silent(&fs, &format_args!("byte {at} of {}", path.display()));
            // The header, the only block with its head, the entry of the index and the seal.
            match at {
                0..64 => {
                    assert_eq!((recovery.quarantined.len(), harvest.lost.as_slice()), (1, [lost_range].as_slice()))
                }
                _ if at < len - 64 => assert_eq!(harvest.lost, [lost_range], "byte {at} of a block"),
                _ => assert!(harvest.lost.is_empty(), "without index or seal the blocks are walked"),
            }
        }
    }
}

#[test]
fn each_truncation_of_a_compressed_segment_is_named_or_costs_nothing() {
    let (whole, paths) = packed_sample();
    for path in &paths {
        let (len, lost_range) = (whole.read(path).len(), places(&whole, path));
        for cut in 0..len {
            let fs = whole.copy();
            fs.put(path, fs.read(path)[..cut].to_vec());
            let (recovery, harvest) = nothing_is_silent(&fs, &format_args!("{} cut to {cut}", path.display()));
            let expected = if cut < len - 64 { vec![lost_range] } else { Vec::new() };
            assert_eq!(harvest.lost, expected, "cut to {cut}");
            assert_eq!(recovery.quarantined.len(), usize::from(cut < 64));
        }
    }
}

#[test]
fn zeroed_swapped_missing_and_copied_compressed_segments_are_named() {
    let (whole, paths) = packed_sample();
    for path in &paths {
        let lost_range = places(&whole, path);
        for bytes in [vec![0; 200], [&whole.read(path)[..64], &[0; 400]].concat()] {
            let fs = whole.copy();
            fs.put(path, bytes);
            let (_, harvest) = nothing_is_silent(&fs, &format_args!("{} zeroed", path.display()));
            assert_eq!(harvest.lost, [lost_range]);
        }
        let fs = whole.copy();
        fs.take(path);
        let (recovery, harvest) = nothing_is_silent(&fs, &format_args!("{} missing", path.display()));
        assert_eq!((recovery.damage.len(), harvest.lost.as_slice()), (1, [lost_range].as_slice()));
        let fs = whole.copy();
        fs.put(&Path::new(DIR).join("00000000000000000900.seg"), fs.read(path));
        let (_, recovery) = open(&fs);
        assert_eq!((recovery.quarantined.len(), recovery.damage.len()), (1, 0), "a copy takes nothing away");
    }
    let fs = whole.copy();
    let [first, second] = [fs.read(&paths[0]), fs.read(&paths[1])];
    fs.put(&paths[0], second);
    fs.put(&paths[1], first);
    let (recovery, harvest) = nothing_is_silent(&fs, &"swapped");
    assert_eq!(recovery.quarantined.len(), 2);
    assert_eq!(harvest.lost.len(), 1, "one range");
}

#[test]
fn compressed_segment_that_is_the_last_one_left_is_never_written() {
    let (fs, paths) = packed_sample();
    let last = fs.segments().pop().unwrap();
    fs.take(&last);
    let before = fs.read(paths.last().unwrap());
    let (recovery, _) = nothing_is_silent(&fs, &"the segment being written is gone");
    assert_eq!(recovery.durable, Lsn(RECORDS), "no place is given out twice");
    assert_eq!(fs.read(paths.last().unwrap()), before);
    // Nothing but the segment itself says how far the log once went.
    let (fs, paths) = packed_sample();
    fs.take(&last);
    fs.take(&Path::new(DIR).join("durable"));
    let mut bytes = fs.read(paths.last().unwrap());
    bytes[64 + 30] ^= 1;
    fs.put(paths.last().unwrap(), bytes);
    let (_, end) = places(&packed_sample().0, paths.last().unwrap());
    let (journal, recovery) = open(&fs);
    assert_eq!((journal.next(), recovery.damage.len()), (end.next(), 1), "its seal knows");
}

const LARGE: JournalOptions =
    JournalOptions { segment_bytes: 4 << 20, reserve_bytes: 0, compression: Compression::Zstd { level: 1 } };
const LARGE_RECORDS: u64 = 60;

fn large_body(lsn: u64) -> Vec<u8> {
    body(lsn).repeat(1_500 + usize::try_from(lsn).unwrap() * 97)
}

/// A journal whose first segment has many blocks.
fn large() -> (FakeFs, PathBuf) {
    let fs = FakeFs::default();
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), LARGE).unwrap();
    for lsn in 1..=LARGE_RECORDS {
        journal.append(7, &large_body(lsn)).unwrap();
    }
    journal.sync().unwrap();
    let before: u64 = journal.sealed().list()[0].bytes;
    assert!(compress_all(&journal) > 0);
    let first = journal.sealed().list()[0];
    assert!(first.bytes * 10 < before && first.written_bytes == before, "{first:?}");
    let path = fs.segments()[0].clone();
    (fs, path)
}

fn read_from(fs: &FakeFs, lsn: u64) -> u64 {
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    reader.seek(Lsn(lsn)).unwrap();
    let calls = fs.calls();
    let entry = reader.next().unwrap().unwrap();
    assert_eq!((entry.lsn, entry.body), (Lsn(lsn), large_body(lsn).as_slice()));
    fs.calls() - calls
}

#[test]
fn any_record_of_many_blocks_is_found_at_once() {
    let (fs, _) = large();
    for lsn in (1..=LARGE_RECORDS).rev() {
        read_from(&fs, lsn);
    }
    // Listing, opening, header, seal, index and two blocks: however many blocks come before.
    assert!(read_from(&fs, 30) <= read_from(&fs, 1) + 4, "{} against {}", read_from(&fs, 30), read_from(&fs, 1));
    let mut reader = Reader::open_on(fs.clone(), Path::new(DIR)).unwrap();
    for lsn in [1, 2, 20, 21, 40, LARGE_RECORDS] {
        reader.seek(Lsn(lsn)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().body, large_body(lsn), "forward");
    }
}

#[test]
fn damaged_block_costs_its_own_records_and_no_others() {
    let (whole, path) = large();
    let bytes = whole.read(&path);
    let heads: Vec<usize> = (64..bytes.len() - 4).filter(|at| &bytes[*at..*at + 4] == b"CBLK").collect();
    assert!(heads.len() > 8, "{}", heads.len());
    let first_of = |head: usize| u64::from_le_bytes(bytes[head + 16..head + 24].try_into().unwrap());
    for pair in heads.windows(2) {
        let lost: Range<u64> = first_of(pair[0])..first_of(pair[1]);
        for at in [pair[0], pair[0] + 5, pair[0] + 20, pair[0] + 24, pair[1] - 1] {
            let fs = whole.copy();
            let mut bytes = fs.read(&path);
            bytes[at] ^= 0x80;
            fs.put(&path, bytes);
            let mut reader = Reader::open_on(fs, Path::new(DIR)).unwrap();
            let mut seen = 0;
            loop {
                match reader.next() {
                    Ok(Some(entry)) => {
                        assert!(!lost.contains(&entry.lsn.0) && entry.body == large_body(entry.lsn.0));
                        seen += 1;
                    }
                    Ok(None) => break,
                    Err(_) => {
                        let damage = reader.skip_damage().unwrap();
                        assert_eq!((damage.from, damage.to), (Lsn(lost.start), Lsn(lost.end - 1)));
                    }
                }
            }
            assert_eq!(seen, LARGE_RECORDS - (lost.end - lost.start));
        }
    }
}
