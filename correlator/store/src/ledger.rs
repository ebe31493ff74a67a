//! The ledger: the hash-chained journal of changes, and the only truth about incidents.

use std::path::Path;

use canh_journal::{
    CHAIN_HASH_BYTES, Chain, ChainError, ChainReport, JournalError, JournalOptions, Lsn, MAX_BODY_BYTES, ReadError,
    Reader, Recovery, split_chained, verify_chain,
};

use crate::record::LedgerRecord;

/// The kind of a ledger record in its journal.
const RECORD_KIND: u8 = 1;

/// Longest payload of one record.
const MAX_PAYLOAD_BYTES: usize = MAX_BODY_BYTES - CHAIN_HASH_BYTES;

/// What is wrong with the ledger. Without it nothing can be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It cannot be opened.
    #[error("the ledger cannot be opened")]
    Open(#[source] ChainError),
    /// It cannot be written. What was asked is not stored, and nothing more will be.
    #[error("the ledger cannot be written")]
    Write(#[source] JournalError),
    /// It cannot be read.
    #[error("the ledger cannot be read")]
    Read(#[from] ReadError),
    /// A record is not what this store writes.
    #[error("ledger record {lsn} is not a record of changes")]
    NotARecord {
        /// The record.
        lsn: u64,
        /// Why, if it is bad JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Changes that belong together are too large for one record.
    #[error("one change takes {bytes} bytes, limit is {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// The ledger, open for writing.
#[derive(Debug)]
pub(crate) struct Ledger {
    chain: Chain,
}

impl Ledger {
    pub(crate) fn open(dir: &Path) -> Result<(Self, Recovery), LedgerError> {
        let (chain, recovery) = Chain::open(dir, JournalOptions::default()).map_err(LedgerError::Open)?;
        Ok((Self { chain }, recovery))
    }

    /// Returns the last durable record; 0 if there is none.
    pub(crate) fn durable(&self) -> u64 {
        self.chain.journal().durable().map_or(0, |lsn| lsn.0)
    }

    /// Returns the hash of the last record, in hexadecimal.
    pub(crate) fn head(&self) -> String {
        hexadecimal(self.chain.head())
    }

    /// Returns how many bytes it takes on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.chain.journal().size_bytes()
    }

    /// Appends one payload, not yet durable. Returns its place and its hash.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<(u64, String), LedgerError> {
        let lsn = self.chain.append(RECORD_KIND, payload).map_err(LedgerError::Write)?;
        Ok((lsn.0, self.head()))
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), LedgerError> {
        self.chain.sync().map(drop).map_err(LedgerError::Write)
    }

    fn dir(&self) -> &Path {
        self.chain.journal().dir()
    }

    /// Returns the hash of one record, in hexadecimal; `None` if there is no such record.
    pub(crate) fn hash_of(&self, lsn: u64) -> Result<Option<String>, LedgerError> {
        if lsn == 0 || lsn > self.durable() {
            return Ok(None);
        }
        let mut reader = Reader::open(self.dir())?;
        reader.seek(Lsn(lsn))?;
        let entry = reader.next()?;
        Ok(entry.and_then(|entry| split_chained(entry.body)).map(|(hash, _)| hexadecimal(hash)))
    }

    /// Hands every record after `lsn` to `each`, with its place and hash.
    pub(crate) fn for_each_after<E: From<LedgerError>>(
        &self,
        lsn: u64,
        mut each: impl FnMut(u64, String, LedgerRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        if lsn >= self.durable() {
            return Ok(());
        }
        let mut reader = Reader::open(self.dir()).map_err(LedgerError::from)?;
        reader.seek(Lsn(lsn).next()).map_err(LedgerError::from)?;
        while let Some(entry) = reader.next().map_err(LedgerError::from)? {
            let lsn = entry.lsn.0;
            let not_a_record = |source| LedgerError::NotARecord { lsn, source };
            let (hash, payload) = split_chained(entry.body).ok_or_else(|| not_a_record(None))?;
            let record = serde_json::from_slice(payload).map_err(|error| not_a_record(Some(error)))?;
            each(lsn, hexadecimal(hash), record)?;
        }
        Ok(())
    }

    /// Walks the whole chain.
    pub(crate) fn verify(&self) -> Result<ChainReport, LedgerError> {
        Ok(verify_chain(self.dir())?)
    }
}

/// Returns the payloads of a record: one, unless it is too large. Then all but the last keep the
/// position there was before, so that a crash between them does not say the rest is dealt with.
pub(crate) fn payloads_of(record: &LedgerRecord, before: u64) -> Result<Vec<(LedgerRecord, Vec<u8>)>, LedgerError> {
    let payload =
        serde_json::to_vec(record).map_err(|error| LedgerError::NotARecord { lsn: 0, source: Some(error) })?;
    if payload.len() <= MAX_PAYLOAD_BYTES {
        return Ok(vec![(record.clone(), payload)]);
    }
    if record.changes.len() < 2 {
        return Err(LedgerError::TooLarge { bytes: payload.len() });
    }
    let (first, second) = record.changes.split_at(record.changes.len() / 2);
    let part = |position, changes: &[_]| LedgerRecord::new(position, record.time, changes.to_vec());
    let mut payloads = payloads_of(&part(before, first), before)?;
    payloads.extend(payloads_of(&part(record.position, second), before)?);
    Ok(payloads)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
