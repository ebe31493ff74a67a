//! What `canh eval` promises, held on the built program.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the functions here are tests or part of one")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const RULES: &str = "
title: Whoami
id: 5d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e
logsource: {product: windows, category: process_creation}
detection:
    selection: {Image|endswith: '\\whoami.exe'}
    condition: selection
level: high
---
title: \"Seven \\e[31m\"
id: 6d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e
logsource: {product: windows}
detection:
    selection: {Number|endswith: '7'}
    condition: selection
level: low
";

struct Room {
    dir: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: tempfile::tempdir().unwrap() };
        room.file("rules/r.yml", RULES.as_bytes());
        room
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_canh"));
        command.current_dir(self.dir.path()).args(["eval", "-r", "rules"]).args(words).env_remove("CANH_SOCKET");
        command
    }

    fn eval(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }

    fn eval_stdin(&self, words: &[&str], input: &[u8]) -> Output {
        let mut child =
            self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        output
    }
}

fn event(index: usize) -> String {
    let image = if index.is_multiple_of(5) { "whoami" } else { "cmd" };
    format!(
        r#"{{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\{image}.exe","Number":"{index}"}}"#
    )
}

fn events(count: usize) -> Vec<u8> {
    (0..count).map(|index| event(index) + "\n").collect::<String>().into_bytes()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn hits(output: &Output) -> Vec<(String, u64, String)> {
    let hit = |line: &str| {
        let hit: Value = serde_json::from_str(line).unwrap();
        let rule = hit["rule"]["level"].as_str().unwrap().to_owned();
        (hit["event"]["file"].as_str().unwrap().to_owned(), hit["event"]["index"].as_u64().unwrap(), rule)
    };
    text(&output.stdout).lines().map(hit).collect()
}

#[test]
fn hits_come_in_the_order_of_the_input_however_many_threads() {
    let room = Room::new();
    let mut first = events(20_000);
    first.extend(std::iter::repeat_n(b'x', 3 << 20));
    first.push(b'\n');
    first.extend(events(9_000));
    room.file("a.ndjson", &first);
    room.file("b.ndjson", &events(12_000));
    let words = ["--threads", "1", "a.ndjson", "b.ndjson", "missing", "a.ndjson"];
    let one = room.eval(&words);
    assert_eq!(one.status.code(), Some(7), "{}", text(&one.stderr));
    let expected = |file: &str, index: usize, line: usize| {
        let mut levels = Vec::new();
        levels.extend(index.is_multiple_of(5).then(|| (file.to_owned(), line as u64, "high".to_owned())));
        levels.extend((index % 10 == 7).then(|| (file.to_owned(), line as u64, "low".to_owned())));
        levels
    };
    let a: Vec<_> =
        (0..20_000).map(|index| (index, index)).chain((0..9_000).map(|index| (index, 20_001 + index))).collect();
    let a = || a.iter().flat_map(|(index, line)| expected("a.ndjson", *index, *line));
    let b = (0..12_000).flat_map(|index| expected("b.ndjson", index, index));
    assert!(hits(&one) == a().chain(b).chain(a()).collect::<Vec<_>>());
    for threads in ["2", "3", "7"] {
        let mut words = words;
        words[1] = threads;
        let many = room.eval(&words);
        assert!(many.stdout == one.stdout && many.stderr == one.stderr, "{threads}");
    }
}

#[test]
fn a_hit_says_rule_file_line_and_time() {
    let room = Room::new();
    let line = r#"{"Channel":"Security","EventID":4688,"NewProcessName":"C:\\whoami.exe","TimeCreated":"2026-11-24T03:07:05Z\u001b[31m"}"#;
    room.file("a.ndjson", format!("\n{line}").as_bytes());
    let output = room.eval(&["a.ndjson"]);
    assert_eq!(
        text(&output.stdout),
        "{\"rule\":{\"id\":\"5d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e\",\"title\":\"Whoami\",\"level\":\"high\"},\
         \"event\":{\"file\":\"a.ndjson\",\"index\":1,\"time\":\"2026-11-24T03:07:05Z\\u001b[31m\"}}\n"
    );
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
}

#[test]
fn lines_that_are_no_events_are_named_counted_and_passed_over() {
    let room = Room::new();
    let mut bytes = b"no json\n[1]\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 2_500_000));
    bytes.extend(format!("\n{}\n", event(5)).bytes());
    bytes.extend(b"{\n".repeat(9));
    room.file("a.ndjson", &bytes);
    let output = room.eval(&["a.ndjson", "--stats"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(hits(&output), [("a.ndjson".to_owned(), 3, "high".to_owned())]);
    let talk: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(talk[0], "canh: a.ndjson:1: not a JSON object: unexpected 'n' at byte 0");
    assert_eq!(talk[2], "canh: a.ndjson:3: line is longer than 1048576 bytes");
    assert_eq!(talk[3], "canh: a.ndjson:5: not a JSON object: unexpected end of text at byte 1");
    assert_eq!(talk[5], "canh: 7 more lines or records are no events");
    let stats: Value = serde_json::from_str(talk[6]).unwrap();
    assert_eq!(
        (stats["events"].as_u64(), stats["hits"].as_u64(), stats["refused"].as_u64()),
        (Some(1), Some(1), Some(12))
    );
    assert!(stats["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(stats["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn stdin_and_packed_files_are_read_like_files() {
    let room = Room::new();
    let bytes = events(3_000);
    room.file("a.ndjson", &bytes);
    room.file("a.ndjson.zst", &zstd::encode_all(&*bytes, 3).unwrap());
    let plain = hits(&room.eval(&["a.ndjson"]));
    assert_eq!(plain.len(), 900);
    let strip = |output: &Output| hits(output).into_iter().map(|(_, index, level)| (index, level)).collect::<Vec<_>>();
    let expected: Vec<_> = plain.into_iter().map(|(_, index, level)| (index, level)).collect();
    assert_eq!(strip(&room.eval(&["a.ndjson.zst"])), expected);
    assert_eq!(strip(&room.eval_stdin(&["-"], &bytes)), expected);
    assert_eq!(strip(&room.eval_stdin(&["-"], &zstd::encode_all(&*bytes, 3).unwrap())), expected);
    let cut = room.eval_stdin(&["-"], &zstd::encode_all(&*bytes, 3).unwrap()[..500]);
    assert!(text(&cut.stderr).starts_with("canh: stdin cannot be read\n"), "{}", text(&cut.stderr));
}

#[test]
fn what_comes_through_a_pipe_is_answered_before_the_pipe_ends() {
    let room = Room::new();
    let mut child = room.command(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for index in [5, 10] {
        stdin.write_all(format!("{}\n", event(index)).as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("Whoami"), "{line}");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let room = Room::new();
    room.file("a.ndjson", &events(60_000));
    let mut child = room.command(&["a.ndjson"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn counts_are_by_rule_the_most_frequent_first() {
    let room = Room::new();
    room.file("a.ndjson", &events(100));
    let counts = text(&room.eval(&["--count-only", "a.ndjson"]).stdout).to_owned();
    assert_eq!(
        counts,
        "{\"rule\":{\"id\":\"5d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e\",\"title\":\"Whoami\",\"level\":\"high\"},\"count\":20}\n\
         {\"rule\":{\"id\":\"6d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e\",\"title\":\"Seven \\u001b[31m\",\"level\":\"low\"},\"count\":10}\n"
    );
    let table = text(&room.eval(&["--count-only", "-o", "table", "a.ndjson"]).stdout).to_owned();
    assert_eq!(
        table,
        "COUNT  LEVEL    ID                                    TITLE\n\
         20     !  HIGH  5d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e  Whoami\n\
         10     -  LOW   6d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e  Seven \\x1b[31m\n"
    );
}

#[test]
fn exit_codes_tell_wrong_words_from_missing_files() {
    let room = Room::new();
    room.file("a.ndjson", &events(10));
    std::fs::create_dir(room.dir.path().join("none")).unwrap();
    room.file("bad/bad.yml", b"title: x\ndetection: 7\n");
    let code = |words: &[&str]| room.eval(words).status.code();
    assert_eq!(code(&["a.ndjson"]), Some(0));
    assert_eq!(code(&["missing"]), Some(1));
    assert_eq!(code(&["rules", "missing", "a.ndjson"]), Some(7));
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["-o", "table", "a.ndjson"]), Some(2));
    assert_eq!(code(&["--threads", "0", "a.ndjson"]), Some(2));
    assert_eq!(code(&["--format", "evtx", "a.ndjson"]), Some(1));
    assert_eq!(code(&["-r", "missing", "a.ndjson"]), Some(2));
    let bare = |rules: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_canh"));
        command.current_dir(room.dir.path()).args(["eval", "-r", rules, "a.ndjson"]).output().unwrap()
    };
    let none = bare("none");
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("do:  give a folder of Sigma rules"), "{}", text(&none.stderr));
    let bad = bare("bad");
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("do:  see why: canh rules check"), "{}", text(&bad.stderr));
    let missing = room.eval(&["missing", "a.ndjson"]);
    assert!(
        text(&missing.stderr).starts_with("canh: missing cannot be read\n  why: No such file"),
        "{}",
        text(&missing.stderr)
    );
    assert_eq!(hits(&missing).len(), 3);
}

#[test]
fn event_logs_that_are_broken_are_counted_and_never_fatal() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/sigma-regression/rules/windows");
    let case = "builtin/wmi/win_wmi_activity_nteventlogfile_cleareventlog/d4f1a2b3-7c8e-4d5f-b6a9-1e0c2d3f4e5b.evtx";
    let Ok(file) = std::fs::read(corpus.join(case)) else {
        println!("skipped: ../shared/corpus/sigma-regression is not there");
        return;
    };
    let room = Room::new();
    let mut words = vec!["--count-only".to_owned(), "--stats".to_owned(), "--format".to_owned(), "evtx".to_owned()];
    for length in (4_096 + 64..file.len()).step_by(1_531) {
        room.file(&format!("{length}.evtx"), &file[..length]);
        words.push(format!("{length}.evtx"));
    }
    for place in (4_096..12_000).step_by(61) {
        let mut flipped = file.clone();
        flipped[place] ^= 0xff;
        room.file(&format!("f{place}.evtx"), &flipped);
        words.push(format!("f{place}.evtx"));
    }
    let output = room.eval(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stats: Value = serde_json::from_str(text(&output.stderr).lines().last().unwrap()).unwrap();
    assert!(stats["refused"].as_u64().unwrap() >= 40, "{stats}");
    assert!(stats["events"].as_u64().unwrap() >= 40, "{stats}");
    let header_only = room.eval(&["--format", "evtx", "cut.evtx"]);
    assert_eq!(header_only.status.code(), Some(1));
}
