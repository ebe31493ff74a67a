//! Records as they were read: bytes, when, and from which source. What agents send.
//!
//! Comes in: lines and datagrams. Goes out: a batch of at most 4,096 records, as bytes:
//!
//! ```text
//! magic "CRB" │ version u8
//! sources count u32, each: name, host, format as texts, utc offset i64 (seconds)
//! records count u32 │ received records×i64 │ source index records×u16 │ cut records×u8 │ ends records×u32 │ bytes
//! ```

use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::ids::{SourceName, StreamName};
use crate::limits::{MAX_BATCH_ROWS, MAX_RAW_BYTES, MAX_RECORD_BYTES, MAX_TABLE_ENTRIES};
use crate::time::Timestamp;

const MAGIC: &[u8; 3] = b"CRB";
const VERSION: u8 = 1;
/// No place on Earth is further from UTC than 14 hours.
const MAX_OFFSET_SECS: i64 = 14 * 3_600;

/// One place on a host where records are read, and what is known of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name: a path, `journald`, an interface.
    pub name: SourceName,
    /// The host's name, as the agent knows it; at most 255 bytes.
    pub host: Box<str>,
    /// The format its records are in: the name of a parser, or `auto`.
    pub format: StreamName,
    /// Seconds east of UTC of times that state no zone.
    pub utc_offset_secs: i32,
}

/// A source's place in a [`RecordBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(u16);

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it was read.
    pub received: Timestamp,
    /// Where it was read.
    pub source: &'a Source,
    /// Whether the agent cut it at the longest record's length; the event then has a field that says so.
    pub is_cut: bool,
    /// What was read, without the line's end.
    pub bytes: &'a [u8],
}

/// Up to 4,096 records in the order they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordBatch {
    sources: Vec<Source>,
    received: Vec<Timestamp>,
    source_of: Vec<u16>,
    cut: Vec<bool>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// How many records of one source there are in a run, and when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTally<'a> {
    /// The source's name.
    pub source: &'a SourceName,
    /// How many records; at least one.
    pub count: u64,
    /// How many of them their agent had cut.
    pub cut: u64,
    /// When the earliest of them was read.
    pub first: Timestamp,
    /// When the latest of them was read.
    pub last: Timestamp,
}

/// What a record batch has no room for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record batch has no room for {what}, limit is {limit}")]
pub struct RecordBatchError {
    what: &'static str,
    limit: usize,
}

