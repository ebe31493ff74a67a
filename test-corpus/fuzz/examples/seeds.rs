//! Writes `seeds/`: small real inputs for every target, from the rules, cases and captures beside this
//! folder, and encoded by the crates that read them. The same sources give the same seeds.
//!
//! `cargo run --manifest-path test-corpus/fuzz/Cargo.toml --example seeds`

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_event::{
    AccountedSource, AgencyId, AgentId, BatchBuilder, Epoch, EventBatch, Figure, GapReason, LossEntry, RecordBatch,
    RecordSequence, Source, SourceAccount, SourceLoss, StoredAccount, StoredBatch, StoredGap, StreamName, Timestamp,
};
use canh_fuzz::{MemoryFs, OPTIONS, parse_lines, slot};
use canh_journal::{Fs, FsFile, Journal, JournalOptions, OpenMode};
use canh_parse::Parser;
use canh_ship::{Checkpoint, Content, Dropped, Part, SpooledBatch, Tally};
use canh_wire::{
    Account, Ack, Batch, Bye, ByeReason, Credential, Credit, DEFAULT_LEVEL, DenialCode, Denied, Enrol, EnrolToken,
    Fingerprint, Frame, Gap, Hello, Nack, NackCode, Packer, Ping, Place, Pong, Renew, SECRET_BYTES, SPOKEN, Secret,
    StreamMark, StreamState, Terms, TokenId, Welcome,
};

const CLOCK: Timestamp = Timestamp::from_secs(1_795_485_600);
const CASES: [&str; 6] = [
    "ssh-password-guessing-positive/input.syslog",
    "sudo-fetch-and-run-positive/input.syslog",
    "cron-suspicious-job-positive/input.syslog",
    "user-with-uid-zero-positive/input.syslog",
    "web-shellshock-positive/input.access",
    "beaconing-positive/input.flow",
];
const JSON: [&str; 4] = [
    r#"{"Channel":"Security","EventID":4688,"Event":{"System":{"Level":0},"EventData":{"CommandLine":"cmd \"a\"\t\u00e9"}}}"#,
    r#"{"@timestamp":"2026-11-24T01:59:59Z","a":{"b":[1,"x",[],{}]},"c":null,"d":[{"e":1.10},{"e":-2E+3}],"":{"":true}}"#,
    r#" { "half" : "\ud83d" , "pair" : "\ud83d\ude00" , "half" : false } "#,
    r#"{}"#,
];

/// Where seeds go.
struct Seeds {
    root: PathBuf,
}

