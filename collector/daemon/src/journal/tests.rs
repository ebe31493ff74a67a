use std::path::Path;

use canh_event::{Epoch, GapReason, RecordSequence, StoredGap, Timestamp};
use canh_journal::Retention;
use canh_service::config::Settings;
use canh_service::metrics::Metrics as Registry;
use canh_service::signals::Shutdown;

use super::*;
use crate::config::SCHEMA;
use crate::keeper::Keeper;
use crate::kinds::KIND_GAP;
use crate::streams::MarkState;

fn config(dir: &Path) -> Config {
    use std::os::unix::fs::PermissionsExt;
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let state = dir.join("state");
    let text = format!(
        "state_dir = {state:?}\n[listen]\nca = {file:?}\ncertificate = {file:?}\nkey = {file:?}\n\
         [journal]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"64MiB\"\n",
    );
    let settings: Settings = SCHEMA.parse(&dir.join("x.toml"), &text).unwrap();
    Config::new(&dir.join("x.toml"), &settings).unwrap()
}

fn bound(max_bytes: u64) -> Retention {
    Retention { max_bytes: Some(max_bytes), max_age: None }
}

struct Opened {
    journal: OpenJournal,
    streams: Arc<Streams>,
    metrics: Metrics,
}

fn open_in(dir: &Path) -> Opened {
    let streams = Arc::new(Streams::new(4));
    let metrics = Metrics::register(&Registry::new("test", "0").unwrap()).unwrap();
    let (trigger, _) = Shutdown::new();
    let journal = open(&config(dir), &streams, &metrics, trigger).unwrap();
    Opened { journal, streams, metrics }
}

impl Opened {
    /// Stores that a stream has come to `last`, as a gap does.
    fn store(&self, last: u64) {
        let stream: canh_event::StreamName = "log".parse().unwrap();
        let (epoch, from, reason) = (Epoch(1), RecordSequence(1), GapReason::SpoolFull);
        let agent: canh_event::AgentId = "web-01".parse().unwrap();
        let (agency, count, received, sources) = (None, last, Timestamp::EPOCH, Vec::new());
        let gap = StoredGap {
            agent: agent.clone(),
            agency,
            stream: stream.clone(),
            epoch,
            from,
            count,
            reason,
            received,
            sources,
        };
        let body = gap.encode();
        let (sender, receiver) = std::sync::mpsc::channel();
        let settled = Arc::clone(&self.journal.settled);
        self.journal.commit.submit(KIND_GAP, body, move |result| {
            settled.settle(result.unwrap());
            sender.send(()).unwrap();
        });
        receiver.recv().unwrap();
        self.streams.restore(&MarkState { agent, stream, epoch, durable: RecordSequence(last) });
    }

    fn marks(&self) -> Vec<u64> {
        self.streams.durable().iter().map(|state| state.durable.0).collect()
    }

    /// Ends as a kill would: nothing is written that was not written before.
    fn end(self) {
        drop(self.journal.commit);
        self.journal.thread.join().unwrap().unwrap();
    }

    /// Ends in order: the keeper writes the marks once more.
    fn end_in_order(self) {
        let OpenJournal { commit, thread, settled, losses, kept } = self.journal;
        let keeper = Keeper::new(commit, settled, losses, kept, bound(64 << 20), self.streams, self.metrics);
        let (stop, stopped) = std::sync::mpsc::channel();
        drop(stop);
        keeper.run(&stopped);
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn marks_and_the_stores_id_survive_a_kill_and_an_orderly_end() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path());
    let store = first.journal.kept.store;
    first.store(10);
    first.end();

    let second = open_in(dir.path());
    assert_eq!((second.marks(), second.journal.kept.store), (vec![10], store));
    second.store(20);
    second.end_in_order();

    let third = open_in(dir.path());
    assert_eq!((third.marks(), third.journal.kept.store), (vec![20], store));
    third.end();
}

#[test]
fn a_start_reads_on_from_the_marks_kept() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path());
    (1..=50).for_each(|last| first.store(last));
    first.end_in_order();
    let cursor = Cursor::open(&dir.path().join("state").join(CURSOR_FILE)).unwrap();
    assert_eq!(cursor.get().map(|(lsn, _)| lsn), Some(Lsn(51)));
    let second = open_in(dir.path());
    assert_eq!(second.marks(), [50], "from the record of marks alone");
    // Nothing has happened since: an orderly end writes nothing more.
    second.end_in_order();
    let mut reader = Reader::open(&dir.path().join("state/journal")).unwrap();
    assert_eq!(reader.durable().unwrap(), Some(Lsn(51)));
}

#[test]
fn a_journal_that_was_put_away_begins_anew_under_another_id() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path());
    let store = first.journal.kept.store;
    first.store(10);
    first.end_in_order();
    fs::rename(dir.path().join("state/journal"), dir.path().join("away")).unwrap();
    let second = open_in(dir.path());
    assert!(second.marks().is_empty());
    assert_ne!(second.journal.kept.store, store);
    second.end();
}

#[test]
fn a_damaged_cursor_costs_nothing_but_reading() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path());
    first.store(10);
    first.end_in_order();
    let path = dir.path().join("state").join(CURSOR_FILE);
    let zeroes = vec![0; usize::try_from(fs::metadata(&path).unwrap().len()).unwrap()];
    fs::write(&path, zeroes).unwrap();
    let second = open_in(dir.path());
    assert_eq!(second.marks(), [10]);
    second.end();
}

#[test]
fn a_journal_past_its_bound_loses_its_oldest_segments_and_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_in(dir.path());
    first.store(10);
    for _ in 0..6 {
        let (sender, receiver) = std::sync::mpsc::channel();
        let settled = Arc::clone(&first.journal.settled);
        first.journal.commit.submit(99, vec![7; 900_000], move |result| {
            settled.settle(result.unwrap());
            sender.send(()).unwrap();
        });
        receiver.recv().unwrap();
    }
    let OpenJournal { commit, thread, settled, losses, kept } = first.journal;
    let (oldest, dropped) = (first.metrics.journal_oldest.clone(), first.metrics.journal_dropped_segments.clone());
    let mut keeper = Keeper::new(commit, settled, losses, kept, bound(20 << 20), first.streams, first.metrics);
    keeper.tick();
    assert_eq!(dropped.get(), 0, "the marks are not kept yet, so everything is still needed");
    keeper.keep_marks();
    keeper.tick();
    assert!(dropped.get() > 0);
    keeper.tick();
    drop(keeper);
    thread.join().unwrap().unwrap();
    let reader = Reader::open(&dir.path().join("state/journal")).unwrap();
    assert_eq!(u64::try_from(oldest.get()).unwrap(), reader.oldest().unwrap().0, "it is shown");
    assert!(reader.oldest().unwrap() > Lsn(3), "{}", reader.oldest().unwrap());
    let second = open_in(dir.path());
    assert_eq!(second.marks(), [10]);
    second.end();
}
