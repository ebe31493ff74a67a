//! The journal record of a gap: records of a stream that will never come, and why.
//!
//! ```text
//! magic "CSG" │ version u8 │ agent text │ stream text │ epoch u128 │ from u64 │ count u64 │ reason u8 │ received i64
//! ```
//!
//! It moves the stream's high-water mark as a batch does, and it is what a loss ledger counts.

use canh_event::{AgentId, ByteReader, ByteWriter, DecodeError, Epoch, RecordSequence, StreamName, Timestamp};
use canh_wire::{Gap, GapReason};

const MAGIC: &[u8; 3] = b"CSG";
const VERSION: u8 = 1;

/// A gap as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredGap {
    pub(crate) agent: AgentId,
    pub(crate) gap: Gap,
    /// When the collector heard of it.
    pub(crate) received: Timestamp,
}

impl StoredGap {
    /// Returns it as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.text(self.agent.as_str());
        writer.text(self.gap.stream.as_str());
        writer.u128(self.gap.epoch.0);
        writer.u64(self.gap.from.0);
        writer.u64(self.gap.count);
        writer.u8(self.gap.reason.code());
        writer.i64(self.received.nanos());
        out
    }

    /// Reads what [`StoredGap::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let invalid = |what| DecodeError::Invalid { what, offset: 0 };
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len(), "stored gap magic")? != MAGIC {
            return Err(invalid("stored gap magic"));
        }
        let version = reader.u8("stored gap version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a stored gap", got: version, known: VERSION });
        }
        let agent: AgentId = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let stream: StreamName = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        let (from, count) = (RecordSequence(reader.u64("from")?), reader.u64("count")?);
        let reason = GapReason::from_code(reader.u8("reason")?).ok_or(invalid("gap reason"))?;
        let received = Timestamp::from_nanos(reader.i64("received time")?);
        reader.finish("end of stored gap")?;
        Ok(Self { agent, gap: Gap { stream, epoch, from, count, reason }, received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_and_nothing_less_does() {
        let (stream, epoch) = ("log".parse().unwrap(), Epoch(9));
        let gap = Gap { stream, epoch, from: RecordSequence(4), count: 7, reason: GapReason::SpoolFull };
        let stored = StoredGap { agent: "web-01".parse().unwrap(), gap, received: Timestamp::from_secs(5) };
        let bytes = stored.encode();
        assert_eq!(StoredGap::decode(&bytes), Ok(stored));
        for cut in 0..bytes.len() {
            assert!(StoredGap::decode(&bytes[..cut]).is_err());
        }
    }
}
