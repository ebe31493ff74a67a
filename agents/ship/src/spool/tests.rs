use canh_event::{RecordBatch, Source, Timestamp};
use canh_wire::Packer;
use tokio::sync::watch;

use super::*;
use crate::feed::{Feed, FeedStart};
use crate::parts::{FrameLimits, pack};
use crate::submission::Submission;

const STORE: u128 = 7;

const MAX_BYTES: u64 = 1 << 20;

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

/// Records that do not pack.
fn records(source: &str, records: usize, bytes: usize, seed: u64) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let format = "auto".parse().unwrap();
    let source = Source { name: name(source), host: Box::from("h"), format, utc_offset_secs: 0 };
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
    batch
}

fn prepared(submission: Submission) -> Prepared {
    let parts = pack(&mut Packer::try_new(1).unwrap(), &submission.records).unwrap();
    submission.prepare(parts)
}

fn open(dir: &Path) -> Spool {
    open_with(dir, WhenFull::Wait)
}

fn open_with(dir: &Path, when_full: WhenFull) -> Spool {
    Spool::open(dir, SpoolOptions { max_bytes: MAX_BYTES, when_full }).unwrap().0
}

fn append(spool: &mut Spool, count: usize, bytes: usize, cursors: &[(&str, &[u8])]) -> Option<u64> {
    let cursors: Vec<_> = cursors.iter().map(|(source, cursor)| (name(source), cursor.to_vec())).collect();
    let records = records("/a", count, bytes, spool.last().0 + 1);
    match spool.append(prepared(Submission { records, cursors, ..Submission::default() })).unwrap() {
        Appended::Durable(last) => Some(last.0),
        Appended::Full(_) => None,
        Appended::Dropped(_) => panic!("it is of normal priority"),
    }
}

/// Appends ten records of 3,000 bytes of a source that is called after its priority.
fn append_of(spool: &mut Spool, priority: Priority) -> Appended {
    let records = records(priority.as_str(), 10, 3_000, spool.last().0 + 1);
    let cursors = vec![(name(priority.as_str()), spool.last().0.to_le_bytes().to_vec())];
    spool.append(prepared(Submission { records, cursors, priority, ..Submission::default() })).unwrap()
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
        spool.acknowledge(STORE, RecordSequence(last)).unwrap();
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
    spool.acknowledge(STORE, RecordSequence(20)).unwrap();
    assert_eq!(append(&mut spool, 10, 3_000, &[]), None, "no whole segment is acknowledged");
    spool.acknowledge(STORE, RecordSequence(100)).unwrap();
    assert_eq!(append(&mut spool, 10, 3_000, &[]), Some(last + 10));
}

#[test]
fn batch_longer_than_the_spool_is_taken_once_nothing_else_waits() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    append(&mut spool, 1, 10, &[]).unwrap();
    assert_eq!(append(&mut spool, 3, 1 << 20, &[]), None);
    spool.acknowledge(STORE, RecordSequence(1)).unwrap();
    assert_eq!(append(&mut spool, 3, 1 << 20, &[]), Some(4));
}

#[test]
fn too_long_or_too_many_cursors_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut try_cursors = |cursors| spool.append(prepared(Submission { cursors, ..Submission::default() }));
    let long = vec![(name("/a"), vec![0; MAX_CURSOR_BYTES + 1])];
    assert!(matches!(try_cursors(long), Err(SpoolError::Cursors { .. })));
    let many: Vec<_> = (0..=MAX_CURSORS).map(|n| (name(&format!("/{n}")), vec![1])).collect();
    assert!(matches!(try_cursors(many), Err(SpoolError::Cursors { .. })));
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
    spool.acknowledge(STORE, RecordSequence(4)).unwrap();
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
    let (dir, wanted) = (spool.dir(), RecordSequence(from));
    let limits = FrameLimits { body_bytes: usize::MAX, raw_bytes: usize::MAX, records: usize::MAX };
    let mut feed = Feed::open(FeedStart { dir, places: spool.places_of(wanted), wanted, limits }, spooled).unwrap();
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

/// Returns the runs dropped as (first, count).
fn runs(spool: &Spool) -> Vec<(u64, u64)> {
    lock(&spool.dropped).runs().iter().map(|(first, run)| (*first, run.count)).collect()
}

fn produced(spool: &Spool, source: &str) -> u64 {
    spool.accounts().find(|account| account.source == name(source)).map_or(0, |account| account.produced)
}

#[test]
fn sequences_run_through_all_journals_and_a_start_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let order = [Priority::Normal, Priority::Low, Priority::Low, Priority::High, Priority::Normal, Priority::Low];
    for priority in order {
        assert!(matches!(append_of(&mut spool, priority), Appended::Durable(_)));
    }
    let all: Vec<_> = (0..6).map(|n| (1 + 10 * n, 10)).collect();
    assert_eq!(feed(&spool, 1), all);
    let before = state(&spool);
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(state(&spool), before);
    assert_eq!(feed(&spool, 1), all);
    assert_eq!(feed(&spool, 38), [(38, 3), (41, 10), (51, 10)]);
    assert_eq!(spool.cursors()[&name("low")], 50_u64.to_le_bytes());
    assert_eq!(["low", "normal", "high"].map(|source| produced(&spool, source)), [30, 20, 10]);
    append_of(&mut spool, Priority::High);
    assert_eq!(state(&spool).2, 70);
}

