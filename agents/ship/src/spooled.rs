//! What the spool's journal holds, as bytes.
//!
//! ```text
//! kind 1, records:     magic "CSR" │ version u8 │ first sequence u64 │ cursors │ parts count u32
//!                      part: records u32 │ zstd u8 │ raw length u32 │ packed length u32 │ packed bytes
//! kind 2, checkpoint:  magic "CSK" │ version u8 │ epoch u128 │ floor u64 │ next u64 │ acknowledged u64 │ cursors
//! cursors:             count u32 │ each: source name text │ payload length u32 │ payload
//! ```
//!
//! A record of kind 1 is one submitted batch, its place in the stream, and the cursors its sources
//! had reached: one record, so a crash keeps or forgets all three together. The batch is packed
//! already, in parts short enough for one frame each. A checkpoint holds the cursors of all
//! sources, so that a start need not read the whole spool.

use std::collections::BTreeMap;

use canh_event::{ByteReader, ByteWriter, DecodeError, Epoch, RecordSequence, SourceName};
use canh_wire::{MAX_BODY_BYTES, MAX_RAW_BODY_BYTES, Packed};

pub(crate) const KIND_RECORDS: u8 = 1;
pub(crate) const KIND_CHECKPOINT: u8 = 2;

const RECORDS_MAGIC: &[u8; 3] = b"CSR";
const CHECKPOINT_MAGIC: &[u8; 3] = b"CSK";
const VERSION: u8 = 1;

/// Most sources whose cursors are kept.
pub(crate) const MAX_CURSORS: usize = 65_536;
/// Longest cursor of a source, in bytes.
pub(crate) const MAX_CURSOR_BYTES: usize = 16 << 10;
/// Most bytes of all cursors together: a checkpoint is one journal record of at most 16 MiB.
pub(crate) const MAX_CURSORS_BYTES: usize = 8 << 20;
/// Most parts of a batch: one a record.
const MAX_PARTS: usize = 4_096;

/// Where each source has got to, in its own words.
pub(crate) type Cursors = BTreeMap<SourceName, Vec<u8>>;

/// Records of one batch that go in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) count: u32,
    pub(crate) packed: Packed,
}

/// One submitted batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpooledBatch {
    pub(crate) first: RecordSequence,
    pub(crate) cursors: Vec<(SourceName, Vec<u8>)>,
    pub(crate) parts: Vec<Part>,
}

/// What a start must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) epoch: Epoch,
    /// The first record that counts in this epoch.
    pub(crate) floor: RecordSequence,
    /// The next record's sequence.
    pub(crate) next: RecordSequence,
    /// Known to be acknowledged when this was written.
    pub(crate) acknowledged: RecordSequence,
    pub(crate) cursors: Cursors,
}

impl SpooledBatch {
    /// Returns how many records there are.
    pub(crate) fn count(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.count)).sum()
    }

    /// Returns the sequence of the next batch's first record.
    pub(crate) fn next(&self) -> RecordSequence {
        RecordSequence(self.first.0.saturating_add(self.count()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let packed: usize = self.parts.iter().map(|part| part.packed.bytes().len() + 16).sum();
        let mut out = Vec::with_capacity(packed + 256);
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(RECORDS_MAGIC);
        writer.u8(VERSION);
        writer.u64(self.first.0);
        encode_cursors(&mut writer, self.cursors.iter().map(|(name, cursor)| (name, cursor)));
        writer.count(self.parts.len());
        for Part { count, packed } in &self.parts {
            writer.u32(*count);
            writer.u8(u8::from(packed.is_zstd()));
            writer.count(packed.raw_len());
            writer.count(packed.bytes().len());
            writer.raw(packed.bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        check_magic(&mut reader, RECORDS_MAGIC, "a spooled batch")?;
        let first = RecordSequence(reader.u64("first sequence")?);
        let cursors = decode_cursors(&mut reader)?;
        let mut parts = Vec::new();
        for _ in 0..reader.count(MAX_PARTS, "part count")? {
            parts.push(decode_part(&mut reader)?);
        }
        reader.finish("end of a spooled batch")?;
        Ok(Self { first, cursors, parts })
    }
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(CHECKPOINT_MAGIC);
        writer.u8(VERSION);
        writer.u128(self.epoch.0);
        for sequence in [self.floor, self.next, self.acknowledged] {
            writer.u64(sequence.0);
        }
        encode_cursors(&mut writer, self.cursors.iter());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        check_magic(&mut reader, CHECKPOINT_MAGIC, "a checkpoint")?;
        let epoch = Epoch(reader.u128("epoch")?);
        let floor = RecordSequence(reader.u64("floor")?);
        let next = RecordSequence(reader.u64("next sequence")?);
        let acknowledged = RecordSequence(reader.u64("acknowledged sequence")?);
        let cursors = decode_cursors(&mut reader)?.into_iter().collect();
        reader.finish("end of a checkpoint")?;
        Ok(Self { epoch, floor, next, acknowledged, cursors })
    }
}

/// Merges cursors into what is known; an empty one forgets its source.
pub(crate) fn merge(known: &mut Cursors, cursors: &[(SourceName, Vec<u8>)]) {
    for (name, cursor) in cursors {
        if cursor.is_empty() {
            known.remove(name);
        } else {
            known.insert(name.clone(), cursor.clone());
        }
    }
}

/// Returns how many bytes cursors take up in a record.
pub(crate) fn encoded_len<'a>(cursors: impl Iterator<Item = (&'a SourceName, &'a Vec<u8>)>) -> usize {
    cursors.map(|(name, cursor)| name.as_str().len() + cursor.len() + 8).sum()
}

fn check_magic(reader: &mut ByteReader<'_>, magic: &[u8; 3], what: &'static str) -> Result<(), DecodeError> {
    if reader.take(magic.len(), what)? != magic {
        return Err(DecodeError::Invalid { what, offset: 0 });
    }
    match reader.u8(what)? {
        VERSION => Ok(()),
        got => Err(DecodeError::Version { what, got, known: VERSION }),
    }
}

fn encode_cursors<'a>(
    writer: &mut ByteWriter<'_>,
    cursors: impl ExactSizeIterator<Item = (&'a SourceName, &'a Vec<u8>)>,
) {
    writer.count(cursors.len());
    for (name, cursor) in cursors {
        writer.text(name.as_str());
        writer.count(cursor.len());
        writer.raw(cursor);
    }
}

