use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use super::*;
use crate::fs::fake::FakeFs;
use crate::options::JournalOptions;
use crate::reader::Reader;

const DIR: &str = "/journal";
/// Longer than any test: a group is closed by what is in it, never by the clock.
const NEVER: Duration = Duration::from_secs(3_600);
const DEADLINE: Duration = Duration::from_secs(30);

fn journal(fs: &FakeFs) -> Journal<FakeFs> {
    Journal::open_on(fs.clone(), Path::new(DIR), JournalOptions { segment_bytes: 4_000, ..JournalOptions::DEFAULT })
        .unwrap()
        .0
}

fn policy(queue: usize, max_wait: Duration) -> CommitPolicy {
    CommitPolicy { max_bytes: usize::MAX, max_wait, queue, queue_bytes: usize::MAX }
}

type Answer = Result<Lsn, CommitError>;

/// Submits records and returns where their answers arrive.
fn submit(handle: &CommitHandle, bodies: &[&[u8]]) -> Receiver<Answer> {
    let (answers, received) = mpsc::channel();
    for body in bodies {
        let answers = answers.clone();
        handle.submit(1, body.to_vec(), move |answer| drop(answers.send(answer)));
    }
    received
}

fn next(answers: &Receiver<Answer>) -> Answer {
    answers.recv_timeout(DEADLINE).expect("an answer, whatever it is")
}

#[test]
fn a_full_group_costs_one_sync_and_is_answered_in_order() {
    let fs = FakeFs::default();
    let (handle, thread) = Committer::spawn(journal(&fs), policy(100, NEVER)).unwrap();
    let before = fs.syncs();
    let answers = submit(&handle, &[b"x".as_slice(); 100]);
    for lsn in 1..=100 {
        assert_eq!(next(&answers).unwrap(), Lsn(lsn));
    }
    assert_eq!(fs.syncs(), before + 1);
    let stats = handle.stats();
    assert_eq!((stats.groups, stats.records, stats.bytes, stats.durable), (1, 100, 100, Lsn(100)));
    drop(handle);
    assert_eq!(thread.join().unwrap().unwrap().durable(), Some(Lsn(100)));
}

#[test]
fn enough_bytes_close_a_group_too() {
    let fs = FakeFs::default();
    let policy = CommitPolicy { max_bytes: 10, ..policy(usize::MAX, NEVER) };
    let (handle, _thread) = Committer::spawn(journal(&fs), policy).unwrap();
    let answers = submit(&handle, &[b"12345", b"67890"]);
    assert_eq!(next(&answers).unwrap(), Lsn(1));
    assert_eq!(next(&answers).unwrap(), Lsn(2));
}

#[test]
fn a_lone_record_does_not_wait_longer_than_it_must() {
    let fs = FakeFs::default();
    let (handle, _thread) = Committer::spawn(journal(&fs), policy(100, Duration::from_millis(1))).unwrap();
    assert_eq!(next(&submit(&handle, &[b"alone"])).unwrap(), Lsn(1));
}

#[test]
fn an_answer_comes_after_its_record_is_durable() {
    let fs = FakeFs::default();
    let (handle, _thread) = Committer::spawn(journal(&fs), policy(1, NEVER)).unwrap();
    let (answers, received) = mpsc::channel();
    let reader_fs = fs.clone();
    handle.submit(1, b"record".to_vec(), move |_| {
        let crashed = reader_fs.after(crate::fs::fake::Crash::Lost);
        let mut reader = Reader::open_on(reader_fs, Path::new(DIR)).unwrap();
        let read = reader.next().unwrap().map(|entry| entry.body.to_vec());
        let (journal, _) = Journal::open_on(crashed, Path::new(DIR), JournalOptions::default()).unwrap();
        answers.send((read, journal.durable())).unwrap();
    });
    let answer = received.recv_timeout(DEADLINE).unwrap();
    assert_eq!(answer, (Some(b"record".to_vec()), Some(Lsn(1))));
}

