use std::path::Path;

use canh_event::{Epoch, RecordBatch, Source, StoredBatch};
use canh_event::{GapReason, SourceAccount, StoredAccount};
use canh_journal::{CommitPolicy, Committer, Journal, JournalOptions, Reader};
use canh_service::metrics::Metrics as Registry;
use canh_service::signals::Shutdown;
use canh_wire::{DEFAULT_LEVEL, Packed, Packer, StreamState};

use super::*;
use crate::streams::Streams;

const EPOCH: Epoch = Epoch(7);

/// One normaliser on a journal of its own, and one session.
struct Bench {
    dir: tempfile::TempDir,
    normalisers: Normalisers,
    running: Running,
    commit: CommitHandle,
    mark: Arc<Mark>,
    session: Arc<SessionSignal>,
    metrics: Metrics,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) =
            Journal::open(dir.path(), JournalOptions { segment_bytes: 1 << 20, ..JournalOptions::DEFAULT }).unwrap();
        let (commit, _) = Committer::spawn(journal, CommitPolicy::default()).unwrap();
        let metrics = Metrics::register(&Registry::new("test", "0").unwrap()).unwrap();
        let (trigger, _) = Shutdown::new();
        let settled = Arc::new(Settled::new(Lsn::ZERO, trigger));
        let losses = LossOutbox::default();
        let onward = Onward { commit: commit.clone(), settled, losses, metrics: metrics.clone() };
        let (normalisers, running) = Normalisers::spawn(1, &onward).unwrap();
        let session = Arc::new(SessionSignal::default());
        let (stream, oldest, last) = ("log".parse().unwrap(), RecordSequence(1), RecordSequence(0));
        let state = StreamState { stream, epoch: EPOCH, oldest, last };
        let marks = Streams::new(4).open(&"web-01".parse().unwrap(), &[state], &session).unwrap();
        let mark = Arc::clone(&marks[0]);
        Self { dir, normalisers, running, commit, mark, session, metrics }
    }

    async fn submit(&self, work: Work) {
        let (mark, session) = (Arc::clone(&self.mark), Arc::clone(&self.session));
        let (agency, read_at) = ("so-tttt".parse().unwrap(), Instant::now());
        self.normalisers.submit(Job { mark, agency, session, work, memory: None, read_at }).await.unwrap();
    }

    async fn durable(&self, wanted: u64) {
        let reached = async {
            while self.mark.durable().0 < wanted {
                self.session.woken().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap();
        assert_eq!(self.mark.durable().0, wanted);
    }

    async fn refused(&self) -> Nack {
        let refused = async {
            while self.session.verdict().is_none() {
                self.session.woken().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap();
        self.session.verdict().unwrap()
    }

    /// Ends the threads and returns (sequence, record) of everything stored.
    fn end(self) -> Vec<(u64, Vec<u8>)> {
        let Self { dir, normalisers, running, commit, .. } = self;
        drop(normalisers);
        running.threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(commit);
        stored(dir.path())
    }
}

fn stored(dir: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::open(dir).unwrap();
    let mut rows = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if entry.kind == KIND_EVENTS {
            let batch = StoredBatch::decode(entry.body).unwrap();
            let sequences = batch.first.0..;
            rows.extend(sequences.zip(batch.batch.rows()).map(|(sequence, row)| (sequence, row.raw().to_vec())));
        }
    }
    rows
}

/// Records `first` to `first + count - 1`, each saying its sequence.
fn batch(first: u64, count: u64) -> Work {
    let mut records = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: "web-01".into(),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 0,
    };
    let id = records.source(&source).unwrap();
    for sequence in first..first + count {
        records.push(id, Timestamp::EPOCH, format!("record {sequence}").as_bytes()).unwrap();
    }
    let body = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&records).unwrap();
    wrap(first, count, body)
}

fn wrap(first: u64, count: u64, body: Packed) -> Work {
    let (stream, first, count) = ("log".parse().unwrap(), RecordSequence(first), u32::try_from(count).unwrap());
    Work::Batch(Batch { stream, epoch: EPOCH, first, count, body })
}

fn expected(sequences: impl Iterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
    sequences.map(|sequence| (sequence, format!("record {sequence}").into_bytes())).collect()
}

#[tokio::test]
async fn batches_are_stored_in_order_and_durable_before_the_session_hears() {
    let bench = Bench::new();
    for first in [1, 11, 21] {
        bench.submit(batch(first, 10)).await;
    }
    bench.durable(30).await;
    assert_eq!(stored(bench.dir.path()), expected(1..31), "before the journal is closed");
    assert_eq!(bench.metrics.records.with_label_values(&["unparsed"]).get(), 30);
    bench.end();
}

#[tokio::test]
async fn what_was_stored_before_is_not_stored_again() {
    let bench = Bench::new();
    bench.submit(batch(1, 10)).await;
    bench.submit(batch(1, 10)).await;
    bench.submit(batch(5, 10)).await;
    bench.submit(batch(3, 4)).await;
    bench.submit(batch(15, 1)).await;
    bench.durable(15).await;
    assert_eq!(bench.metrics.duplicate_batches.get(), 2);
    assert_eq!(bench.metrics.duplicate_records.get(), 10 + 6 + 4);
    assert_eq!(bench.end(), expected(1..16));
}

