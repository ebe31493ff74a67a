//! The journal record of a gap: records of a stream that will never come, why, and of which source
//! as far as anybody knows.
//!
//! ```text
//! magic "CSG" │ version u8 │ agent text │ agency text (empty: not known) │ stream text │ epoch u128
//! from u64 │ count u64 │ reason u8 │ received i64 │ losses
//! ```
//!
//! It moves the stream's high-water mark as a batch does. Version 1 had neither agency nor losses.

use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::ids::{AgencyId, AgentId, Epoch, RecordSequence, StreamName};
use crate::loss::{GapReason, SourceLoss, decode_losses, encode_losses};
use crate::time::Timestamp;

const MAGIC: &[u8; 3] = b"CSG";
const VERSION: u8 = 2;

/// A gap as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGap {
    /// The agent, as its certificate names it.
    pub agent: AgentId,
    /// Its agency; none in records of the first version.
    pub agency: Option<AgencyId>,
    /// The agent's stream.
    pub stream: StreamName,
    /// The life of the agent's spool.
    pub epoch: Epoch,
    /// The first record that is missing.
    pub from: RecordSequence,
    /// How many are missing; at least one.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
    /// When the collector heard of it.
    pub received: Timestamp,
    /// Of which sources they are, in order; what is missing to `count` is of sources nobody knows.
    pub sources: Vec<SourceLoss>,
}

impl StoredGap {
    /// Returns the last record that is missing.
    pub fn last(&self) -> RecordSequence {
        RecordSequence(self.from.0.saturating_add(self.count).saturating_sub(1))
    }

    /// Returns it as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.text(self.agent.as_str());
        writer.text(self.agency.as_ref().map_or("", AgencyId::as_str));
        writer.text(self.stream.as_str());
        writer.u128(self.epoch.0);
        writer.u64(self.from.0);
        writer.u64(self.count);
        writer.u8(self.reason.code());
        writer.i64(self.received.nanos());
        encode_losses(&self.sources, &mut writer);
        out
    }

    /// Reads what [`StoredGap::encode`] wrote, in this version or the first.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len(), "stored gap magic")? != MAGIC {
            return Err(DecodeError::Invalid { what: "stored gap magic", offset: 0 });
        }
        let version = reader.u8("stored gap version")?;
        if version == 0 || version > VERSION {
            return Err(DecodeError::Version { what: "a stored gap", got: version, known: VERSION });
        }
        let invalid = |what| DecodeError::Invalid { what, offset: 0 };
        let agent = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let agency = match if version == 1 { "" } else { reader.text(63, "agency name")? } {
            "" => None,
            name => Some(name.parse().map_err(|_| invalid("agency name"))?),
        };
        let stream = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        let (from, count) = (RecordSequence(reader.u64("from")?), reader.u64("count")?);
        if from.0 == 0 || count == 0 || from.0.checked_add(count).is_none() {
            return Err(invalid("run of sequences"));
        }
        let reason = GapReason::from_code(reader.u8("gap reason")?).ok_or(invalid("gap reason"))?;
        let received = Timestamp::from_nanos(reader.i64("received time")?);
        let sources = if version == 1 { Vec::new() } else { decode_losses(&mut reader, count)? };
        reader.finish("end of stored gap")?;
        Ok(Self { agent, agency, stream, epoch, from, count, reason, received, sources })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap() -> StoredGap {
        let source = "/var/log/auth.log".parse().unwrap();
        StoredGap {
            agent: "web-01".parse().unwrap(),
            agency: Some("so-tttt".parse().unwrap()),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            from: RecordSequence(4),
            count: 7,
            reason: GapReason::SpoolFull,
            received: Timestamp::from_secs(5),
            sources: vec![SourceLoss { source, count: 6, first: Timestamp::EPOCH, last: Timestamp::from_secs(1) }],
        }
    }

    #[test]
    fn comes_back_as_it_was_and_nothing_less_does() {
        for gap in [gap(), StoredGap { agency: None, sources: Vec::new(), ..gap() }] {
            let bytes = gap.encode();
            assert_eq!(StoredGap::decode(&bytes), Ok(gap));
            for cut in 0..bytes.len() {
                assert!(StoredGap::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn first_version_is_still_read() {
        let mut bytes = Vec::new();
        let mut writer = ByteWriter::new(&mut bytes);
        writer.raw(MAGIC);
        writer.u8(1);
        ["web-01", "log"].into_iter().for_each(|name| writer.text(name));
        writer.u128(9);
        writer.u64(4);
        writer.u64(7);
        writer.u8(1);
        writer.i64(5_000_000_000);
        assert_eq!(StoredGap::decode(&bytes), Ok(StoredGap { agency: None, sources: Vec::new(), ..gap() }));
    }

    #[test]
    fn gap_of_nothing_and_one_past_the_last_sequence_are_refused() {
        for (from, count) in [(0, 1), (1, 0), (u64::MAX, 1)] {
            let bytes = StoredGap { from: RecordSequence(from), count, sources: Vec::new(), ..gap() }.encode();
            assert!(StoredGap::decode(&bytes).is_err(), "{from} {count}");
        }
    }
}