impl Seeds {
    fn write(&self, target: &str, name: &str, bytes: &[u8]) {
        let dir = self.root.join("seeds").join(target);
        fs::create_dir_all(&dir).expect("a folder for the target");
        fs::write(dir.join(name), bytes).expect("a seed");
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join("../..").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

fn main() {
    let seeds = Seeds { root: PathBuf::from(env!("CARGO_MANIFEST_DIR")) };
    rules(&seeds);
    lines(&seeds);
    batches(&seeds);
    frames(&seeds);
    ledger(&seeds);
    journal(&seeds);
    packets(&seeds);
    event_log(&seeds);
}

/// The first documents of each file of the pack, and every condition of it.
fn rules(seeds: &Seeds) {
    for name in ["account", "cron", "network", "scan", "ssh", "su", "sudo", "web"] {
        let bytes = seeds.read(&format!("rules/packs/canh-core/{name}.yml"));
        let text = String::from_utf8(bytes).expect("UTF-8");
        let documents: Vec<&str> = text.split("\n---\n").take(2).collect();
        seeds.write("rule_yaml", name, documents.join("\n---\n").as_bytes());
    }
    let conditions = [
        "selection and not filter_message",
        "1 of selection* or keywords",
        "all of them",
        "(selection or (not selection_port)) and 1 of filter_*",
        "not (not all of selection_*)",
    ];
    for (number, condition) in conditions.iter().enumerate() {
        seeds.write("condition_text", &number.to_string(), condition.as_bytes());
    }
}

fn first_lines(seeds: &Seeds, case: &str, count: usize) -> Vec<Vec<u8>> {
    let bytes = seeds.read(&format!("test-corpus/cases/{case}"));
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(count).map(<[u8]>::to_vec).collect()
}

fn lines(seeds: &Seeds) {
    for case in CASES {
        let name = case.split('/').next().unwrap_or(case);
        let lines = first_lines(seeds, case, 2);
        seeds.write("log_line", name, &lines.join(&b'\n'));
        if case.ends_with(".flow") {
            seeds.write("json_reader", name, &lines.join(&b'\n'));
            seeds.write("flow_json", name, lines.first().expect("a line"));
        }
    }
    seeds.write(
        "log_line",
        "rfc5424",
        br#"<34>1 2026-11-24T10:07:03.5+07:00 web-01 sshd 812 ID47 [a@1 b="c\"d"] body"#,
    );
    let quiet = first_lines(seeds, "dns-outside-resolver-positive/input.flow", 1);
    seeds.write("flow_json", "dns-outside-resolver-positive", quiet.first().expect("a line"));
    for (number, text) in JSON.iter().enumerate() {
        seeds.write("json_reader", &number.to_string(), text.as_bytes());
        seeds.write("log_line", &format!("json-{number}"), text.as_bytes());
    }
}

fn records(seeds: &Seeds, case: &str) -> RecordBatch {
    let mut records = RecordBatch::new();
    let (name, host, format) = ("/var/log/auth.log".parse().expect("a name"), "web-01".into(), stream("auto"));
    let source = records.source(&Source { name, host, format, utc_offset_secs: 25_200 }).expect("one source");
    for line in first_lines(seeds, case, 3) {
        records.push(source, CLOCK, &line).expect("a short line");
    }
    records.mark_last_cut();
    records
}

fn events(seeds: &Seeds, case: &str) -> EventBatch {
    let (mut parser, mut builder) = (Parser::new(), BatchBuilder::new());
    let lines = first_lines(seeds, case, 3);
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    parse_lines(&mut parser, &mut builder, "auto", &lines);
    builder.finish()
}

fn stream(name: &str) -> StreamName {
    name.parse().expect("a valid name")
}

fn batches(seeds: &Seeds) {
    for case in CASES {
        let name = case.split('/').next().unwrap_or(case);
        let (mut record_bytes, mut event_bytes, mut stored_bytes) = (Vec::new(), Vec::new(), Vec::new());
        records(seeds, case).encode(&mut record_bytes);
        let batch = events(seeds, case);
        batch.encode(&mut event_bytes);
        let agent = "web-01".parse().expect("a valid name");
        let (epoch, first) = (Epoch(9), RecordSequence(41));
        StoredBatch { agent, stream: stream("log"), epoch, first, batch }.encode(&mut stored_bytes);
        seeds.write("record_batch", name, &record_bytes);
        seeds.write("event_batch", name, &event_bytes);
        seeds.write("stored_batch", name, &stored_bytes);
    }
}

fn frames(seeds: &Seeds) {
    let (epoch, one, software) = (Epoch(7), RecordSequence(1), Box::from("seed"));
    let streams = vec![StreamState { stream: stream("log"), epoch, oldest: one, last: RecordSequence(3) }];
    let hello = Hello { versions: SPOKEN, boot: 1, clock: CLOCK, software, capabilities: 0, streams };
    let (ping_interval, idle_timeout) = (Duration::from_secs(30), Duration::from_secs(90));
    let (max_body_bytes, max_raw_bytes, max_records) = (1 << 20, 8 << 20, 4_096);
    let terms = Terms { window: 4 << 20, max_body_bytes, max_raw_bytes, max_records, ping_interval, idle_timeout };
    let marks = vec![StreamMark { stream: stream("log"), epoch, durable: RecordSequence(0) }];
    let welcome = Welcome { version: 1, store: 9, clock: CLOCK, terms, marks };
    let mut packer = Packer::try_new(DEFAULT_LEVEL).expect("memory for one packer");
    let body = packer.pack(&records(seeds, CASES[0])).expect("a small batch");
    let place = Some(Place { stream: stream("log"), epoch, first: one });
    let gap = Gap::new(stream("log"), epoch, one, 2, GapReason::SpoolFull);
    let batch = Batch { stream: stream("log"), epoch, first: one, count: 3, body };
    let all = [
        Frame::Hello(hello),
        Frame::Welcome(welcome),
        Frame::Batch(batch),
        Frame::Ack(Ack { stream: stream("log"), epoch, durable: RecordSequence(3) }),
        Frame::Credit(Credit { window: 1 << 20 }),
        Frame::Ping(Ping { token: 5, clock: CLOCK }),
        Frame::Pong(Pong { token: 5, clock: CLOCK }),
        Frame::Gap(gap),
        Frame::Account(account()),
        Frame::Nack(Nack { code: NackCode::Quota, retry_after: Duration::from_secs(5), place }),
        Frame::Bye(Bye { reason: ByeReason::Stopping }),
    ];
    let mut conversation = vec![1, 17];
    for (number, frame) in all.iter().enumerate() {
        let mut bytes = vec![1, 255];
        frame.encode(SPOKEN.newest, &mut bytes);
        conversation.extend_from_slice(&bytes[2..]);
        seeds.write("wire_frames", &number.to_string(), &bytes);
    }
    seeds.write("wire_frames", "conversation", &conversation);
    identities(seeds);
}

/// The frames by which an agent gets its certificate, and the token it begins with.
fn identities(seeds: &Seeds) {
    let (agent, agency) = ("web-01".parse().expect("a name"), "so-tttt".parse().expect("a name"));
    let (id, secret, name) = (TokenId(7), Secret::from_bytes([7; SECRET_BYTES]), Some("web-01".parse().expect("a name")));
    let request: Box<[u8]> = Box::from(*b"request");
    let (certificate, authorities) = (Box::from(*b"certificate"), vec![Box::from(*b"new"), Box::from(*b"old")]);
    let token = EnrolToken { id, secret: secret.clone(), authority: Fingerprint::of(b"ca") };
    for (name, frame) in [
        ("enrol", Frame::Enrol(Enrol { token: id, secret, name, request: request.clone() })),
        ("renew", Frame::Renew(Renew { request })),
        ("credential", Frame::Credential(Credential { agent, agency, certificate, authorities })),
        ("denied", Frame::Denied(Denied { code: DenialCode::Busy, retry_after: Duration::from_secs(5) })),
    ] {
        let mut bytes = vec![1, 255];
        frame.encode(SPOKEN.newest, &mut bytes);
        seeds.write("wire_frames", name, &bytes);
    }
    let mut text = vec![0];
    text.extend_from_slice(token.to_text().as_bytes());
    seeds.write("token_text", "good", &text);
    seeds.write("token_text", "changed", &[1, 20, b'a']);
}

fn account() -> Account {
    let source = SourceAccount::new("eth0".parse().expect("a valid name"));
    let (dropped, figures) = (vec![(GapReason::QueueFull, 2)], vec![(Figure::KernelPackets, 70)]);
    let (position, spooled) = (RecordSequence(3), RecordSequence(5));
    let sources = vec![SourceAccount { produced: 9, dropped, figures, ..source }];
    Account { stream: stream("log"), epoch: Epoch(7), position, spooled, stated: CLOCK, is_whole: true, sources }
}

/// The records of a spool and of the loss ledger.
fn ledger(seeds: &Seeds) {
    let Account { stream, epoch, position, spooled, stated, is_whole, sources } = account();
    let source = sources.first().expect("there is one").clone();
    let loss = SourceLoss { source: source.source.clone(), count: 2, first: CLOCK, last: CLOCK };
    let agent: AgentId = "web-01".parse().expect("a valid name");
    let agency: AgencyId = "so-tttt".parse().expect("a valid name");
    let accounted = AccountedSource {
        stated: source.clone(),
        journalled: 1,
        gaps: vec![(GapReason::QueueFull, 2)],
        is_known: true,
    };
    let stored = StoredAccount {
        agent: agent.clone(),
        agency: agency.clone(),
        stream: stream.clone(),
        epoch,
        position,
        spooled,
        stated,
        received: CLOCK,
        is_whole,
        journalled: 1,
        uncounted: 0,
        gaps: vec![(GapReason::QueueFull, 2)],
        unplaced: 0,
        sources: vec![accounted],
    };
    let gap = StoredGap {
        agent,
        agency: Some(agency),
        stream,
        epoch,
        from: RecordSequence(2),
        count: 2,
        reason: GapReason::QueueFull,
        received: CLOCK,
        sources: vec![loss.clone()],
    };
    seeds.write("loss_entry", "account", &LossEntry::encode(5, &stored.encode()));
    seeds.write("loss_entry", "gap", &LossEntry::encode(4, &gap.encode()));

    let body = Packer::try_new(DEFAULT_LEVEL).expect("memory for one packer").pack(&records(seeds, CASES[0]));
    let content = Content::Records(body.expect("a small batch"));
    let lost = Content::Lost { reason: GapReason::QueueFull, sources: vec![loss.clone()] };
    let batch = SpooledBatch {
        turn: 5,
        first: RecordSequence(1),
        cursors: vec![(source.source.clone(), vec![1, 2, 3])],
        tallies: vec![Tally { count: 3, first: CLOCK, last: CLOCK, account: source.clone() }],
        parts: vec![Part { count: 3, content }, Part { count: 2, content: lost }],
    };
    let dropped = Dropped { count: 2, is_told: false, sources: vec![loss] };
    let checkpoint = Checkpoint {
        turn: 6,
        epoch,
        next: RecordSequence(6),
        stores: [(9, RecordSequence(1))].into(),
        cursors: [(source.source.clone(), vec![1, 2, 3])].into(),
        accounts: [(source.source.clone(), source)].into(),
        dropped: [(2, dropped)].into(),
        ..Checkpoint::default()
    };
    seeds.write("spool_record", "batch", &[vec![0], batch.encode()].concat());
    seeds.write("spool_record", "checkpoint", &[vec![1], checkpoint.encode()].concat());
}

fn journal(seeds: &Seeds) {
    let (files, dir) = (MemoryFs::default(), Path::new("/journal"));
    let (mut journal, _) = Journal::open_on(files.clone(), dir, OPTIONS).expect("memory does not fail");
    for body in [b"first".as_slice(), b"", &[0x5a; 100]] {
        journal.append(1, body).expect("memory does not fail");
        journal.sync().expect("memory does not fail");
    }
    let file = files.open(&dir.join("00000000000000000001.seg"), OpenMode::Read).expect("the only segment");
    let mut segment = vec![0; 400];
    let count = file.read_at(&mut segment, 0).expect("memory does not fail");
    segment.truncate(count);
    let end = u16::try_from(64 + 3 * 24 + 105).expect("a short segment").to_le_bytes();
    for (name, mode, durable) in [("whole", 1, 3), ("torn", 1, 1), ("unmarked", 3, 0), ("as-is", 0, 3)] {
        let mut bytes = vec![mode, durable, end[0], end[1]];
        bytes.extend_from_slice(&segment);
        seeds.write("journal_segment", name, &bytes);
    }
    packed(seeds);
    marks(seeds);
    seeds.write("journal_chain", "touched", b"\x02\x05first\x02\x06second\x00\x07foreign\x02\x05third");
    seeds.write("journal_chain", "compressed", &[[2 + 4, 255].as_slice(), &[b'x'; 255]].concat().repeat(3));
    let mut value = 7_u64.to_le_bytes().to_vec();
    value.extend_from_slice(b"offset 812");
    seeds.write("cursor", "mended", &[&[1, 255], value.as_slice()].concat());
    let first = slot(3, &value);
    let second = slot(4, &value);
    let split = u8::try_from(first.len()).expect("a short slot");
    seeds.write("cursor", "two-slots", &[&[0, split], first.as_slice(), &second].concat());
}

/// A compressed segment of three records, whole and without its end.
fn packed(seeds: &Seeds) {
    let (files, dir) = (MemoryFs::default(), Path::new("/journal"));
    let options = JournalOptions { segment_bytes: 600, ..OPTIONS };
    let (mut journal, _) = Journal::open_on(files.clone(), dir, options).expect("memory does not fail");
    for body in [[b'a'; 150], [b'b'; 150], [b'c'; 150], [b'd'; 150]] {
        journal.append(1, &body).expect("memory does not fail");
        journal.sync().expect("memory does not fail");
    }
    journal.sealed().compress_next(&|| true).expect("memory does not fail").expect("it gets shorter");
    let file = files.open(&dir.join("00000000000000000001.seg"), OpenMode::Read).expect("the first segment");
    let mut segment = vec![0; 600];
    let count = file.read_at(&mut segment, 0).expect("memory does not fail");
    let body = &segment[64..count];
    for (name, body) in [("whole", body), ("without-seal", &body[..body.len() - 48])] {
        seeds.write("journal_packed", name, &[[1, 3].as_slice(), body].concat());
    }
}

/// Marks that fit the target's journal and floors on and off its segments.
fn marks(seeds: &Seeds) {
    let mark = |durable: u64| {
        let numbers = [durable, 5, 64 + 2 * 6_024].map(u64::to_le_bytes).concat();
        [[7; 16].as_slice(), &numbers].concat()
    };
    let floor = |lsn: u64| [[7; 16].as_slice(), &lsn.to_le_bytes()].concat();
    for (name, durable, lsn) in [("right", 6, 1), ("dropped", 6, 3), ("between", 6, 4), ("ahead", 60, 50)] {
        let marks = [mark(durable - 1), mark(durable)].concat();
        let length = u8::try_from(marks.len()).expect("a short mark");
        let bytes = [[3, length].as_slice(), &marks, &floor(1), &floor(lsn)].concat();
        seeds.write("journal_mark", name, &bytes);
    }
}

/// The first packets of each capture.
fn packets(seeds: &Seeds) {
    for name in ["beacon", "exfiltration", "quiet-office", "scan-horizontal", "scan-vertical"] {
        let capture = seeds.read(&format!("test-corpus/captures/{name}.pcap"));
        let mut rest = capture.get(24..).expect("a capture has a header");
        // Ethernet, as all captures here.
        let mut bytes = vec![0];
        for _ in 0..6 {
            let Some((header, after)) = rest.split_first_chunk::<16>() else { break };
            let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
            let frame = &after[..length];
            rest = &after[length..];
            let kept = &frame[..length.min(120)];
            bytes.extend_from_slice(&u16::try_from(kept.len()).expect("at most 120").to_le_bytes());
            bytes.push(1);
            bytes.extend_from_slice(kept);
            seeds.write("flow_packet", name, &bytes);
        }
        // The first frame's IP packet as a capture without a link header would have it.
        let ip = &capture[24 + 16 + 14..24 + 16 + 14 + 40];
        seeds.write("flow_packet", &format!("{name}-raw"), &[&[3, 40, 0, 1], ip].concat());
    }
}

/// A chunk of one record: an element with an attribute, text and an empty element, names in place.
fn event_log(seeds: &Seeds) {
    let mut chunk = b"ElfChnk\0".to_vec();
    chunk.resize(512, 0);
    for number in 1_u64..=2 {
        let start = chunk.len();
        chunk.extend_from_slice(b"**\0\0\0\0\0\0");
        chunk.extend_from_slice(&number.to_le_bytes());
        chunk.extend_from_slice(&[0; 8]);
        element_tokens(&mut chunk);
        let length = u32::try_from(chunk.len() + 4 - start).expect("a short record").to_le_bytes();
        chunk.extend_from_slice(&length);
        chunk[start + 4..start + 8].copy_from_slice(&length);
    }
    let free = u32::try_from(chunk.len()).expect("a short chunk").to_le_bytes();
    chunk[48..52].copy_from_slice(&free);
    seeds.write("evtx_chunk", "elements", &chunk);
    seeds.write("evtx_chunk", "template", &template_chunk());
}

fn element_tokens(chunk: &mut Vec<u8>) {
    chunk.extend_from_slice(&[0x0f, 1, 1, 0]);
    open(chunk, "Event");
    chunk.push(0x06);
    name(chunk, "Name");
    chunk.extend_from_slice(&[0x05, 0x01]);
    counted(chunk, "a\"\n");
    chunk.push(0x02);
    open(chunk, "EventID");
    chunk.extend_from_slice(&[0x02, 0x05, 0x06, 0x39, 0x30, 0x04]);
    open(chunk, "Empty");
    chunk.extend_from_slice(&[0x03, 0x04, 0x00]);
}

/// A record that is an instance of a template with holes for a text, a number and a list of texts.
fn template_chunk() -> Vec<u8> {
    let mut chunk = b"ElfChnk\0".to_vec();
    chunk.resize(512, 0);
    chunk.extend_from_slice(b"**\0\0\0\0\0\0");
    chunk.extend_from_slice(&1_u64.to_le_bytes());
    chunk.extend_from_slice(&[0; 8]);
    chunk.extend_from_slice(&[0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0]);
    let place = u32::try_from(chunk.len() + 4).expect("a short chunk").to_le_bytes();
    chunk.extend_from_slice(&place);
    chunk.extend_from_slice(&[0; 20]);
    let length_at = chunk.len();
    chunk.extend_from_slice(&[0; 4]);
    chunk.extend_from_slice(&[0x0f, 1, 1, 0]);
    open_defined(&mut chunk, "Event");
    chunk.push(0x02);
    for (hole, kind) in [(0, 0x01), (1, 0x08), (2, 0x81)] {
        open_defined(&mut chunk, ["Text", "Number", "List"][hole]);
        chunk.extend_from_slice(&[0x02, 0x0d, u8::try_from(hole).expect("three"), 0, kind, 0x04]);
    }
    chunk.extend_from_slice(&[0x04, 0x00]);
    let length = u32::try_from(chunk.len() - length_at - 4).expect("a short template").to_le_bytes();
    chunk[length_at..length_at + 4].copy_from_slice(&length);
    let values: [(&[u8], u8); 3] = [(b"a\0b\0", 0x01), (&[5, 0, 0, 0], 0x08), (b"x\0\0\0y\0\0\0", 0x81)];
    chunk.extend_from_slice(&3_u32.to_le_bytes());
    for (value, kind) in values {
        chunk.extend_from_slice(&u16::try_from(value.len()).expect("short").to_le_bytes());
        chunk.extend_from_slice(&[kind, 0]);
    }
    values.iter().for_each(|(value, _)| chunk.extend_from_slice(value));
    let length = u32::try_from(chunk.len() + 4 - 512).expect("a short record").to_le_bytes();
    chunk.extend_from_slice(&length);
    chunk[516..520].copy_from_slice(&length);
    let free = u32::try_from(chunk.len()).expect("a short chunk").to_le_bytes();
    chunk[48..52].copy_from_slice(&free);
    chunk
}

fn open(chunk: &mut Vec<u8>, element: &str) {
    chunk.push(0x01);
    chunk.extend_from_slice(&[0; 4]);
    name(chunk, element);
}

/// In a template an element has two bytes more: the value it depends on, or none.
fn open_defined(chunk: &mut Vec<u8>, element: &str) {
    chunk.extend_from_slice(&[0x01, 0xff, 0xff]);
    chunk.extend_from_slice(&[0; 4]);
    name(chunk, element);
}

fn name(chunk: &mut Vec<u8>, text: &str) {
    let place = u32::try_from(chunk.len() + 4).expect("a short chunk").to_le_bytes();
    chunk.extend_from_slice(&place);
    chunk.extend_from_slice(&[0; 6]);
    counted(chunk, text);
    chunk.extend_from_slice(&[0; 2]);
}

fn counted(chunk: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    chunk.extend_from_slice(&u16::try_from(units.len()).expect("a short text").to_le_bytes());
    units.iter().for_each(|unit| chunk.extend_from_slice(&unit.to_le_bytes()));
}
