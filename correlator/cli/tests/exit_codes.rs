//! The promises `canh` makes to scripts, held on the built program: exit codes, which stream says
//! what, and that wrong input is told apart from a sick daemon.

#![expect(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A correlator that knows one answer a resource, and 404 for the rest.
struct Daemon {
    dir: tempfile::TempDir,
}

const ACTIONS: &str = "/v1/incidents/actions";

type Answers = Vec<(&'static str, u16, String)>;

impl Daemon {
    fn answering(answers: Answers) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        // The thread ends with the test's process; each test has its own socket.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &answers);
            }
        });
        Self { dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn canh(&self, words: &[&str]) -> Output {
        canh(&self.socket(), words, "")
    }
}

fn answer(stream: UnixStream, answers: &Answers) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let not_found = ("", 404, error("there is no such incident"));
    let resource = first.split(' ').nth(1).unwrap_or_default();
    let path = resource.split('?').next().unwrap_or_default();
    let (_, status, body) = answers.iter().find(|(known, _, _)| *known == path).unwrap_or(&not_found);
    let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // A client that has had enough is none of a daemon's troubles.
    let _ = reader.get_mut().write_all(reply.as_bytes());
}

fn canh(socket: &Path, words: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_canh"))
        .args(words)
        .env_clear()
        .env("CANH_SOCKET", socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn error(message: &str) -> String {
    format!(r#"{{"schema_version":1,"code":"x","message":"{message}"}}"#)
}

fn summary(counter: u32) -> String {
    format!(
        r#"{{"schema_version":1,"number":"INC-26-{counter:06}","version":1,"title":"SSH guessing","rule_id":"ssh",
        "severity":"high","state":"new","opened":"2026-11-24T03:07:03Z","updated":"2026-11-24T03:07:03Z",
        "first_seen":"2026-11-24T03:07:03Z","last_seen":"2026-11-24T03:09:11Z","detections":1,"events":41}}"#
    )
}

fn page(incidents: &[u32]) -> String {
    let shown: Vec<String> = incidents.iter().map(|counter| summary(*counter)).collect();
    format!(r#"{{"schema_version":1,"total":{},"incidents":[{}]}}"#, shown.len(), shown.join(","))
}

fn outcomes(kinds: &[&str]) -> String {
    let shown: Vec<String> =
        kinds.iter().map(|kind| format!(r#"{{"number":"INC-26-000001","outcome":"{kind}"}}"#)).collect();
    format!(r#"{{"schema_version":1,"results":[{}]}}"#, shown.join(","))
}

#[track_caller]
fn ends(output: &Output, code: i32, stdout: &str, stderr_part: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    assert_eq!(out, stdout, "stderr: {err}");
    assert!(err.contains(stderr_part), "stderr: {err}");
    assert!(!stderr_part.is_empty() || err.is_empty(), "stderr: {err}");
}

#[test]
fn a_list_in_a_pipe_is_tabs_without_heading_or_colour() {
    let daemon = Daemon::answering(vec![("/v1/incidents", 200, page(&[17]))]);
    let row = "INC-26-000017\thigh\tnew\t\t\t2026-11-24T03:07:03Z\t2026-11-24T03:09:11Z\t41\t1\tssh\tSSH guessing\t\n";
    ends(&daemon.canh(&["ls"]), 0, row, "");
    ends(&daemon.canh(&["incident", "list", "-o", "ids"]), 0, "INC-26-000017\n", "");
    ends(&daemon.canh(&["inc", "ls", "--count"]), 0, "1\n", "");
}

#[test]
fn an_empty_list_is_no_error_unless_asked_to_be() {
    let daemon = Daemon::answering(vec![("/v1/incidents", 200, page(&[]))]);
    ends(&daemon.canh(&["ls"]), 0, "", "no incident fits");
    ends(&daemon.canh(&["ls", "-q"]), 0, "", "");
    ends(&daemon.canh(&["ls", "-q", "--fail-empty"]), 3, "", "");
    ends(&daemon.canh(&["ack", "sev>=high"]), 3, "", "no incident to work on");
}

#[test]
fn wrong_words_end_with_two_and_say_what_to_do() {
    let daemon = Daemon::answering(Vec::new());
    for words in [
        &["ls", "colour=red"][..],
        &["ls", "sev=high"],
        &["show", "INC-26"],
        &["ack", "17", "state=new"],
        &["ack", "1", "2", "--if-version", "3"],
        &["close", "17", "--verdict", "maybe", "-m", "x"],
        &["ls", "--tz", "Mars/Olympus"],
        &["ls", "--server", "https://collector"],
        &["comment", "1", "-F", "/nonexistent/note"],
        &["rules", "check", "/nonexistent/rules"],
        &["frobnicate"],
    ] {
        let output = daemon.canh(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    let nowhere = Path::new("/nonexistent/socket");
    for words in [&["--help"][..], &["incident", "list", "--help"], &["--version"]] {
        let output = canh(nowhere, words, "");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn missing_denied_conflicting_and_unreachable_have_their_codes() {
    let daemon = Daemon::answering(vec![
        ("/v1/status", 403, error("not yours")),
        ("/v1/rules", 500, error("disk full")),
        ("/v1/incidents", 409, error("too late")),
    ]);
    ends(&daemon.canh(&["show", "17"]), 3, "", "there is no such incident");
    ends(&daemon.canh(&["status"]), 4, "", "not yours");
    ends(&daemon.canh(&["rules", "list"]), 1, "", "disk full");
    ends(&daemon.canh(&["ls"]), 5, "", "too late");
    let nobody = canh(Path::new("/nonexistent/socket"), &["ls"], "");
    ends(&nobody, 6, "", "cannot reach the correlator at /nonexistent/socket");
}

#[test]
fn bulk_says_what_became_of_each() {
    let act = |kinds: &[&str]| {
        let daemon = Daemon::answering(vec![(ACTIONS, 200, outcomes(kinds))]);
        daemon.canh(&["ack", "INC-26-000001", "INC-26-000002", "-m", "on it"])
    };
    ends(&act(&["done", "unchanged"]), 0, "INC-26-000001\tdone\t\t\t\nINC-26-000001\tunchanged\t\t\t\n", "");
    ends(&act(&["illegal", "illegal"]), 5, "INC-26-000001\tillegal\t\t\t\nINC-26-000001\tillegal\t\t\t\n", "illegal");
    let daemon = Daemon::answering(vec![(ACTIONS, 200, outcomes(&["done"]))]);
    ends(&daemon.canh(&["ack", "INC-26-000001", "2"]), 7, "INC-26-000001\tdone\t\t\t\n", "there is no such incident");
    ends(&daemon.canh(&["ack", "1", "2"]), 3, "", "there is no such incident");
    ends(&act(&["done", "not_found"]), 7, "INC-26-000001\tdone\t\t\t\nINC-26-000001\tnot_found\t\t\t\n", "not_found");
}

#[test]
fn ids_come_through_a_pipe_and_many_need_a_yes() {
    let daemon = Daemon::answering(vec![(ACTIONS, 200, outcomes(&["done"]))]);
    let ids: String = (1..=21).map(|counter| format!("INC-26-{counter:06}\n")).collect();
    ends(&canh(&daemon.socket(), &["ack", "-"], &ids), 2, "", "would touch 21 incidents");
    ends(&canh(&daemon.socket(), &["ack", "-", "--yes", "-o", "ids"], &ids), 0, "INC-26-000001\n", "");
    ends(&canh(&daemon.socket(), &["ack", "-"], "INC-26-000001\tx\ty\n"), 0, "INC-26-000001\tdone\t\t\t\n", "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let many: Vec<u32> = (1..=5_000).collect();
    let daemon = Daemon::answering(vec![("/v1/incidents", 200, page(&many))]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_canh"))
        .args(["ls", "--limit", "5000"])
        .env_clear()
        .env("CANH_SOCKET", daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // More than a pipe holds has to be written, and nobody reads it.
    drop(child.stdout.take());
    ends(&child.wait_with_output().unwrap(), 0, "", "");
}

#[test]
fn rules_are_checked_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let good = "title: A\nid: 11111111-1111-4111-8111-111111111111\nlogsource:\n  product: linux\n\
                detection:\n  selection:\n    User: root\n  condition: selection\nlevel: high\n";
    std::fs::write(dir.path().join("good.yml"), good).unwrap();
    let nowhere = Path::new("/nonexistent/socket");
    let folder = dir.path().to_str().unwrap();
    let output = canh(nowhere, &["rules", "check", folder, "-o", "json"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((last["loaded"].as_u64(), last["refused"].as_u64()), (Some(1), Some(0)));

    std::fs::write(dir.path().join("bad.yml"), good.replace("condition: selection", "condition: nowhere")).unwrap();
    let output = canh(nowhere, &["rules", "check", folder], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("bad.yml:") && text.contains("1 rules loaded, 1 refused"), "{text}");

    let output = canh(nowhere, &["rules", "show", "1111", "-r", folder, "-o", "ids"], "");
    ends(&output, 0, "11111111-1111-4111-8111-111111111111\n", "");
}

/// A collector's state whose ledger says that an agent produced so many records of which ten are journalled.
fn state_with_account(produced: u64) -> tempfile::TempDir {
    use canh_event::{AccountedSource, Epoch, LossEntry, RecordSequence, SourceAccount, StoredAccount, Timestamp};
    let dir = tempfile::tempdir().unwrap();
    let options = canh_journal::JournalOptions { segment_bytes: 64 << 10, ..canh_journal::JournalOptions::DEFAULT };
    let (mut journal, _) = canh_journal::Journal::open(&dir.path().join("losses"), options).unwrap();
    let stated = SourceAccount { produced, ..SourceAccount::new("/var/log/auth.log".parse().unwrap()) };
    let account = StoredAccount {
        agent: "web-01".parse().unwrap(),
        agency: "so-tttt".parse().unwrap(),
        stream: "log".parse().unwrap(),
        epoch: Epoch(9),
        position: RecordSequence(10),
        spooled: RecordSequence(12),
        stated: Timestamp::from_secs(1_795_489_623),
        received: Timestamp::from_secs(1_795_489_624),
        is_whole: true,
        journalled: 10,
        uncounted: 0,
        gaps: Vec::new(),
        unplaced: 0,
        sources: vec![AccountedSource { stated, journalled: 10, gaps: Vec::new(), is_known: true }],
    };
    journal.append(1, &LossEntry::encode(1, &account.encode())).unwrap();
    journal.sync().unwrap();
    dir
}

#[test]
fn loss_ends_with_eight_if_something_does_not_add_up_and_needs_no_daemon() {
    let nobody = Path::new("/nonexistent/socket");
    let loss = |dir: &Path, more: &[&str]| {
        let dir = dir.to_str().unwrap();
        canh(nobody, &[&["loss", "--state", dir, "-o", "json"], more].concat(), "")
    };
    let good = loss(state_with_account(10).path(), &[]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let json: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((&json["schema_version"], &json["streams"][0]["spooled"]), (&1.into(), &2.into()));
    assert_eq!(loss(state_with_account(11).path(), &[]).status.code(), Some(8));
    let unknown = loss(state_with_account(10).path(), &["--agent", "web-02"]);
    assert_eq!(unknown.status.code(), Some(3));
    let empty = tempfile::tempdir().unwrap();
    let missing = loss(empty.path(), &[]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(6), "{said}");
    assert!(said.contains("CANH_COLLECTOR_STATE"), "{said}");
    assert_eq!(loss(empty.path(), &["--since", "soon"]).status.code(), Some(2));
}
