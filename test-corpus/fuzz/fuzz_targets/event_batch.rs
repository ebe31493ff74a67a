//! A batch of events from disk: what is decoded can be walked, and comes back as it was.

#![no_main]

use canh_event::EventBatch;
use canh_fuzz::walk_events;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = EventBatch::decode(bytes) {
        walk_events(&batch);
        let mut again = Vec::new();
        batch.encode(&mut again);
        assert_eq!(EventBatch::decode(&again), Ok(batch));
    }
});