#[test]
fn after_a_failed_sync_nothing_is_ever_acknowledged() {
    let fs = FakeFs::default();
    let (handle, thread) = Committer::spawn(journal(&fs), policy(3, NEVER)).unwrap();
    fs.fail_sync(fs.syncs());
    let answers = submit(&handle, &[b"a", b"b", b"c"]);
    for _ in 0..3 {
        assert!(matches!(next(&answers), Err(CommitError::Stopped(_))));
    }
    assert!(matches!(thread.join().unwrap(), Err(CommitError::Stopped(_))));
    assert!(matches!(next(&submit(&handle, &[b"d"])), Err(CommitError::Stopped(_))));
    assert!(handle.try_submit(1, Vec::new(), |_| ()).is_err_and(|refused| refused.error.is_some()));
    assert!(handle.stats().is_ended);
}

#[test]
fn full_disk_makes_everybody_wait_and_refuses_nobody() {
    let fs = FakeFs::default();
    let mut filled = journal(&fs);
    for _ in 0..4 {
        filled.append(1, &[1; 3_000]).unwrap();
    }
    filled.sync().unwrap();
    fs.set_capacity(Some(0));
    let segments = filled.sealed();
    let (handle, _thread) = Committer::spawn(filled, policy(2, NEVER)).unwrap();
    let answers = submit(&handle, &[&[2; 3_000], &[3; 10]]);
    let start = Instant::now();
    while !handle.stats().is_waiting_for_space {
        assert!(start.elapsed() < DEADLINE);
        thread::yield_now();
    }
    assert!(answers.try_recv().is_err(), "nobody is answered meanwhile");
    assert_eq!(segments.drop_before(Lsn(3)).unwrap(), 2, "segments can be dropped meanwhile");
    fs.set_capacity(None);
    assert_eq!(next(&answers).unwrap(), Lsn(5));
    assert_eq!(next(&answers).unwrap(), Lsn(6));
    assert!(!handle.stats().is_waiting_for_space);
    assert_eq!(segments.oldest(), Lsn(3));
}

#[test]
fn the_default_policy_closes_a_group_at_a_mebibyte_or_after_a_few_milliseconds() {
    let policy = CommitPolicy::default();
    assert_eq!(policy.max_bytes, 1 << 20);
    assert!((2..=5).contains(&policy.max_wait.as_millis()));
}

#[test]
fn every_sync_is_told_with_what_it_made_durable() {
    let fs = FakeFs::default();
    fs.set_now(77);
    let (reports, reported) = mpsc::channel();
    let observe = move |report: &CommitReport| reports.send(*report).unwrap();
    let (handle, _thread) = Committer::spawn_observed(journal(&fs), policy(2, NEVER), observe).unwrap();
    let answers = submit(&handle, &[b"a", b"bc"]);
    assert_eq!((next(&answers).unwrap(), next(&answers).unwrap()), (Lsn(1), Lsn(2)));
    let CommitReport { durable, records, bytes, synced } = reported.recv_timeout(DEADLINE).unwrap();
    assert_eq!((durable, records, bytes), (Lsn(2), 2, 3));
    assert_eq!(synced.at, std::time::UNIX_EPOCH + Duration::from_secs(77));
    assert!(reported.try_recv().is_err(), "one sync, told once");
}

/// A journal of two segments on a disk that is full but for the room kept for control records.
fn full_but_for_the_reserve(fs: &FakeFs) -> Journal<FakeFs> {
    let options = JournalOptions { segment_bytes: 4_000, reserve_bytes: 1_000, ..JournalOptions::DEFAULT };
    let (mut journal, _) = Journal::open_on(fs.clone(), Path::new(DIR), options).unwrap();
    journal.append(1, &[1; 3_900]).unwrap();
    fs.set_capacity(Some(0));
    journal
}

