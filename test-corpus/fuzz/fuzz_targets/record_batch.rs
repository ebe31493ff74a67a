//! A batch of records from an agent: what is decoded can be walked, and comes back as it was.

#![no_main]

use canh_event::RecordBatch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(batch) = RecordBatch::decode(bytes) {
        assert_eq!(batch.iter().count(), batch.len());
        let total: usize = batch.iter().map(|record| record.bytes.len()).sum();
        assert!(total <= bytes.len());
        assert!(batch.iter().all(|record| record.source.host.len() <= 255));
        let mut again = Vec::new();
        batch.encode(&mut again);
        assert_eq!(RecordBatch::decode(&again), Ok(batch));
    }
});
