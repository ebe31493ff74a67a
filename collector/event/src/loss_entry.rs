//! One entry of the loss ledger as it is read: a gap or an account, and its place in the collector's
//! journal. The collector keeps a copy of every such record in a small journal of its own, so that who
//! asks for losses need not read all events.
//!
//! ```text
//! position u64 │ the record, as it stands in the collector's journal
//! ```

use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::stored_account::StoredAccount;
use crate::stored_gap::StoredGap;

/// A gap or an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LossRecord {
    /// Records that will never come.
    Gap(StoredGap),
    /// What an agent has stated, and what was counted.
    Account(Box<StoredAccount>),
}

/// An entry of the loss ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossEntry {
    /// The record's place in the collector's journal.
    pub position: u64,
    /// The record.
    pub record: LossRecord,
}

impl LossRecord {
    /// Reads a record of the collector's journal; which one it is, its first bytes say.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if StoredAccount::is_one(bytes) {
            StoredAccount::decode(bytes).map(Box::new).map(Self::Account)
        } else {
            StoredGap::decode(bytes).map(Self::Gap)
        }
    }
}

impl LossEntry {
    /// Returns the bytes of an entry: the place, and the record as it is stored.
    pub fn encode(position: u64, record: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(record.len() + 8);
        let mut writer = ByteWriter::new(&mut out);
        writer.u64(position);
        writer.raw(record);
        out
    }

    /// Reads only the place of an entry.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_position(bytes: &[u8]) -> Result<u64, DecodeError> {
        ByteReader::new(bytes).u64("position")
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        let position = reader.u64("position")?;
        Ok(Self { position, record: LossRecord::decode(reader.rest())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, RecordSequence};
    use crate::loss::GapReason;
    use crate::time::Timestamp;

    #[test]
    fn both_records_come_back_with_their_place() {
        let (agent, stream): (crate::ids::AgentId, crate::ids::StreamName) =
            ("web-01".parse().unwrap(), "log".parse().unwrap());
        let gap = StoredGap {
            agent: agent.clone(),
            agency: None,
            stream: stream.clone(),
            epoch: Epoch(9),
            from: RecordSequence(4),
            count: 7,
            reason: GapReason::SpoolFull,
            received: Timestamp::from_secs(5),
            sources: Vec::new(),
        };
        let account = StoredAccount {
            agent,
            agency: "so-tttt".parse().unwrap(),
            stream,
            epoch: Epoch(9),
            position: RecordSequence(10),
            spooled: RecordSequence(10),
            stated: Timestamp::EPOCH,
            received: Timestamp::EPOCH,
            is_whole: true,
            journalled: 3,
            uncounted: 0,
            gaps: vec![(GapReason::SpoolFull, 7)],
            unplaced: 7,
            sources: Vec::new(),
        };
        for (bytes, record) in [
            (gap.encode(), LossRecord::Gap(gap.clone())),
            (account.encode(), LossRecord::Account(Box::new(account.clone()))),
        ] {
            let entry = LossEntry::encode(77, &bytes);
            assert_eq!(LossEntry::decode_position(&entry), Ok(77));
            assert_eq!(LossEntry::decode(&entry), Ok(LossEntry { position: 77, record }));
            assert!(LossEntry::decode(&entry[..entry.len() - 1]).is_err());
        }
    }
}
