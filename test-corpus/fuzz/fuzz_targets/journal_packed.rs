//! A journal with a compressed segment that is somebody else's: it is read within bounds, what is right
//! of it is taken, what is not is named, and the log goes on behind it.
//!
//! ```text
//! odd: header, blocks and seal are made to fit │ durable place u8 │ the segment behind its header
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, mend_packed, read_all, segment_header, slot, write_on};
use canh_journal::{Lsn, Reader};

const UUID: [u8; 16] = [7; 16];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, durable], rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut body = rest.to_vec();
    if mode % 2 == 1 {
        mend_packed(UUID, &mut body);
    }
    let segment = [segment_header(2, UUID, 1), body].concat();
    let mut mark = UUID.to_vec();
    for number in [u64::from(durable), 900, 64] {
        mark.extend_from_slice(&number.to_le_bytes());
    }
    let dir = Path::new("/journal");
    let files = MemoryFs::default();
    files.put(&dir.join("00000000000000000001.seg"), segment);
    files.put(&dir.join("durable"), slot(1, &mark));
    if let Ok(mut reader) = Reader::open_on(files.copy(), dir) {
        if reader.seek(Lsn(u64::from(durable / 2))).is_ok() {
            read_all(reader);
        }
    }
    if let Ok(reader) = Reader::open_on(files.copy(), dir) {
        read_all(reader);
    }
    write_on(&files, dir);
});
