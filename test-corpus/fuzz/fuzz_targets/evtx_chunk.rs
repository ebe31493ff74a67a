//! A chunk of a Windows event log: every record ends in an error or in JSON that anybody can read.

#![no_main]

use canh_parse::{EvtxChunk, EvtxReader, JsonError, JsonEvents};
use serde::de::IgnoredAny;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(chunk)) = EvtxChunk::parse(bytes) else { return };
    let mut reader = EvtxReader::new();
    reader.begin_chunk();
    let mut events = JsonEvents::default();
    let mut count = 0;
    for record in chunk.records() {
        count += 1;
        assert!(count <= bytes.len(), "each record takes at least a byte");
        let Ok(record) = record else { continue };
        let Ok(json) = reader.json(&chunk, &record) else { continue };
        assert!(serde_json::from_str::<IgnoredAny>(json).is_ok(), "{json:?}");
        match events.read(json) {
            Ok(()) | Err(JsonError::TooManyNames { .. }) => {}
            Err(error) => panic!("{error}: {json:?}"),
        }
    }
});
