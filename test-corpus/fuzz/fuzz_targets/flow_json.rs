//! A flow record as JSON: what is read is written so that it reads the same again.

#![no_main]

use canh_flow::FlowRecord;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = FlowRecord::from_json(bytes) {
        canh_fuzz::check_flow(&record);
    }
});
