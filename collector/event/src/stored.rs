//! One record of the collector's journal: a batch of events *and* the place in its agent's stream
//! that it brings the stream to. Both in one record, so one sync makes both durable and a replay
//! gives back the exact resume point (promises P1 and P2).
//!
//! ```text
//! magic "CSB" │ version u8 │ agent text │ stream text │ epoch u128 │ first sequence u64 │ event batch
//! ```
//!
//! Row `i` is the record with sequence `first + i`; the stream's new high-water mark is the last.

use crate::batch::EventBatch;
use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::ids::{AgentId, Epoch, RecordSequence, StreamName};

const MAGIC: &[u8; 3] = b"CSB";
const VERSION: u8 = 1;

/// A batch of events with its place in its agent's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The agent, as its certificate names it.
    pub agent: AgentId,
    /// The agent's stream.
    pub stream: StreamName,
    /// The life of the agent's spool.
    pub epoch: Epoch,
    /// The sequence of the first row.
    pub first: RecordSequence,
    /// The events, one a record.
    pub batch: EventBatch,
}

/// What stands before a batch: whose it is and where in their stream.
#[derive(Clone, Copy, Debug)]
pub struct StoredHead<'a> {
    /// The agent, as its certificate names it.
    pub agent: &'a AgentId,
    /// The agent's stream.
    pub stream: &'a StreamName,
    /// The life of the agent's spool.
    pub epoch: Epoch,
    /// The sequence of the first row.
    pub first: RecordSequence,
}

impl StoredHead<'_> {
    /// Appends a batch under this head as bytes, as [`StoredBatch::encode`] does with its own.
    pub fn encode(&self, batch: &EventBatch, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.text(self.agent.as_str());
        writer.text(self.stream.as_str());
        writer.u128(self.epoch.0);
        writer.u64(self.first.0);
        batch.encode(out);
    }
}

impl StoredBatch {
    /// Returns the sequence of the last row: the stream's high-water mark after this batch.
    pub fn last(&self) -> RecordSequence {
        RecordSequence(self.first.0.saturating_add(self.batch.len() as u64).saturating_sub(1))
    }

    /// Appends it as bytes; [`StoredBatch::decode`] reads them back.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { agent, stream, epoch, first, batch } = self;
        StoredHead { agent, stream, epoch: *epoch, first: *first }.encode(batch, out);
    }

    /// Reads what [`StoredBatch::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (head, rest) = Self::decode_head(bytes)?;
        Ok(Self { batch: EventBatch::decode(rest)?, ..head })
    }

    /// Reads agent, stream, epoch and first sequence only, with an empty batch: what a collector
    /// needs to rebuild its high-water marks; the second part is the encoded batch.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode_head(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len(), "stored batch magic")? != MAGIC {
            return Err(DecodeError::Invalid { what: "stored batch magic", offset: 0 });
        }
        let version = reader.u8("stored batch version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a stored batch", got: version, known: VERSION });
        }
        let offset = reader.offset();
        let invalid = |what| DecodeError::Invalid { what, offset };
        let agent = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let stream = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        let offset = reader.offset();
        let first = RecordSequence(reader.u64("first sequence")?);
        // A sequence is never reused, so it never wraps; a mark that did would go backwards.
        let rows = Self::row_count(reader.rest())? as u64;
        if first.0.checked_add(rows).is_none() {
            return Err(DecodeError::Invalid { what: "first sequence", offset });
        }
        Ok((Self { agent, stream, epoch, first, batch: EventBatch::default() }, reader.rest()))
    }

    /// Returns how many rows an encoded batch has, from its first bytes alone.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no event batch.
    pub fn row_count(batch_bytes: &[u8]) -> Result<usize, DecodeError> {
        EventBatch::decode_len(batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Origin;
    use crate::builder::{BatchBuilder, RowHeader};
    use crate::logsource::Logsource;
    use crate::time::{TimeQuality, Timestamp};

    #[test]
    fn comes_back_as_it_was() {
        let stored = StoredBatch {
            agent: "web-01".parse().unwrap(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            first: RecordSequence(41),
            batch: EventBatch::default(),
        };
        let mut bytes = Vec::new();
        stored.encode(&mut bytes);
        assert_eq!(StoredBatch::decode(&bytes), Ok(stored));
        for cut in 0..bytes.len() {
            assert!(StoredBatch::decode(&bytes[..cut]).is_err());
        }
        let (_, rest) = StoredBatch::decode_head(&bytes).unwrap();
        assert_eq!(StoredBatch::row_count(rest), Ok(0));
    }

    #[test]
    fn sequence_that_would_wrap_is_refused() {
        let mut builder = BatchBuilder::new();
        let header = RowHeader {
            time: Timestamp::EPOCH,
            time_quality: TimeQuality::Received,
            received: Timestamp::EPOCH,
            origin: builder.origin(&Origin::unknown()).unwrap(),
            logsource: builder.logsource(&Logsource::unknown()).unwrap(),
        };
        builder.begin_row(header, b"x").unwrap().commit();
        let mut stored = StoredBatch {
            agent: "web-01".parse().unwrap(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            first: RecordSequence(u64::MAX - 1),
            batch: builder.finish(),
        };
        let mut bytes = Vec::new();
        stored.encode(&mut bytes);
        assert!(StoredBatch::decode(&bytes).is_ok());
        stored.first = RecordSequence(u64::MAX);
        bytes.clear();
        stored.encode(&mut bytes);
        assert!(matches!(StoredBatch::decode(&bytes), Err(DecodeError::Invalid { what: "first sequence", .. })));
    }
}
