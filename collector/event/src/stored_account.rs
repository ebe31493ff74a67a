//! The journal record of an account: what an agent says it produced up to a place in its stream, and
//! beside it what the collector has counted in its journal up to just that place.
//!
//! ```text
//! magic "CSA" │ version u8 │ agent text │ agency text │ stream text │ epoch u128 │ position u64 │ spooled u64
//! stated i64 │ received i64 │ whole u8 │ journalled u64 │ uncounted u64 │ reasons │ unplaced u64
//! sources count u32, each: the agent's account │ journalled u64 │ reasons │ known u8
//! ```
//!
//! One statement balances if, for each source, `produced = journalled + dropped{reason}`. Records of
//! a gap whose sources nobody knows (a damaged spool) cannot be laid to a source: so many in all may
//! be missing from the sources together, and no more.

use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::ids::{AgencyId, AgentId, Epoch, RecordSequence, SourceName, StreamName};
use crate::loss::{Counts, GapReason, MAX_LEDGER_SOURCES, SourceAccount, decode_reasons, encode_reasons, sum_counts};
use crate::time::Timestamp;

const MAGIC: &[u8; 3] = b"CSA";
const VERSION: u8 = 1;

/// One source in a stored account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountedSource {
    /// What the agent says.
    pub stated: SourceAccount,
    /// Records of it in the collector's journal, by the collector's own count.
    pub journalled: u64,
    /// Records of it that the collector was told will never come, by reason.
    pub gaps: Counts<GapReason>,
    /// Whether the collector counts this source by itself; past its bounds it does not.
    pub is_known: bool,
}

/// An account as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// The agent, as its certificate names it.
    pub agent: AgentId,
    /// Its agency.
    pub agency: AgencyId,
    /// The agent's stream.
    pub stream: StreamName,
    /// The life of the agent's spool.
    pub epoch: Epoch,
    /// Everything here is as of this record: it and what came before are counted, nothing after.
    pub position: RecordSequence,
    /// The last record in the agent's spool when it made the statement.
    pub spooled: RecordSequence,
    /// When the agent made it, by its clock.
    pub stated: Timestamp,
    /// When the collector got it.
    pub received: Timestamp,
    /// Whether every source the agent has is named, or only those with news.
    pub is_whole: bool,
    /// Records of the stream in the journal.
    pub journalled: u64,
    /// Records before the collector began to count: its count was lost, or older than it.
    pub uncounted: u64,
    /// Records that the collector was told will never come, by reason.
    pub gaps: Counts<GapReason>,
    /// Those of `gaps` whose source nobody knows.
    pub unplaced: u64,
    /// The sources.
    pub sources: Vec<AccountedSource>,
}

/// What does not add up in an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// The collector has more of a source than the agent says it produced.
    TooMany {
        /// The source.
        source: SourceName,
        /// What the agent says.
        produced: u64,
        /// What the collector has, gaps included.
        accounted: u64,
    },
    /// More is missing from the sources than there are records of unknown source.
    Missing {
        /// The source that misses most.
        source: SourceName,
        /// What the agent says of it.
        produced: u64,
        /// What the collector has of it, gaps included.
        accounted: u64,
        /// What all sources miss together.
        missing: u64,
        /// What may be missing.
        unplaced: u64,
    },
    /// Journal and gaps do not make up the stream.
    Stream {
        /// Where the stream stands.
        position: u64,
        /// What the collector has, gaps included.
        accounted: u64,
    },
}

impl AccountedSource {
    /// Returns the records the collector has of it or knows the loss of.
    pub fn accounted(&self) -> u64 {
        self.journalled.saturating_add(sum_counts(&self.gaps))
    }
}

impl StoredAccount {
    /// Returns what does not add up; nothing if the account balances.
    pub fn disagreement(&self) -> Option<Disagreement> {
        let accounted = self.journalled.saturating_add(self.uncounted).saturating_add(sum_counts(&self.gaps));
        if accounted != self.position.0 {
            return Some(Disagreement::Stream { position: self.position.0, accounted });
        }
        let (mut missing, mut worst): (u64, Option<(u64, &AccountedSource)>) = (0, None);
        for known in self.sources.iter().filter(|source| source.is_known) {
            let (produced, accounted) = (known.stated.produced, known.accounted());
            let Some(lacks) = produced.checked_sub(accounted) else {
                return Some(Disagreement::TooMany { source: known.stated.source.clone(), produced, accounted });
            };
            missing = missing.saturating_add(lacks);
            if lacks > worst.map_or(0, |(most, _)| most) {
                worst = Some((lacks, known));
            }
        }
        let unplaced = self.unplaced.saturating_add(self.uncounted);
        let (_, known) = worst.filter(|_| missing > unplaced)?;
        let (source, produced, accounted) = (known.stated.source.clone(), known.stated.produced, known.accounted());
        Some(Disagreement::Missing { source, produced, accounted, missing, unplaced })
    }