fn decode_cursors(reader: &mut ByteReader<'_>) -> Result<Vec<(SourceName, Vec<u8>)>, DecodeError> {
    let mut cursors = Vec::new();
    for _ in 0..reader.count(MAX_CURSORS, "cursor count")? {
        let offset = reader.offset();
        let name = reader.text(255, "source name")?.parse();
        let name = name.map_err(|_| DecodeError::Invalid { what: "source name", offset })?;
        let length = reader.count(MAX_CURSOR_BYTES, "cursor length")?;
        cursors.push((name, reader.take(length, "cursor")?.to_vec()));
    }
    Ok(cursors)
}

fn decode_part(reader: &mut ByteReader<'_>) -> Result<Part, DecodeError> {
    let count = reader.u32("record count")?;
    let is_zstd = reader.u8("packing")? != 0;
    let raw_len = reader.count(MAX_RAW_BODY_BYTES, "raw length")?;
    let length = reader.count(MAX_BODY_BYTES, "packed length")?;
    let offset = reader.offset();
    let bytes = reader.take(length, "packed records")?.to_vec();
    let packed = Packed::from_parts(is_zstd, raw_len, bytes);
    Ok(Part { count, packed: packed.map_err(|_| DecodeError::Invalid { what: "packed records", offset })? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = Vec<(SourceName, Vec<u8>)>> {
        let cursor = ("[a-z/]{1,20}", proptest::collection::vec(any::<u8>(), 0..30));
        proptest::collection::vec(cursor.prop_map(|(name, cursor)| (name.parse().unwrap(), cursor)), 0..5)
    }

    fn part() -> impl Strategy<Value = Part> {
        (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50))
            .prop_map(|(count, bytes)| Part { count, packed: Packed::from_parts(false, bytes.len(), bytes).unwrap() })
    }

    proptest! {
        #[test]
        fn batches_and_checkpoints_come_back_and_changed_bytes_never_panic(
            first in any::<u64>(), cursors in cursors(), parts in proptest::collection::vec(part(), 0..4),
            epoch in any::<u128>(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let checkpoint = Checkpoint {
                epoch: Epoch(epoch),
                floor: RecordSequence(first / 3),
                next: RecordSequence(first),
                acknowledged: RecordSequence(first / 2),
                cursors: cursors.iter().cloned().collect(),
            };
            let batch = SpooledBatch { first: RecordSequence(first), cursors, parts };
            let mut bytes = batch.encode();
            prop_assert_eq!(SpooledBatch::decode(&bytes).unwrap(), batch);
            prop_assert!(SpooledBatch::decode(&bytes[..at.index(bytes.len())]).is_err());
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            let _ = SpooledBatch::decode(&bytes);

            let mut bytes = checkpoint.encode();
            prop_assert_eq!(Checkpoint::decode(&bytes).unwrap(), checkpoint);
            prop_assert!(Checkpoint::decode(&bytes[..at.index(bytes.len())]).is_err());
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            let _ = Checkpoint::decode(&bytes);
        }
    }

    #[test]
    fn empty_cursor_forgets_its_source() {
        let [a, b] = ["a", "b"].map(|name| name.parse::<SourceName>().unwrap());
        let mut known = Cursors::from([(a.clone(), vec![1]), (b.clone(), vec![2])]);
        merge(&mut known, &[(a, Vec::new()), (b.clone(), vec![3])]);
        assert_eq!(known, Cursors::from([(b, vec![3])]));
    }
}