impl RecordBatch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the records have together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the id of a source, adding it if it is new.
    ///
    /// # Errors
    /// More than 4,096 sources.
    pub fn source(&mut self, source: &Source) -> Result<SourceId, RecordBatchError> {
        if let Some(index) = self.sources.iter().rposition(|known| known == source) {
            return Ok(SourceId(u16::try_from(index).unwrap_or(u16::MAX)));
        }
        if self.sources.len() >= MAX_TABLE_ENTRIES {
            return Err(RecordBatchError { what: "sources", limit: MAX_TABLE_ENTRIES });
        }
        self.sources.push(source.clone());
        Ok(SourceId(u16::try_from(self.sources.len() - 1).unwrap_or(u16::MAX)))
    }

    /// Adds a record. Bytes past 1 MiB are cut off and the record says so.
    ///
    /// # Errors
    /// The batch has 4,096 records or no room for the bytes: send it and begin the next. An empty
    /// batch takes any record.
    pub fn push(&mut self, source: SourceId, received: Timestamp, record: &[u8]) -> Result<(), RecordBatchError> {
        let kept = record.get(..MAX_RECORD_BYTES).unwrap_or(record);
        if self.len() >= MAX_BATCH_ROWS {
            return Err(RecordBatchError { what: "records", limit: MAX_BATCH_ROWS });
        }
        if self.bytes.len() + kept.len() > MAX_RAW_BYTES {
            return Err(RecordBatchError { what: "bytes", limit: MAX_RAW_BYTES });
        }
        self.bytes.extend_from_slice(kept);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.cut.push(kept.len() < record.len());
        self.source_of.push(source.0);
        self.received.push(received);
        Ok(())
    }

    /// Marks the last record as cut, when its reader cut it before handing it over.
    pub fn mark_last_cut(&mut self) {
        if let Some(cut) = self.cut.last_mut() {
            *cut = true;
        }
    }

    /// Returns one record.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        Some(Record {
            received: *self.received.get(index)?,
            source: self.sources.get(usize::from(*self.source_of.get(index)?))?,
            is_cut: *self.cut.get(index)?,
            bytes: self.bytes.get(start as usize..end as usize)?,
        })
    }

    /// Returns all records in order.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Returns how many records of each source there are among those from `from` up to before `to`,
    /// in the order of the sources' names, each name once.
    pub fn tally(&self, from: usize, to: usize) -> Vec<SourceTally<'_>> {
        let mut by_index: Vec<Option<SourceTally<'_>>> = vec![None; self.sources.len()];
        for index in from..to.min(self.len()) {
            let source = self.source_of.get(index).map(|source| usize::from(*source));
            let name = source.and_then(|source| self.sources.get(source)).map(|source| &source.name);
            let place = source.and_then(|source| by_index.get_mut(source));
            let (Some(name), Some(place), Some(at)) = (name, place, self.received.get(index).copied()) else { break };
            let tally = place.get_or_insert(SourceTally { source: name, count: 0, cut: 0, first: at, last: at });
            tally.count += 1;
            tally.cut += u64::from(self.cut.get(index).copied().unwrap_or(false));
            (tally.first, tally.last) = (tally.first.min(at), tally.last.max(at));
        }
        let mut tallies: Vec<SourceTally<'_>> = by_index.into_iter().flatten().collect();
        tallies.sort_by(|left, right| left.source.cmp(right.source));
        // One path may stand in the table twice: its zone has changed, for one.
        tallies.dedup_by(|next, kept| {
            let is_same = next.source == kept.source;
            if is_same {
                kept.count += next.count;
                kept.cut += next.cut;
                (kept.first, kept.last) = (kept.first.min(next.first), kept.last.max(next.last));
            }
            is_same
        });
        tallies
    }

    /// Returns the sources, in the order in which they were added.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Forgets all records and sources, and keeps the allocations.
    pub fn clear(&mut self) {
        self.sources.clear();
        self.received.clear();
        self.source_of.clear();
        self.cut.clear();
        self.ends.clear();
        self.bytes.clear();
    }

    /// Appends the batch as bytes; [`RecordBatch::decode`] reads them back.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.count(self.sources.len());
        for source in &self.sources {
            writer.text(source.name.as_str());
            writer.text(&source.host);
            writer.text(source.format.as_str());
            writer.i64(i64::from(source.utc_offset_secs));
        }
        writer.count(self.len());
        self.received.iter().for_each(|time| writer.i64(time.nanos()));
        self.source_of.iter().for_each(|index| writer.u16(*index));
        self.cut.iter().for_each(|cut| writer.u8(u8::from(*cut)));
        self.ends.iter().for_each(|end| writer.u32(*end));
        writer.raw(&self.bytes);
    }

    /// Reads a batch that [`RecordBatch::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; never a panic, never more memory than a
    /// small multiple of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut batch = Self::new();
        batch.decode_into(bytes)?;
        Ok(batch)
    }

    /// Reads a batch as [`RecordBatch::decode`] does, in place of this one and into its memory. After
    /// an error it is empty.
    ///
    /// # Errors
    /// As [`RecordBatch::decode`].
    pub fn decode_into(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.clear();
        let decoded = self.fill_from(bytes);
        if decoded.is_err() {
            self.clear();
        }
        decoded
    }

    fn fill_from(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len(), "record batch magic")? != MAGIC {
            return Err(DecodeError::Invalid { what: "record batch magic", offset: 0 });
        }
        let version = reader.u8("record batch version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a record batch", got: version, known: VERSION });
        }
        self.sources = decode_sources(&mut reader)?;
        let count = reader.count(MAX_BATCH_ROWS, "record count")?;
        let (times, _) = reader.take(count * 8, "received times")?.as_chunks::<8>();
        self.received.extend(times.iter().map(|time| Timestamp::from_nanos(i64::from_le_bytes(*time))));
        let offset = reader.offset();
        let (indices, _) = reader.take(count * 2, "source indices")?.as_chunks::<2>();
        self.source_of.extend(indices.iter().map(|index| u16::from_le_bytes(*index)));
        if !self.source_of.iter().all(|index| usize::from(*index) < self.sources.len()) {
            return Err(DecodeError::Invalid { what: "source index", offset });
        }
        self.cut.extend(reader.take(count, "cut marks")?.iter().map(|mark| *mark != 0));
        let offset = reader.offset();
        let (ends, _) = reader.take(count * 4, "record ends")?.as_chunks::<4>();
        self.ends.extend(ends.iter().map(|end| u32::from_le_bytes(*end)));
        let last = check_ends(&self.ends).ok_or(DecodeError::Invalid { what: "record end", offset })?;
        self.bytes.extend_from_slice(reader.take(last, "records")?);
        reader.finish("end of record batch")
    }
}

