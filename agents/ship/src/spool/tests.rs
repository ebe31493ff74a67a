use canh_event::{RecordBatch, Source, Timestamp};
use canh_wire::Packer;
use tokio::sync::watch;

use super::*;
use crate::feed::Feed;
use crate::parts::pack;

const MAX_BYTES: u64 = 1 << 20;

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

/// A batch of records that do not pack.
fn parts(records: usize, bytes: usize, seed: u64) -> Vec<Part> {
    let mut batch = RecordBatch::new();
    let source = Source { name: name("/a"), host: Box::from("h"), format: "auto".parse().unwrap(), utc_offset_secs: 0 };
    let id = batch.source(&source).unwrap();
    let mut state = seed;
    for _ in 0..records {
        let record: Vec<u8> = (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        batch.push(id, Timestamp::EPOCH, &record).unwrap();
    }
    pack(&mut Packer::try_new(1).unwrap(), &batch).unwrap()
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, MAX_BYTES).unwrap().0
}

fn append(spool: &mut Spool, records: usize, bytes: usize, cursors: &[(&str, &[u8])]) -> Option<u64> {
    let cursors: Vec<_> = cursors.iter().map(|(source, cursor)| (name(source), cursor.to_vec())).collect();
    let seed = spool.last().0 + 1;
    match spool.append(parts(records, bytes, seed), &cursors).unwrap() {
        Appended::Durable(last) => Some(last.0),
        Appended::Full(_) => None,
    }
}

fn state(spool: &Spool) -> (Epoch, u64, u64) {
    let state = spool.stream_state(&"log".parse().unwrap());
    (state.epoch, state.oldest.0, state.last.0)
}

#[test]
fn start_goes_on_with_sequence_epoch_and_cursors() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let (epoch, oldest, last) = state(&spool);
    assert_eq!((oldest, last), (1, 0), "one past the last if there is none");
    assert_eq!(append(&mut spool, 3, 10, &[("/a", b"30"), ("/b", b"x")]), Some(3));
    assert_eq!(append(&mut spool, 2, 10, &[("/a", b"50")]), Some(5));
    assert_eq!(append(&mut spool, 0, 0, &[("/b", b"")]), Some(5), "cursors alone take no sequence");
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(state(&spool), (epoch, 1, 5));
    assert_eq!(*spool.cursors(), Cursors::from([(name("/a"), b"50".to_vec())]));
}

#[test]
fn acknowledged_segments_go_and_no_cursor_goes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    append(&mut spool, 1, 10, &[("/quiet", b"since the beginning")]).unwrap();
    for _ in 0..40 {
        let last = append(&mut spool, 10, 3_000, &[("/busy", b"on")]).unwrap();
        spool.acknowledge(RecordSequence(last)).unwrap();
    }
    assert!(spool.size_bytes() <= 2 * (MAX_BYTES / 8), "{} bytes are left", spool.size_bytes());
    let before = state(&spool);
    assert!(before.1 > 300, "the oldest is {}", before.1);
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(state(&spool), before);
    assert_eq!(spool.cursors()[&name("/quiet")], b"since the beginning");
}

#[test]
fn full_spool_takes_nothing_until_something_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut last = 0;
    while let Some(next) = append(&mut spool, 10, 3_000, &[]) {
        last = next;
        assert!(spool.size_bytes() <= MAX_BYTES);
    }
    assert!(last >= 200, "only {last} records fitted");
    assert_eq!(append(&mut spool, 10, 3_000, &[]), None);
    spool.acknowledge(RecordSequence(20)).unwrap();
    assert_eq!(append(&mut spool, 10, 3_000, &[]), None, "no whole segment is acknowledged");
    spool.acknowledge(RecordSequence(100)).unwrap();
    assert_eq!(append(&mut spool, 10, 3_000, &[]), Some(last + 10));
}

