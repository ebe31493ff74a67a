//! What must hold of a journal whose files are somebody else's.

use std::path::Path;

use canh_journal::{Compression, Journal, JournalOptions, Reader};

use crate::memory_fs::MemoryFs;

/// How the journals of the targets are kept.
pub const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 16 << 10, reserve_bytes: 0, compression: Compression::Zstd { level: 1 } };

/// Reads to the end, over whatever damage there is, and returns the last record's body.
pub fn read_all(mut reader: Reader<MemoryFs>) -> Option<Vec<u8>> {
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

/// Opens the journal, writes a record, compresses what can be, and finds both the record and a journal
/// that is whole.
pub fn write_on(files: &MemoryFs, dir: &Path) {
    let Ok((mut journal, _)) = Journal::open_on(files.clone(), dir, OPTIONS) else { return };
    if journal.append(1, b"after").is_err() {
        return;
    }
    let synced = journal.sync().expect("memory does not fail");
    assert_eq!(journal.durable(), Some(synced));
    while journal.sealed().compress_next(&|| true).is_ok_and(|segment| segment.is_some()) {}
    drop(journal);
    let reader = Reader::open_on(files.clone(), dir).expect("a writer has been there");
    assert_eq!(read_all(reader).as_deref(), Some(b"after".as_slice()), "what was synced is read");
    let (journal, recovery) = Journal::open_on(files.clone(), dir, OPTIONS).expect("it was opened before");
    assert!(recovery.torn.is_none(), "a journal that was closed has no torn tail");
    assert_eq!(journal.durable(), Some(synced));
}
