//! A record of the collector's journal: head and whole agree, and it comes back as it was.

#![no_main]

use canh_event::StoredBatch;
use canh_fuzz::walk_events;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let head = StoredBatch::decode_head(bytes);
    let rows = head.as_ref().ok().and_then(|(_, rest)| StoredBatch::row_count(rest).ok());
    let Ok(stored) = StoredBatch::decode(bytes) else { return };
    let (head, _) = head.expect("a whole record has a head");
    assert_eq!((&head.agent, &head.stream, head.epoch), (&stored.agent, &stored.stream, stored.epoch));
    assert_eq!(rows, Some(stored.batch.len()));
    assert!(stored.last().0 >= stored.first.0 || stored.batch.is_empty());
    walk_events(&stored.batch);
    let mut again = Vec::new();
    stored.encode(&mut again);
    assert_eq!(StoredBatch::decode(&again), Ok(stored));
});
