//! Reading on behind what cannot be read.

use super::*;

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use canh_journal::{Journal, JournalOptions};

use crate::testing::{metrics, record, rules};

/// Follows a journal up to its end and returns the positions of the batches and the metrics.
fn followed(journal: &Path, from: u64, matchers: usize, last: u64) -> (Vec<Vec<u64>>, Metrics) {
    let metrics = metrics();
    let (trigger, shutdown) = Shutdown::new();
    let (senders, receivers): (Vec<_>, Vec<Receiver<Read>>) = (0..matchers).map(|_| sync_channel(100)).unzip();
    let (_rules, rules) = watch::channel(rules(1));
    let follow = Follow {
        journal: journal.to_owned(),
        from,
        rules,
        matchers: senders,
        metrics: metrics.clone(),
        progress: Arc::new(Progress::at(from - 1)),
        pulse: Pulse::new(),
        shutdown,
    };
    let thread = thread::spawn(move || follow.run());
    let mut turn = 0;
    let mut positions = vec![Vec::new(); matchers];
    loop {
        let read = receivers[turn % matchers].recv().unwrap();
        positions[turn % matchers].push(read.position);
        turn += 1;
        if read.position == last {
            break;
        }
    }
    // Nobody correlates here: at the end all that was asked for is still waiting.
    let deadline = Instant::now() + Duration::from_secs(60);
    while metrics.lag_records.get() != gauge(last + 1 - from) {
        assert!(Instant::now() < deadline, "the lag is {}", metrics.lag_records.get());
        thread::yield_now();
    }
    trigger.request();
    thread.join().unwrap().unwrap();
    (positions, metrics)
}

fn skipped(metrics: &Metrics, reason: &str) -> u64 {
    metrics.records_skipped.with_label_values(&[reason]).get()
}

/// A journal of single-record segments.
fn journal(dir: &Path, records: u64) -> Journal {
    let (mut journal, _) =
        Journal::open(dir, JournalOptions { segment_bytes: 4_096, ..JournalOptions::DEFAULT }).unwrap();
    for _ in 0..records {
        journal.append(BATCH_KIND, &record(60)).unwrap();
        journal.sync().unwrap();
    }
    journal
}

#[test]
fn matchers_are_served_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = journal(dir.path(), 5);
    let (positions, _) = followed(dir.path(), 2, 3, 5);
    assert_eq!(positions, [vec![2, 5], vec![3], vec![4]]);
}

#[test]
fn records_dropped_before_they_were_read_are_counted_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path(), 6);
    journal.drop_before(Lsn(4)).unwrap();
    let oldest = Reader::open(dir.path()).unwrap().oldest().unwrap().0;
    assert!(oldest > 1, "the test needs segments that can be dropped");
    let (positions, metrics) = followed(dir.path(), 1, 1, 6);
    assert_eq!(positions, [(oldest..=6).collect::<Vec<_>>()]);
    assert_eq!(skipped(&metrics, "dropped"), oldest - 1);
}

#[test]
fn damaged_records_are_counted_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal(dir.path(), 6));
    let mut segments: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    let victim = &segments[1];
    let mut bytes = fs::read(victim).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 0xff;
    fs::write(victim, bytes).unwrap();
    let (positions, metrics) = followed(dir.path(), 1, 1, 6);
    let lost = skipped(&metrics, "damaged");
    assert!(lost > 0);
    assert_eq!(positions[0].len() as u64 + lost, 6, "each record is read or counted as lost");
}

#[test]
fn another_journal_in_the_same_place_ends_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal(dir.path(), 1));
    let (senders, receiver) = sync_channel(100);
    let (_rules, rules) = watch::channel(rules(1));
    let (_trigger, shutdown) = Shutdown::new();
    let follow = Follow {
        journal: dir.path().to_owned(),
        from: 1,
        rules,
        matchers: vec![senders],
        metrics: metrics(),
        progress: Arc::new(Progress::at(0)),
        pulse: Pulse::new(),
        shutdown,
    };
    let thread = thread::spawn(move || follow.run());
    receiver.recv().unwrap();
    let other = tempfile::tempdir().unwrap();
    drop(journal(other.path(), 3));
    for entry in fs::read_dir(other.path()).unwrap() {
        let path = entry.unwrap().path();
        // Over the old file, as a restore from a backup would do it.
        fs::write(dir.path().join(path.file_name().unwrap()), fs::read(&path).unwrap()).unwrap();
    }
    assert!(matches!(thread.join().unwrap(), Err(ReadError::Replaced { .. })));
}
