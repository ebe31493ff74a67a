//! What the spool's journals hold, as bytes.
//!
//! ```text
//! kind 1, records:     magic "CSR" │ version u8 │ turn u64 │ first sequence u64 │ cursors │ tallies │ parts
//! kind 2, checkpoint:  magic "CSK" │ version u8 │ turn u64 │ epoch u128 │ floor u64 │ next u64 │ acknowledged u64
//!                      stores │ cursors │ accounts │ dropped
//! cursors:   count u32, each: source name text │ payload length u32 │ payload
//! tallies:   count u32, each: records u64 │ first i64 │ last i64 │ account
//! parts:     count u32, each: records u32 │ 0 raw, 1 zstd: raw length u32 │ packed length u32 │ packed bytes
//!                                         │ 2 lost: reason u8 │ losses
//! stores:    count u32, each: id u128 │ acknowledged u64
//! accounts:  count u32, each: account            dropped: count u32, each: first u64 │ records u64 │ told u8 │ losses
//! ```
//!
//! A record of kind 1 is one submitted batch, its place in the stream, the cursors its sources had
//! reached, and how much they had produced by then: one record, so a crash keeps or forgets all of it
//! together. The batch is packed already, in parts short enough for one frame each; records that were
//! lost before they could be spooled have their place among them. Every record of a spool has a turn,
//! one more than the one before, whichever journal it is in. A checkpoint holds what a start must know,
//! so that it need not read the whole spool.

use std::collections::BTreeMap;

use canh_event::{
    ByteReader, ByteWriter, DecodeError, Epoch, GapReason, RecordSequence, SourceAccount, SourceLoss, SourceName,
    Timestamp, decode_losses, encode_losses,
};
use canh_wire::{MAX_BODY_BYTES, MAX_RAW_BODY_BYTES, Packed};

/// The kind of a journal record that holds a batch.
pub const KIND_RECORDS: u8 = 1;
/// The kind of a journal record that holds a checkpoint.
pub const KIND_CHECKPOINT: u8 = 2;

const RECORDS_MAGIC: &[u8; 3] = b"CSR";
const CHECKPOINT_MAGIC: &[u8; 3] = b"CSK";
const VERSION: u8 = 2;

/// Most sources whose cursors are kept.
pub(crate) const MAX_CURSORS: usize = 65_536;
/// Longest cursor of a source, in bytes.
pub(crate) const MAX_CURSOR_BYTES: usize = 16 << 10;
/// Most bytes of all cursors together: a checkpoint is one journal record of at most 16 MiB.
pub(crate) const MAX_CURSORS_BYTES: usize = 8 << 20;
/// Most parts of a batch: one a record, and as many for records lost.
const MAX_PARTS: usize = 8_192;
/// Most sources that are counted by name; records of others are in the stream's count only.
pub(crate) const MAX_ACCOUNTS: usize = 1_024;
/// Most runs of records dropped from the spool that are kept in mind: at most 4 MiB of a checkpoint
/// with few sources each.
pub(crate) const MAX_DROPPED: usize = 8_192;
/// Most stores that are remembered.
pub(crate) const MAX_STORES: usize = 16;

/// Where each source has got to, in its own words.
pub(crate) type Cursors = BTreeMap<SourceName, Vec<u8>>;
/// What each source has produced.
pub(crate) type Accounts = BTreeMap<SourceName, SourceAccount>;

/// Records of one batch that go in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many records.
    pub count: u32,
    /// The records, or why there are none.
    pub content: Content,
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Records.
    Records(Packed),
    /// Records that were lost before they could be spooled.
    Lost {
        /// Why.
        reason: GapReason,
        /// Of which sources.
        sources: Vec<SourceLoss>,
    },
}

/// What one batch says of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Records of it in the batch, those lost among them.
    pub count: u64,
    /// When the first of them was read.
    pub first: Timestamp,
    /// When the last of them was read.
    pub last: Timestamp,
    /// What the source has produced with this batch.
    pub account: SourceAccount,
}

/// One submitted batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpooledBatch {
    /// Its place among the records of the spool.
    pub turn: u64,
    /// The sequence of its first record.
    pub first: RecordSequence,
    /// Where its sources had got to.
    pub cursors: Vec<(SourceName, Vec<u8>)>,
    /// What its sources had produced.
    pub tallies: Vec<Tally>,
    /// Its records.
    pub parts: Vec<Part>,
}

/// A run of records that was dropped from the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How many records.
    pub count: u64,
    /// Whether a collector has acknowledged the gap.
    pub is_told: bool,
    /// Of which sources they were, as far as is known.
    pub sources: Vec<SourceLoss>,
}