/// Returns the last end; nothing if one is before its predecessor, or a record or all of them are too long.
fn check_ends(ends: &[u32]) -> Option<usize> {
    let mut last = 0;
    for end in ends {
        let length = end.checked_sub(last)?;
        if length as usize > MAX_RECORD_BYTES {
            return None;
        }
        last = *end;
    }
    Some(last as usize).filter(|last| *last <= MAX_RAW_BYTES)
}

fn decode_sources(reader: &mut ByteReader<'_>) -> Result<Vec<Source>, DecodeError> {
    let count = reader.count(MAX_TABLE_ENTRIES, "source count")?;
    let mut sources = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let invalid = |what| DecodeError::Invalid { what, offset };
        let name = reader.text(255, "source name")?.parse().map_err(|_| invalid("source name"))?;
        let host = Box::from(reader.text(255, "host name")?);
        let format = reader.text(63, "format name")?.parse().map_err(|_| invalid("format name"))?;
        let seconds = reader.i64("utc offset")?;
        let in_range = (-MAX_OFFSET_SECS..=MAX_OFFSET_SECS).contains(&seconds);
        let utc_offset_secs = i32::try_from(seconds).ok().filter(|_| in_range).ok_or(invalid("utc offset"))?;
        sources.push(Source { name, host, format, utc_offset_secs });
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source() -> Source {
        Source {
            name: "/var/log/auth.log".parse().unwrap(),
            host: Box::from("web-01"),
            format: "auto".parse().unwrap(),
            utc_offset_secs: 25_200,
        }
    }

    fn build(records: &[Vec<u8>]) -> RecordBatch {
        let mut batch = RecordBatch::new();
        let id = batch.source(&source()).unwrap();
        for record in records {
            batch.push(id, Timestamp::from_secs(7), record).unwrap();
        }
        batch
    }

    proptest! {
        #[test]
        fn every_batch_comes_back_as_it_was(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..30),
        ) {
            let batch = build(&records);
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            let again = RecordBatch::decode(&bytes).unwrap();
            prop_assert_eq!(&again, &batch);
            prop_assert_eq!(again.iter().map(|record| record.bytes.to_vec()).collect::<Vec<_>>(), records);
        }

        #[test]
        fn bytes_cut_or_changed_never_panic(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..30),
            cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let mut bytes = Vec::new();
            build(&records).encode(&mut bytes);
            prop_assert!(RecordBatch::decode(&bytes[..cut.index(bytes.len())]).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(batch) = RecordBatch::decode(&bytes) {
                prop_assert_eq!(batch.iter().count(), batch.len());
            }
        }
    }

    #[test]
    fn long_record_is_cut_and_says_so() {
        let batch = build(&[vec![b'x'; MAX_RECORD_BYTES + 5], b"short".to_vec()]);
        let cut: Vec<_> = batch.iter().map(|record| (record.bytes.len(), record.is_cut)).collect();
        assert_eq!(cut, [(MAX_RECORD_BYTES, true), (5, false)]);
    }

    #[test]
    fn tally_counts_a_run_by_name_with_its_times() {
        let mut batch = RecordBatch::new();
        let other = Source { name: "/b".parse().unwrap(), ..source() };
        let again = Source { utc_offset_secs: 0, ..source() };
        for (from, at) in [(&other, 1), (&source(), 5), (&again, 3), (&source(), 4), (&other, 9)] {
            let id = batch.source(from).unwrap();
            batch.push(id, Timestamp::from_secs(at), b"x").unwrap();
        }
        batch.mark_last_cut();
        let shown = |from, to| -> Vec<_> {
            let tallies = batch.tally(from, to);
            let told = |it: SourceTally<'_>| (it.source.to_string(), it.count, it.cut, it.first.secs(), it.last.secs());
            tallies.into_iter().map(told).collect()
        };
        let own = "/var/log/auth.log".to_owned();
        assert_eq!(shown(0, 5), [("/b".to_owned(), 2, 1, 1, 9), (own.clone(), 3, 0, 3, 5)]);
        assert_eq!(shown(1, 3), [(own, 2, 0, 3, 5)]);
        assert_eq!(shown(5, 9), []);
    }

    #[test]
    fn full_batch_says_so() {
        let mut batch = build(&vec![Vec::new(); MAX_BATCH_ROWS]);
        let id = batch.source(&source()).unwrap();
        assert!(batch.push(id, Timestamp::EPOCH, b"").is_err());
    }
}