#[test]
fn batch_longer_than_the_spool_is_taken_once_nothing_else_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    append(&mut spool, 1, 10, &[]).unwrap();
    assert_eq!(append(&mut spool, 3, 1 << 20, &[]), None);
    spool.acknowledge(RecordSequence(1)).unwrap();
    assert_eq!(append(&mut spool, 3, 1 << 20, &[]), Some(4));
}

#[test]
fn too_long_or_too_many_cursors_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let long = vec![(name("/a"), vec![0; MAX_CURSOR_BYTES + 1])];
    assert!(matches!(spool.append(Vec::new(), &long), Err(SpoolError::Cursors { .. })));
    let many: Vec<_> = (0..=MAX_CURSORS).map(|n| (name(&format!("/{n}")), vec![1])).collect();
    assert!(matches!(spool.append(Vec::new(), &many), Err(SpoolError::Cursors { .. })));
    assert_eq!(append(&mut spool, 1, 1, &[]), Some(1));
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn lost_end_begins_a_new_epoch_and_a_lost_middle_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut ends = Vec::new();
    for _ in 0..3 {
        append(&mut spool, 1, 100, &[]).unwrap();
        let bytes = std::fs::read(&segments(dir.path())[0]).unwrap();
        ends.push(bytes.iter().rposition(|byte| *byte != 0).unwrap());
    }
    let (epoch, ..) = state(&spool);
    drop(spool);
    flip(&segments(dir.path())[0], ends[1]);
    assert_eq!(state(&open(dir.path())), (epoch, 1, 3), "the third says where the second was");
    flip(&segments(dir.path())[0], ends[2]);
    let (new_epoch, oldest, last) = state(&open(dir.path()));
    assert_ne!(new_epoch, epoch);
    assert_eq!((oldest, last), (1, 1), "what is left is sent again");
    assert_eq!(state(&open(dir.path())).0, new_epoch, "once is enough");
}

#[test]
fn new_epoch_leaves_out_what_is_known_to_be_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    append(&mut spool, 9, 10, &[]).unwrap();
    spool.acknowledge(RecordSequence(4)).unwrap();
    let (epoch, ..) = state(&spool);
    spool.renew_epoch().unwrap();
    let renewed = state(&spool);
    assert_ne!(renewed.0, epoch);
    assert_eq!((renewed.1, renewed.2), (5, 9));
    drop(spool);
    assert_eq!(state(&open(dir.path())), renewed);
}

/// Reads the spool from a sequence on; returns what comes as (first, count).
fn feed(spool: &Spool, from: u64) -> Vec<(u64, u32)> {
    let (_keep, spooled) = watch::channel(spool.last());
    let place = spool.place_of(RecordSequence(from));
    let mut feed = Feed::open(&spool.dir(), place, RecordSequence(from), spooled).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut pieces = Vec::new();
        while pieces.last().is_none_or(|(first, count)| first + u64::from(*count) <= spool.last().0) {
            let piece = feed.next().await.unwrap();
            pieces.push((piece.first.0, piece.part.count));
        }
        pieces
    })
}

#[test]
fn feed_begins_anywhere_and_cuts_what_was_received_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..30 {
        append(&mut spool, 10, 3_000, &[]).unwrap();
    }
    assert!(segments(dir.path()).len() > 4);
    assert_eq!(feed(&spool, 1), (0..30).map(|n| (1 + 10 * n, 10)).collect::<Vec<_>>());
    assert_eq!(feed(&spool, 291), [(291, 10)]);
    assert_eq!(feed(&spool, 288), [(288, 3), (291, 10)]);
    drop(spool);
    assert_eq!(feed(&open(dir.path()), 155)[..2], [(155, 6), (161, 10)], "also after a start");
}

#[test]
fn damage_in_the_middle_shows_as_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for _ in 0..30 {
        append(&mut spool, 10, 3_000, &[]).unwrap();
    }
    drop(spool);
    flip(&segments(dir.path())[2], 2_000);
    let spool = open(dir.path());
    let pieces = feed(&spool, 1);
    assert_eq!(pieces.len(), 29, "one batch is lost: {pieces:?}");
    assert_eq!(pieces.last(), Some(&(291, 10)));
}