    /// Returns whether bytes begin like an account.
    pub(crate) fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Returns it as bytes.
    ///
    /// # Contract
    /// At most [`MAX_LEDGER_SOURCES`] sources.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ByteWriter::new(&mut out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.text(self.agent.as_str());
        writer.text(self.agency.as_str());
        writer.text(self.stream.as_str());
        writer.u128(self.epoch.0);
        writer.u64(self.position.0);
        writer.u64(self.spooled.0);
        writer.i64(self.stated.nanos());
        writer.i64(self.received.nanos());
        writer.u8(u8::from(self.is_whole));
        writer.u64(self.journalled);
        writer.u64(self.uncounted);
        encode_reasons(&self.gaps, &mut writer);
        writer.u64(self.unplaced);
        writer.count(self.sources.len());
        for source in &self.sources {
            source.stated.encode(&mut writer);
            writer.u64(source.journalled);
            encode_reasons(&source.gaps, &mut writer);
            writer.u8(u8::from(source.is_known));
        }
        out
    }

    /// Reads what [`StoredAccount::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        if reader.take(MAGIC.len(), "stored account magic")? != MAGIC {
            return Err(DecodeError::Invalid { what: "stored account magic", offset: 0 });
        }
        let version = reader.u8("stored account version")?;
        if version != VERSION {
            return Err(DecodeError::Version { what: "a stored account", got: version, known: VERSION });
        }
        let invalid = |what| DecodeError::Invalid { what, offset: 0 };
        let agent = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let agency = reader.text(63, "agency name")?.parse().map_err(|_| invalid("agency name"))?;
        let stream = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        let position = RecordSequence(reader.u64("position")?);
        let spooled = RecordSequence(reader.u64("spooled")?);
        let stated = Timestamp::from_nanos(reader.i64("time stated")?);
        let received = Timestamp::from_nanos(reader.i64("time received")?);
        let is_whole = decode_flag(&mut reader)?;
        let (journalled, uncounted) = (reader.u64("records journalled")?, reader.u64("records uncounted")?);
        let gaps = decode_reasons(&mut reader)?;
        let unplaced = reader.u64("records unplaced")?;
        let mut sources = Vec::new();
        for _ in 0..reader.count(MAX_LEDGER_SOURCES, "sources of an account")? {
            let stated = SourceAccount::decode(&mut reader)?;
            let journalled = reader.u64("records journalled")?;
            let gaps = decode_reasons(&mut reader)?;
            sources.push(AccountedSource { stated, journalled, gaps, is_known: decode_flag(&mut reader)? });
        }
        reader.finish("end of stored account")?;
        Ok(Self {
            agent,
            agency,
            stream,
            epoch,
            position,
            spooled,
            stated,
            received,
            is_whole,
            journalled,
            uncounted,
            gaps,
            unplaced,
            sources,
        })
    }
}

fn decode_flag(reader: &mut ByteReader<'_>) -> Result<bool, DecodeError> {
    let offset = reader.offset();
    match reader.u8("flag")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid { what: "flag", offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, produced: u64, journalled: u64, gaps: &[(GapReason, u64)]) -> AccountedSource {
        let stated = SourceAccount { produced, ..SourceAccount::new(name.parse().unwrap()) };
        AccountedSource { stated, journalled, gaps: gaps.to_vec(), is_known: true }
    }

    fn account(position: u64, journalled: u64, unplaced: u64, sources: Vec<AccountedSource>) -> StoredAccount {
        let lost = position - journalled;
        StoredAccount {
            agent: "web-01".parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            position: RecordSequence(position),
            spooled: RecordSequence(position + 5),
            stated: Timestamp::from_secs(5),
            received: Timestamp::from_secs(6),
            is_whole: true,
            journalled,
            uncounted: 0,
            gaps: if lost > 0 { vec![(GapReason::SpoolFull, lost)] } else { Vec::new() },
            unplaced,
            sources,
        }
    }

    #[test]
    fn comes_back_as_it_was_and_nothing_less_does() {
        let sources = vec![source("/a", 8, 5, &[(GapReason::SpoolFull, 3)]), source("/b", 2, 2, &[])];
        let account = account(10, 7, 0, sources);
        let bytes = account.encode();
        assert_eq!(StoredAccount::decode(&bytes), Ok(account));
        for cut in 0..bytes.len() {
            assert!(StoredAccount::decode(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn what_was_produced_is_journalled_or_lost_with_a_reason() {
        let lost = [(GapReason::SpoolFull, 3)];
        assert_eq!(account(10, 7, 0, vec![source("/a", 8, 5, &lost), source("/b", 2, 2, &[])]).disagreement(), None);
        // Three were lost, and nobody knows of which source.
        assert_eq!(account(10, 7, 3, vec![source("/a", 7, 5, &[]), source("/b", 3, 2, &[])]).disagreement(), None);
    }

    #[test]
    fn records_too_many_too_few_or_not_of_the_stream_are_told() {
        let too_many = account(10, 10, 0, vec![source("/a", 9, 10, &[])]).disagreement();
        assert!(matches!(too_many, Some(Disagreement::TooMany { produced: 9, accounted: 10, .. })), "{too_many:?}");
        let sources = vec![source("/a", 6, 5, &[]), source("/b", 6, 2, &[])];
        let missing = account(10, 7, 3, sources).disagreement();
        assert!(
            matches!(&missing, Some(Disagreement::Missing { source, missing: 5, unplaced: 3, .. }) if source.as_str() == "/b"),
            "{missing:?}"
        );
        let stream = StoredAccount { journalled: 9, gaps: Vec::new(), ..account(10, 10, 0, Vec::new()) };
        assert_eq!(stream.disagreement(), Some(Disagreement::Stream { position: 10, accounted: 9 }));
    }

    #[test]
    fn source_the_collector_does_not_count_is_not_held_against_it() {
        let uncounted = AccountedSource { is_known: false, ..source("/a", 6, 0, &[]) };
        assert_eq!(account(6, 6, 0, vec![uncounted]).disagreement(), None);
    }
}