#[test]
fn control_records_get_through_while_others_wait_for_room() {
    let fs = FakeFs::default();
    let (handle, _thread) = Committer::spawn(full_but_for_the_reserve(&fs), policy(1, NEVER)).unwrap();
    let ordinary = submit(&handle, &[&[2; 500]]);
    let (answers, control) = mpsc::channel();
    for body in [[3; 300], [4; 300]] {
        let answers = answers.clone();
        handle.submit_control(9, body.to_vec(), move |answer| drop(answers.send(answer)));
    }
    assert_eq!((next(&control).unwrap(), next(&control).unwrap()), (Lsn(2), Lsn(3)));
    // The ordinary one may only be tried after those that overtook it.
    let start = Instant::now();
    while !handle.stats().is_waiting_for_space {
        assert!(start.elapsed() < DEADLINE);
        thread::yield_now();
    }
    assert!(ordinary.try_recv().is_err());
    // The third does not fit the room kept any more, and waits as all others do.
    handle.submit_control(9, vec![5; 600], move |answer| drop(answers.send(answer)));
    fs.set_capacity(None);
    let mut rest = [next(&ordinary).unwrap(), next(&control).unwrap()];
    rest.sort();
    assert_eq!(rest, [Lsn(4), Lsn(5)]);
}

#[test]
fn closed_while_the_disk_is_full_answers_everybody() {
    let fs = FakeFs::default();
    let mut filled = journal(&fs);
    filled.append(1, &[1; 3_000]).unwrap();
    fs.set_capacity(Some(0));
    let (handle, thread) = Committer::spawn(filled, policy(2, NEVER)).unwrap();
    let answers = submit(&handle, &[&[2; 3_000], &[3; 10]]);
    handle.close();
    for _ in 0..2 {
        assert!(matches!(next(&answers), Err(CommitError::Closed)), "also the one that would have fitted");
    }
    assert_eq!(thread.join().unwrap().unwrap().durable(), Some(Lsn(1)));
}

#[test]
fn full_queue_gives_everything_back() {
    let fs = FakeFs::default();
    let (handle, _thread) = Committer::spawn(journal(&fs), policy(1, NEVER)).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let (reached, reaching) = mpsc::channel();
    handle.submit(1, b"held".to_vec(), move |_| {
        reached.send(()).unwrap();
        let _ = released.recv_timeout(DEADLINE);
    });
    reaching.recv_timeout(DEADLINE).unwrap();
    let answers = submit(&handle, &[b"waiting"]);
    let refused = handle.try_submit(9, b"more".to_vec(), |_| ()).unwrap_err();
    assert_eq!((refused.kind, refused.body.as_slice()), (9, b"more".as_slice()));
    assert!(refused.error.is_none(), "full is no failure");
    drop(release);
    assert_eq!(next(&answers).unwrap(), Lsn(2));
}

#[test]
fn too_long_a_record_is_refused_alone() {
    let fs = FakeFs::default();
    let (handle, _thread) = Committer::spawn(journal(&fs), policy(3, NEVER)).unwrap();
    let long = vec![0; crate::record::MAX_BODY_BYTES + 1];
    let answers = submit(&handle, &[b"a", &long, b"b"]);
    let mut answers: Vec<_> = (0..3).map(|_| next(&answers)).collect();
    assert!(matches!(answers.remove(0), Err(CommitError::TooLarge { .. })), "it is answered at once");
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [Lsn(1), Lsn(2)]);
}

#[test]
fn closing_commits_what_waits_and_takes_nothing_new() {
    let fs = FakeFs::default();
    let (handle, thread) = Committer::spawn(journal(&fs), policy(100, NEVER)).unwrap();
    let answers = submit(&handle, &[b"a", b"b"]);
    handle.close();
    assert!(matches!(next(&submit(&handle, &[b"c"])), Err(CommitError::Closed)));
    assert_eq!((next(&answers).unwrap(), next(&answers).unwrap()), (Lsn(1), Lsn(2)));
    assert_eq!(thread.join().unwrap().unwrap().next(), Lsn(3));
}

#[test]
fn a_panicking_callback_leaves_nobody_waiting() {
    let fs = FakeFs::default();
    let (handle, thread) = Committer::spawn(journal(&fs), policy(1, NEVER)).unwrap();
    handle.submit(1, Vec::new(), |_| std::panic::resume_unwind(Box::new("a callback's bug")));
    assert!(thread.join().is_err());
    assert!(matches!(next(&submit(&handle, &[b"later"])), Err(CommitError::Closed)));
}