#[tokio::test]
async fn an_unreadable_batch_is_refused_and_nothing_behind_it_is_stored() {
    let bench = Bench::new();
    bench.submit(batch(1, 10)).await;
    bench.submit(wrap(11, 10, Packed::from_parts(false, 4, b"junk".to_vec()).unwrap())).await;
    bench.submit(batch(21, 10)).await;
    let nack = bench.refused().await;
    assert_eq!((nack.code, nack.place.map(|place| place.first)), (NackCode::Unreadable, Some(RecordSequence(11))));
    bench.durable(10).await;
    // The agent comes back, gives the batch up and goes on.
    let (stream, from, reason) = ("log".parse().unwrap(), RecordSequence(11), GapReason::Refused);
    let gap = Gap::new(stream, EPOCH, from, 10, reason);
    bench.submit(Work::Gap { gap, received: Timestamp::EPOCH }).await;
    bench.submit(batch(21, 10)).await;
    bench.durable(30).await;
    assert_eq!(bench.metrics.dropped_batches.with_label_values(&["behind_refused"]).get(), 1);
    assert_eq!(bench.metrics.gap_records.with_label_values(&["refused"]).get(), 10);
    assert_eq!(bench.end(), expected((1..11).chain(21..31)));
}

#[tokio::test]
async fn what_the_journal_does_not_take_is_never_acknowledged_and_the_session_is_refused() {
    let bench = Bench::new();
    bench.submit(batch(1, 10)).await;
    bench.durable(10).await;
    bench.commit.close();
    bench.submit(batch(11, 10)).await;
    assert_eq!(bench.refused().await.code, NackCode::Storage);
    assert_eq!(bench.mark.durable(), RecordSequence(10));
    assert_eq!(bench.end(), expected(1..11));
}

#[test]
fn what_is_new_is_told_by_what_was_handed_on() {
    let of = |first, last| novelty(RecordSequence(first), RecordSequence(last), RecordSequence(10));
    assert_eq!(of(11, 12), Novelty::From(0));
    assert_eq!(of(5, 12), Novelty::From(6));
    assert_eq!(of(5, 10), Novelty::Nothing);
    assert_eq!(of(12, 12), Novelty::BehindAHole);
    let end = RecordSequence(u64::MAX);
    assert_eq!(novelty(end, end, end), Novelty::Nothing);
}

/// An account of `/var/log/auth.log`, as of a place.
fn account(position: u64, produced: u64) -> Work {
    let source = SourceAccount { produced, ..SourceAccount::new("/var/log/auth.log".parse().unwrap()) };
    let (stream, position) = ("log".parse().unwrap(), RecordSequence(position));
    let account = Account {
        stream,
        epoch: EPOCH,
        position,
        spooled: position,
        stated: Timestamp::EPOCH,
        is_whole: true,
        sources: vec![source],
    };
    Work::Account { account, received: Timestamp::EPOCH }
}

fn accounts(dir: &Path) -> Vec<StoredAccount> {
    let mut reader = Reader::open(dir).unwrap();
    let mut accounts = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if entry.kind == KIND_ACCOUNT {
            accounts.push(StoredAccount::decode(entry.body).unwrap());
        }
    }
    accounts
}

#[tokio::test]
async fn account_is_stored_with_the_count_beside_it_and_one_that_does_not_add_up_is_an_alarm() {
    let bench = Bench::new();
    bench.submit(batch(1, 100)).await;
    let gap = Gap::new("log".parse().unwrap(), EPOCH, RecordSequence(101), 10, GapReason::SpoolFull);
    bench.submit(Work::Gap { gap, received: Timestamp::EPOCH }).await;
    bench.submit(account(110, 110)).await;
    bench.submit(account(109, 110)).await;
    bench.submit(account(110, 99)).await;
    bench.submit(account(110, 121)).await;
    bench.submit(batch(111, 1)).await;
    bench.durable(111).await;
    let counted = |result: &str| bench.metrics.accounts.with_label_values(&[result]).get();
    assert_eq!((counted("agrees"), counted("stale"), counted("disagrees")), (1, 1, 2));
    assert_eq!(bench.metrics.disagreements.get(), 2);
    let dir = bench.dir.path().to_path_buf();
    let Bench { normalisers, running, commit, dir: _keep, .. } = bench;
    drop(normalisers);
    running.threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(commit);
    let stored = accounts(&dir);
    assert_eq!(stored.iter().map(|it| it.sources[0].stated.produced).collect::<Vec<_>>(), [110, 99, 121]);
    assert_eq!((stored[0].journalled, stored[0].unplaced, stored[0].sources[0].journalled), (100, 10, 100));
    assert_eq!(stored.iter().map(|it| it.disagreement().is_some()).collect::<Vec<_>>(), [false, true, true]);
}

#[tokio::test]
async fn same_sequences_with_other_records_are_a_clone_and_the_same_records_are_not() {
    let bench = Bench::new();
    bench.submit(batch(1, 100)).await;
    bench.durable(100).await;
    bench.submit(batch(1, 100)).await;
    let Work::Batch(other) = batch(2, 100) else { panic!("a batch") };
    bench.submit(Work::Batch(Batch { first: RecordSequence(1), ..other })).await;
    let nack = bench.refused().await;
    assert_eq!(
        (nack.code, bench.metrics.clone_signs.with_label_values(&[OTHER_RECORDS]).get()),
        (NackCode::Protocol, 1)
    );
    assert_eq!(bench.metrics.duplicate_batches.get(), 2);
    assert_eq!(bench.end().len(), 100, "what was there first stays");
}