#[test]
fn low_priority_goes_first_and_oldest_first_and_nothing_else_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut waits = 0;
    for turn in 0..200 {
        let priority = if turn % 2 == 0 { Priority::Low } else { Priority::Normal };
        match append_of(&mut spool, priority) {
            Appended::Durable(_) => assert_eq!(waits, 0, "once normal waits everything normal does"),
            Appended::Dropped(_) => assert_eq!(priority, Priority::Low),
            Appended::Full(_) => {
                assert!(priority == Priority::Normal || waits > 0, "low is lost before it waits");
                waits += 1;
            }
        }
        assert!(spool.size_bytes() <= MAX_BYTES + MAX_BYTES / 8, "{} bytes", spool.size_bytes());
    }
    assert!(waits > 10);
    let dropped = runs(&spool);
    assert!(dropped.len() > 5, "{dropped:?}");
    assert!(dropped.iter().all(|(first, count)| first % 20 == 1 && *count == 10), "only low ones: {dropped:?}");
    assert_eq!(dropped[0].0, 1, "the oldest first");
    // What is left, what was dropped and what was refused make up the stream.
    let whole = |spool: &Spool| {
        let mut told: Vec<_> = runs(spool);
        told.extend(feed(spool, 1).into_iter().map(|(first, count)| (first, u64::from(count))));
        told.sort_unstable();
        let ends = told.iter().scan(1, |next, (first, count)| {
            let follows = *first == *next;
            *next = first + count;
            Some(follows)
        });
        assert!(ends.into_iter().all(|follows| follows), "{told:?}");
        told.iter().map(|(_, count)| count).sum::<u64>()
    };
    let last = spool.last().0;
    assert_eq!(whole(&spool), last);
    assert_eq!(produced(&spool, "low") + produced(&spool, "normal"), last);
    drop(spool);
    let spool = open(dir.path());
    assert_eq!((runs(&spool), whole(&spool)), (dropped, last), "also after a start");
}

#[test]
fn a_spool_that_may_drop_drops_up_to_the_priority_of_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open_with(dir.path(), WhenFull::Drop);
    for _ in 0..15 {
        assert!(matches!(append_of(&mut spool, Priority::High), Appended::Durable(_)));
    }
    for _ in 0..60 {
        assert!(matches!(append_of(&mut spool, Priority::Normal), Appended::Durable(_)));
    }
    let dropped = runs(&spool);
    assert_eq!(dropped.len(), 1, "normal ones, which follow each other: {dropped:?}");
    assert_eq!(dropped[0].0, 151);
    assert_eq!(feed(&spool, 1)[..15], (0..15).map(|n| (1 + 10 * n, 10)).collect::<Vec<_>>(), "high ones stay");
}

#[test]
fn what_is_under_way_is_not_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open_with(dir.path(), WhenFull::Drop);
    lock(&spool.dropped()).open(RecordSequence(0));
    lock(&spool.dropped()).claim(RecordSequence(1), RecordSequence(11));
    let mut appended = 0;
    while let Appended::Durable(_) = append_of(&mut spool, Priority::Normal) {
        appended += 1;
        assert!(appended < 100, "the oldest segment is under way");
    }
    lock(&spool.dropped()).close();
    assert!(matches!(append_of(&mut spool, Priority::Normal), Appended::Durable(_)));
    assert_eq!(runs(&spool)[0].0, 1);
}

#[test]
fn a_dropped_run_that_a_collector_has_heard_of_is_counted_to_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    while runs(&spool).is_empty() {
        append_of(&mut spool, Priority::Low);
    }
    let (first, count) = runs(&spool)[0];
    lock(&spool.dropped()).note_gap_sent(RecordSequence(first));
    spool.acknowledge(STORE, RecordSequence(first + count - 1)).unwrap();
    let low = spool.accounts().find(|account| account.source == name("low")).unwrap().clone();
    assert_eq!(low.dropped, [(GapReason::SpoolFull, count)]);
}

#[test]
fn store_that_was_put_back_is_seen_also_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    append(&mut spool, 9, 10, &[]).unwrap();
    assert_eq!(spool.welcome(STORE, RecordSequence(0)), None);
    spool.acknowledge(STORE, RecordSequence(9)).unwrap();
    assert_eq!(spool.welcome(STORE + 1, RecordSequence(3)), None, "another one");
    spool.write_checkpoint().unwrap();
    drop(spool);
    let mut spool = open(dir.path());
    assert_eq!(spool.welcome(STORE, RecordSequence(4)), Some(RecordSequence(9)));
    assert_eq!(spool.welcome(STORE, RecordSequence(4)), None, "said once");
}

#[test]
fn losses_are_kept_also_by_a_full_spool() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    while append(&mut spool, 10, 3_000, &[]).is_some() {}
    let at = Timestamp::from_secs(9);
    let loss =
        crate::submission::Loss { source: name("/a"), reason: GapReason::Stopped, count: 70, first: at, last: at };
    let before = spool.last().0;
    let submission = Submission { losses: vec![loss], ..Submission::default() };
    assert!(matches!(spool.append(prepared(submission)).unwrap(), Appended::Durable(last) if last.0 == before + 70));
    assert_eq!(feed(&spool, before + 1), [(before + 1, 70)]);
}