/// What a start must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its place among the records of the spool: it knows all of those before.
    pub turn: u64,
    /// The life of the spool.
    pub epoch: Epoch,
    /// The first record that counts in this epoch.
    pub floor: RecordSequence,
    /// The next record's sequence.
    pub next: RecordSequence,
    /// Known to be acknowledged when this was written.
    pub acknowledged: RecordSequence,
    /// Up to where each store has acknowledged this epoch, as far as was known.
    pub stores: BTreeMap<u128, RecordSequence>,
    /// Where each source has got to.
    pub cursors: BTreeMap<SourceName, Vec<u8>>,
    /// What each source has produced.
    pub accounts: BTreeMap<SourceName, SourceAccount>,
    /// What was dropped from the spool, by first sequence.
    pub dropped: BTreeMap<u64, Dropped>,
}

impl Part {
    /// Returns how many bytes it takes up packed.
    pub(crate) fn packed_len(&self) -> usize {
        match &self.content {
            Content::Records(packed) => packed.bytes().len(),
            Content::Lost { .. } => 0,
        }
    }
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

    /// Returns it as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let packed: usize = self.parts.iter().map(|part| part.packed_len() + 16).sum();
        let mut out = Vec::with_capacity(packed + 256);
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(RECORDS_MAGIC);
        writer.u8(VERSION);
        writer.u64(self.turn);
        writer.u64(self.first.0);
        encode_cursors(&mut writer, self.cursors.iter().map(|(name, cursor)| (name, cursor)));
        writer.count(self.tallies.len());
        for tally in &self.tallies {
            writer.u64(tally.count);
            writer.i64(tally.first.nanos());
            writer.i64(tally.last.nanos());
            tally.account.encode(&mut writer);
        }
        writer.count(self.parts.len());
        self.parts.iter().for_each(|part| encode_part(&mut writer, part));
        out
    }

    /// Reads what [`SpooledBatch::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        check_magic(&mut reader, RECORDS_MAGIC, "a spooled batch")?;
        let turn = reader.u64("turn")?;
        let first = RecordSequence(reader.u64("first sequence")?);
        let cursors = decode_cursors(&mut reader)?;
        let mut tallies = Vec::new();
        for _ in 0..reader.count(MAX_ACCOUNTS, "tally count")? {
            let count = reader.u64("records of a source")?;
            let (first, last) = (decode_time(&mut reader)?, decode_time(&mut reader)?);
            tallies.push(Tally { count, first, last, account: SourceAccount::decode(&mut reader)? });
        }
        let mut parts = Vec::new();
        for _ in 0..reader.count(MAX_PARTS, "part count")? {
            parts.push(decode_part(&mut reader)?);
        }
        reader.finish("end of a spooled batch")?;
        Ok(Self { turn, first, cursors, tallies, parts })
    }
}

impl Checkpoint {
    /// Returns it as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(CHECKPOINT_MAGIC);
        writer.u8(VERSION);
        writer.u64(self.turn);
        writer.u128(self.epoch.0);
        for sequence in [self.floor, self.next, self.acknowledged] {
            writer.u64(sequence.0);
        }
        writer.count(self.stores.len());
        for (store, acknowledged) in &self.stores {
            writer.u128(*store);
            writer.u64(acknowledged.0);
        }
        encode_cursors(&mut writer, self.cursors.iter());
        writer.count(self.accounts.len());
        self.accounts.values().for_each(|account| account.encode(&mut writer));
        writer.count(self.dropped.len());
        for (first, dropped) in &self.dropped {
            writer.u64(*first);
            writer.u64(dropped.count);
            writer.u8(u8::from(dropped.is_told));
            encode_losses(&dropped.sources, &mut writer);
        }
        out
    }

    /// Reads what [`Checkpoint::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        check_magic(&mut reader, CHECKPOINT_MAGIC, "a checkpoint")?;
        let turn = reader.u64("turn")?;
        let epoch = Epoch(reader.u128("epoch")?);
        let floor = RecordSequence(reader.u64("floor")?);
        let next = RecordSequence(reader.u64("next sequence")?);
        let acknowledged = RecordSequence(reader.u64("acknowledged sequence")?);
        let mut stores = BTreeMap::new();
        for _ in 0..reader.count(MAX_STORES, "store count")? {
            stores.insert(reader.u128("store")?, RecordSequence(reader.u64("acknowledged by a store")?));
        }
        let cursors = decode_cursors(&mut reader)?.into_iter().collect();
        let mut accounts = Accounts::new();
        for _ in 0..reader.count(MAX_ACCOUNTS, "account count")? {
            let account = SourceAccount::decode(&mut reader)?;
            accounts.insert(account.source.clone(), account);
        }
        let mut dropped = BTreeMap::new();
        for _ in 0..reader.count(MAX_DROPPED, "dropped count")? {
            let offset = reader.offset();
            let (first, count) = (reader.u64("first dropped")?, reader.u64("records dropped")?);
            let is_told = reader.u8("told")? != 0;
            if first.checked_add(count).is_none() || count == 0 {
                return Err(DecodeError::Invalid { what: "records dropped", offset });
            }
            dropped.insert(first, Dropped { count, is_told, sources: decode_losses(&mut reader, count)? });
        }
        reader.finish("end of a checkpoint")?;
        Ok(Self { turn, epoch, floor, next, acknowledged, stores, cursors, accounts, dropped })
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

