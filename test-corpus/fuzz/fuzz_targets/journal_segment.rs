//! A journal whose only segment is somebody else's: a reader and a writer take what is right, name what
//! is not, and the writer leaves a journal behind that is whole.
//!
//! ```text
//! odd: header and checksums are made to fit │ durable place u8 │ where it ends u16 │ segment
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, SEGMENT_HEADER_BYTES, mend_records, segment_header, slot};
use canh_journal::{Journal, JournalOptions, Reader};

const UUID: [u8; 16] = [7; 16];
const SEGMENT: &str = "00000000000000000001.seg";
const OPTIONS: JournalOptions = JournalOptions { segment_bytes: 16 << 10, ..JournalOptions::DEFAULT };

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, durable, end_low, end_high], rest)) = bytes.split_first_chunk::<4>() else { return };
    let mut segment = rest.to_vec();
    if mode % 2 == 1 && segment.len() >= SEGMENT_HEADER_BYTES {
        segment[..SEGMENT_HEADER_BYTES].copy_from_slice(&segment_header(UUID, 1));
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

/// Reads to the end, over whatever damage there is, and returns the last record's body.
fn read_all(mut reader: Reader<MemoryFs>) -> Option<Vec<u8>> {
    let (mut last, mut body) = (None, None);
    loop {
        match reader.next() {
            Ok(Some(entry)) => {
                assert!(last < Some(entry.lsn), "places only go up");
                last = Some(entry.lsn);
                body = Some(entry.body.to_vec());
            }
            Ok(None) => return body,
            Err(_) => {
                let before = reader.position();
                let Some(damage) = reader.skip_damage() else { return body };
                assert!(damage.from <= damage.to && reader.position() > before, "damage is left behind");
            }
        }
    }
}

fn write_on(files: &MemoryFs, dir: &Path) {
    let Ok((mut journal, _)) = Journal::open_on(files.clone(), dir, OPTIONS) else { return };
    if journal.append(1, b"after").is_err() {
        return;
    }
    let synced = journal.sync().expect("memory does not fail");
    assert_eq!(journal.durable(), Some(synced));
    drop(journal);
    let reader = Reader::open_on(files.clone(), dir).expect("a writer has been there");
    assert_eq!(read_all(reader).as_deref(), Some(b"after".as_slice()), "what was synced is read");
    let (journal, recovery) = Journal::open_on(files.clone(), dir, OPTIONS).expect("it was opened before");
    assert!(recovery.torn.is_none(), "a journal that was closed has no torn tail");
    assert_eq!(journal.durable(), Some(synced));
}
