//! One judge, without files and threads.

use canh_sigma::{RuleFile, RuleSet};

use super::*;

const RULE: &str = "
title: Whoami
id: 5d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e
logsource: {product: windows, category: process_creation}
detection:
    selection:
        Image|endswith: '\\whoami.exe'
    condition: selection
level: high
---
title: Keyword
id: 6d3c3a0e-3bd5-4d3a-9a6c-1f1a2b3c4d5e
logsource: {product: windows}
detection:
    keywords: [mimikatz]
    condition: keywords
level: high
";

fn judge(routing: Routing) -> Judge {
    let loaded = RuleSet::load([RuleFile { path: "r.yml".to_owned(), text: RULE.to_owned() }]);
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    Judge::new(&Program::compile(&loaded.rules), routing)
}

fn lines(judge: &mut Judge, text: &[u8]) -> Judged {
    judge.block(Block { file: 0, load: Load::Lines(text.to_vec()) })
}

fn chunks(judge: &mut Judge, bytes: &[u8]) -> Judged {
    judge.block(Block { file: 0, load: Load::Chunks(bytes.to_vec()) })
}

fn hits(judged: &Judged) -> Vec<(u64, u32)> {
    judged.hits.iter().map(|hit| (hit.index, hit.rule.0)).collect()
}

#[test]
fn flat_nested_and_renamed_events_hit() {
    let text = br##"{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\whoami.exe","UtcTime":"2026-11-24 03:07:05.123"}
{"Event":{"System":{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":{"#text":1},"TimeCreated":{"#attributes":{"SystemTime":"2026-11-24T03:07:05Z"}}},"EventData":{"Image":"C:\\WHOAMI.EXE"}}}

{"Channel":"Security","EventID":4688,"NewProcessName":"C:\\Windows\\whoami.exe"}
{"Channel":"Security","EventID":4624,"NewProcessName":"C:\\Windows\\whoami.exe"}
{"Channel":"Security","EventID":4624,"Any":"run MimiKatz now"}"##;
    let judged = lines(&mut judge(Routing::ByLogsource), text);
    assert_eq!(hits(&judged), [(0, 0), (1, 0), (3, 0), (5, 1)]);
    assert_eq!((judged.records, judged.events, judged.refused), (6, 5, 0));
    let time = |at: usize| judged.times.get(judged.hits[at].time.0..judged.hits[at].time.1).unwrap();
    assert_eq!([time(0), time(1), time(2)], ["2026-11-24 03:07:05.123", "2026-11-24T03:07:05Z", ""]);
}

#[test]
fn without_routing_the_logsource_does_not_count() {
    let text = br#"{"Image":"/x\\whoami.exe"}"#;
    assert_eq!(hits(&lines(&mut judge(Routing::ByLogsource), text)), []);
    assert_eq!(hits(&lines(&mut judge(Routing::Everything), text)), [(0, 0)]);
}

#[test]
fn a_byte_that_is_no_text_does_not_hide_an_event() {
    let text = b"{\"Image\":\"C:\\\\\xff\\\\whoami.exe\"}\r\n";
    assert_eq!(hits(&lines(&mut judge(Routing::Everything), text)), [(0, 0)]);
}

#[test]
fn what_is_no_event_is_counted_and_the_first_few_are_named() {
    let mut text = b"[1]\nnonsense\n{\"a\":1}\n".repeat(4);
    text.extend(std::iter::repeat_n(b'x', MAX_LINE_BYTES + 1));
    let judged = lines(&mut judge(Routing::Everything), &text);
    assert_eq!((judged.records, judged.events, judged.refused, judged.reasons.len()), (13, 4, 9, 5));
    assert_eq!(
        (judged.reasons[1].index, judged.reasons[1].why.as_str()),
        (1, "not a JSON object: unexpected 'n' at byte 0")
    );
}

#[test]
fn what_a_path_means_is_learnt_anew_when_the_names_are_given_anew() {
    let mut judge = judge(Routing::Everything);
    let hit = b"{\"Image\":\"\\\\whoami.exe\"}";
    assert_eq!(hits(&lines(&mut judge, hit)), [(0, 0)]);
    for turn in 0..40 {
        let names: Vec<String> = (0..1_000).map(|index| format!("\"k{turn}_{index}\":1")).collect();
        lines(&mut judge, format!("{{{}}}", names.join(",")).as_bytes());
        assert_eq!(hits(&lines(&mut judge, hit)), [(0, 0)], "{turn}");
    }
}

#[test]
fn an_event_that_raises_nothing_allocates_nothing() {
    let mut judge = judge(Routing::ByLogsource);
    let line = br#"{"Channel":"Security","EventID":4688,"NewProcessName":"C:\\Windows\\cmd.exe","A":{"B":[1,"x\n"]}}"#;
    let text = [&line[..], b"\n"].concat().repeat(500);
    lines(&mut judge, &text);
    let block = Block { file: 0, load: Load::Lines(text) };
    let mut judged = None;
    let counted = allocation_counter::measure(|| judged = Some(judge.block(block)));
    assert_eq!(judged.map(|judged| (judged.events, judged.hits.len())), Some((500, 0)));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn chunks_that_are_broken_are_counted() {
    let mut judge = judge(Routing::Everything);
    let unwritten = chunks(&mut judge, &[0; EVTX_CHUNK_BYTES]);
    assert_eq!((unwritten.records, unwritten.refused), (0, 0));
    let strange = chunks(&mut judge, &[7; EVTX_CHUNK_BYTES + 10]);
    assert_eq!((strange.records, strange.refused), (0, 3));
}
