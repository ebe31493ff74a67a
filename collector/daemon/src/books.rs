//! All books in one file, so that a start need not count the whole journal: written anew at every
//! checkpoint, after everything in it is durable and before the cursor moves past it.
//!
//! ```text
//! magic "CSL" │ version u8 │ store u128 │ count u32, each: agent text, stream text, epoch u128, book │ CRC-32C u32
//! ```
//!
//! A file that is missing or damaged costs time, not the count: the whole journal is counted instead.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use canh_event::{AgentId, ByteReader, ByteWriter, DecodeError, Epoch, StreamName};

use crate::book::{Book, SourceRoom};
use crate::streams::Streams;

const MAGIC: &[u8; 3] = b"CSL";
const VERSION: u8 = 1;
/// Others of the group may read: it is the collector's count.
const FILE_MODE: u32 = 0o640;
const CRC_BYTES: usize = 4;
/// Most books: one for every agent's streams and their lives, far beyond any province.
const MAX_BOOKS: usize = 1 << 20;

/// Why the books cannot be taken from their file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BooksError {
    /// The file cannot be read.
    #[error("the file of the books cannot be read")]
    Read(#[source] io::Error),
    /// The bytes are not what was written.
    #[error("the file of the books is damaged")]
    Damaged,
    /// The bytes are no books.
    #[error("the file of the books is not valid")]
    Decode(#[from] DecodeError),
    /// They are those of another journal.
    #[error("the books are those of another journal")]
    Store,
}

/// How long all books together may keep who counts in them from counting on, and this from going on.
const PATIENCE: Duration = Duration::from_millis(500);

/// Returns all books as bytes; nothing if somebody counts in one for too long, as while the disk is full.
pub(crate) fn encode(streams: &Streams, store: u128) -> Option<Vec<u8>> {
    let marks = streams.marks();
    let deadline = Instant::now() + PATIENCE;
    let mut out = Vec::new();
    let mut writer = ByteWriter::new(&mut out);
    writer.raw(MAGIC);
    writer.u8(VERSION);
    writer.u128(store);
    writer.count(marks.len());
    for mark in marks {
        writer.text(mark.agent().as_str());
        writer.text(mark.stream().as_str());
        writer.u128(mark.epoch().0);
        mark.book_before(deadline)?.encode(&mut writer);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Some(out)
}

/// Writes the bytes of all books; on return they are durable and the ones before are gone.
///
/// # Errors
/// The file cannot be written, synced or renamed; the ones before are then still there.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Reads all books; none if there is no file.
///
/// # Errors
/// [`BooksError`], and then no book has been taken over.
pub(crate) fn load(path: &Path, store: u128, streams: &Streams) -> Result<bool, BooksError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(BooksError::Read(error)),
    };
    for (agent, stream, epoch, book) in decode(&bytes, store, streams.source_room())? {
        streams.restore_book(&agent, &stream, epoch, book);
    }
    Ok(true)
}

type OwnedBook = (AgentId, StreamName, Epoch, Book);

fn decode(bytes: &[u8], store: u128, room: &SourceRoom) -> Result<Vec<OwnedBook>, BooksError> {
    let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(BooksError::Damaged)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(BooksError::Damaged);
    }
    let mut reader = ByteReader::new(content);
    if reader.take(MAGIC.len(), "books magic")? != MAGIC {
        return Err(DecodeError::Invalid { what: "books magic", offset: 0 }.into());
    }
    let version = reader.u8("books version")?;
    if version != VERSION {
        return Err(DecodeError::Version { what: "a file of books", got: version, known: VERSION }.into());
    }
    if reader.u128("store")? != store {
        return Err(BooksError::Store);
    }
    let mut books = Vec::new();
    for _ in 0..reader.count(MAX_BOOKS, "number of books")? {
        let offset = reader.offset();
        let invalid = |what| DecodeError::Invalid { what, offset };
        let agent = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let stream = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        books.push((agent, stream, epoch, Book::decode(&mut reader, room.clone())?));
    }
    reader.finish("end of books")?;
    Ok(books)
}

#[cfg(test)]
mod tests {
    use canh_event::{GapReason, RecordSequence};

    use super::*;

    fn streams() -> Streams {
        let streams = Streams::new(4);
        for (agent, count) in [("a", 5), ("b", 7)] {
            let (agent, stream) = (agent.parse().unwrap(), "log".parse().unwrap());
            let mut book = Book::new(streams.source_room().clone());
            book.note_gap(RecordSequence(1), count, GapReason::SpoolFull, &[]);
            streams.restore_book(&agent, &stream, Epoch(1), book);
        }
        streams
    }

    fn totals(streams: &Streams) -> Vec<u64> {
        let mut totals: Vec<_> = streams.marks().iter().map(|mark| mark.book().total()).collect();
        totals.sort_unstable();
        totals
    }

    #[test]
    fn books_come_back_from_their_file_and_those_of_another_store_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("books");
        assert!(!load(&path, 9, &Streams::new(4)).unwrap());
        save(&path, &encode(&streams(), 9).unwrap()).unwrap();
        let again = Streams::new(4);
        assert!(load(&path, 9, &again).unwrap());
        assert_eq!(totals(&again), [5, 7]);
        assert!(matches!(load(&path, 8, &Streams::new(4)), Err(BooksError::Store)));
    }

    #[test]
    fn every_byte_that_is_changed_or_missing_is_seen() {
        let bytes = encode(&streams(), 9).unwrap();
        let room = SourceRoom::new(9);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at], 9, &room).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode(&changed, 9, &room).is_err(), "{at}");
        }
    }

    #[test]
    fn book_that_somebody_counts_in_for_long_is_not_waited_for() {
        let streams = streams();
        let marks = streams.marks();
        let _counting = marks[0].book();
        assert!(encode(&streams, 9).is_none());
        assert_eq!(streams.marks().len(), 2, "and nobody else waits for it");
    }
}