fn encode_part(writer: &mut ByteWriter<'_>, part: &Part) {
    writer.u32(part.count);
    match &part.content {
        Content::Records(packed) => {
            writer.u8(u8::from(packed.is_zstd()));
            writer.count(packed.raw_len());
            writer.count(packed.bytes().len());
            writer.raw(packed.bytes());
        }
        Content::Lost { reason, sources } => {
            writer.u8(2);
            writer.u8(reason.code());
            encode_losses(sources, writer);
        }
    }
}

fn decode_part(reader: &mut ByteReader<'_>) -> Result<Part, DecodeError> {
    let count = reader.u32("record count")?;
    let offset = reader.offset();
    let is_zstd = match reader.u8("packing")? {
        0 => false,
        1 => true,
        2 => {
            let reason = GapReason::from_code(reader.u8("gap reason")?);
            let reason = reason.ok_or(DecodeError::Invalid { what: "gap reason", offset })?;
            let sources = decode_losses(reader, u64::from(count))?;
            return Ok(Part { count, content: Content::Lost { reason, sources } });
        }
        _ => return Err(DecodeError::Invalid { what: "packing", offset }),
    };
    let raw_len = reader.count(MAX_RAW_BODY_BYTES, "raw length")?;
    let length = reader.count(MAX_BODY_BYTES, "packed length")?;
    let offset = reader.offset();
    let bytes = reader.take(length, "packed records")?.to_vec();
    let packed = Packed::from_parts(is_zstd, raw_len, bytes);
    let packed = packed.map_err(|_| DecodeError::Invalid { what: "packed records", offset })?;
    Ok(Part { count, content: Content::Records(packed) })
}

fn decode_time(reader: &mut ByteReader<'_>) -> Result<Timestamp, DecodeError> {
    reader.i64("time").map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = Vec<(SourceName, Vec<u8>)>> {
        let cursor = ("[a-z/]{1,20}", proptest::collection::vec(any::<u8>(), 0..30));
        proptest::collection::vec(cursor.prop_map(|(name, cursor)| (name.parse().unwrap(), cursor)), 0..5)
    }

    fn losses() -> impl Strategy<Value = Vec<SourceLoss>> {
        let losses = proptest::collection::btree_map("[a-z/]{1,9}", (1..1_000_u64, any::<i64>()), 0..3);
        losses.prop_map(|losses| {
            let loss = |(source, (count, at)): (String, _)| {
                let at = Timestamp::from_nanos(at);
                SourceLoss { source: source.parse().unwrap(), count, first: at, last: at }
            };
            losses.into_iter().map(loss).collect()
        })
    }

    fn part() -> impl Strategy<Value = Part> {
        let records = (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50)).prop_map(|(count, bytes)| Part {
            count,
            content: Content::Records(Packed::from_parts(false, bytes.len(), bytes).unwrap()),
        });
        let reason = proptest::sample::select(GapReason::ALL);
        let lost = (3_000..u32::MAX, reason, losses());
        let lost = lost.prop_map(|(count, reason, sources)| Part { count, content: Content::Lost { reason, sources } });
        prop_oneof![records, lost]
    }

    fn tally() -> impl Strategy<Value = Tally> {
        ("[a-z/]{1,20}", any::<(u64, u64, i64)>()).prop_map(|(source, (count, produced, at))| {
            let account = SourceAccount { produced, ..SourceAccount::new(source.parse().unwrap()) };
            Tally { count, first: Timestamp::from_nanos(at), last: Timestamp::EPOCH, account }
        })
    }

    proptest! {
        #[test]
        fn batches_and_checkpoints_come_back_and_changed_bytes_never_panic(
            first in any::<u64>(), cursors in cursors(), parts in proptest::collection::vec(part(), 0..4),
            tallies in proptest::collection::vec(tally(), 0..4), sources in losses(),
            epoch in any::<u128>(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let accounts = tallies.iter().map(|tally| (tally.account.source.clone(), tally.account.clone()));
            let checkpoint = Checkpoint {
                turn: first,
                epoch: Epoch(epoch),
                floor: RecordSequence(first / 3),
                next: RecordSequence(first),
                acknowledged: RecordSequence(first / 2),
                stores: BTreeMap::from([(epoch, RecordSequence(first / 4))]),
                cursors: cursors.iter().cloned().collect(),
                accounts: accounts.collect(),
                dropped: BTreeMap::from([(first / 5, Dropped { count: 5_000, is_told: flip > 9, sources })]),
            };
            let batch = SpooledBatch { turn: first, first: RecordSequence(first), cursors, tallies, parts };
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
