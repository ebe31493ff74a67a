//! A journal whose only segment is somebody else's: a reader and a writer take what is right, name what
//! is not, and the writer leaves a journal behind that is whole.
//!
//! ```text
//! odd: header and checksums are made to fit │ durable place u8 │ where it ends u16 │ segment
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, SEGMENT_HEADER_BYTES, mend_records, read_all, segment_header, slot, write_on};
use canh_journal::Reader;

const UUID: [u8; 16] = [7; 16];
const SEGMENT: &str = "00000000000000000001.seg";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, durable, end_low, end_high], rest)) = bytes.split_first_chunk::<4>() else { return };
    let mut segment = rest.to_vec();
    if mode % 2 == 1 && segment.len() >= SEGMENT_HEADER_BYTES {
        segment[..SEGMENT_HEADER_BYTES].copy_from_slice(&segment_header(1, UUID, 1));
        mend_records(UUID, &mut segment[SEGMENT_HEADER_BYTES..]);
    }
    let mut mark = UUID.to_vec();
    mark.extend_from_slice(&u64::from(durable).to_le_bytes());
    mark.extend_from_slice(&1_u64.to_le_bytes());
    mark.extend_from_slice(&u64::from(u16::from_le_bytes([end_low, end_high])).to_le_bytes());

    let dir = Path::new("/journal");
    let files = MemoryFs::default();
    files.put(&dir.join(SEGMENT), segment);
    files.put(&dir.join("durable"), slot(1, &mark));
    if let Ok(reader) = Reader::open_on(files.copy(), dir) {
        read_all(reader);
    }
    // Without the mark, all that can be said comes from the segment.
    if mode & 2 != 0 {
        files.put(&dir.join("durable"), Vec::new());
    }
    write_on(&files, dir);
});
