//! One event kept as evidence: where it stands in the journal, what it said, byte for byte.
//!
//! All of it is an attacker's text. Raw bytes are kept losslessly up to a bound: as text if they
//! are UTF-8, else as Base64, with a marker that says which; and how long the record was if it
//! was cut. Whoever shows them escapes them (`escape`).

use canh_event::{EventRef, Row, Timestamp};
use serde::{Deserialize, Serialize};

use crate::base64;

/// Longest raw record kept as evidence, in bytes; the journal has the rest.
pub const MAX_EVIDENCE_RAW_BYTES: usize = 2_048;

/// Longest value of a field kept as evidence, in bytes.
pub const MAX_EVIDENCE_VALUE_BYTES: usize = 256;

/// Most fields kept of one event.
pub const MAX_EVIDENCE_FIELDS: usize = 48;

/// One event that a detection rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its place in the collector's journal.
    #[serde(with = "crate::as_text")]
    pub event: EventRef,
    /// Its event time.
    #[serde(with = "crate::as_text")]
    pub time: Timestamp,
    /// The agent's name and the source it read, `web-01:/var/log/auth.log`; empty if not known.
    pub source: String,
    /// The rule it matched, by id; empty for an event that itself is the detection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule_id: String,
    /// The record as it was read.
    pub raw: RawRecord,
    /// Its fields as parsed: (name, value), values cut at a bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// Raw bytes, kept losslessly up to [`MAX_EVIDENCE_RAW_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "RawWire", try_from = "RawWire")]
pub struct RawRecord {
    bytes: Vec<u8>,
    full_bytes: u64,
}

/// How a raw record is written: `text` or `base64`, and `cut_from_bytes` if it was cut.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct RawWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut_from_bytes: Option<u64>,
}

/// A raw record that is written in neither of its two ways, or in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a raw record must have either text or valid base64")]
pub struct RawRecordError;

impl RawRecord {
    /// Keeps the bytes, cut at the bound. The cut is put before a UTF-8 sequence it would tear, so
    /// that text stays text.
    pub fn new(bytes: &[u8]) -> Self {
        Self::of_cut(bytes, bytes.len() as u64)
    }

    /// Keeps the first bytes of a record that was `full_bytes` long.
    pub fn of_cut(bytes: &[u8], full_bytes: u64) -> Self {
        let mut kept = bytes;
        if let Some(head) = bytes.get(..MAX_EVIDENCE_RAW_BYTES).filter(|_| bytes.len() > MAX_EVIDENCE_RAW_BYTES) {
            kept = match std::str::from_utf8(head) {
                Err(error) if error.error_len().is_none() => head.get(..error.valid_up_to()).unwrap_or(head),
                _ => head,
            };
        }
        Self { bytes: kept.to_vec(), full_bytes: full_bytes.max(kept.len() as u64) }
    }

    /// Returns the bytes kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the bytes kept as text, if they are UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Returns how long the record was.
    pub fn full_bytes(&self) -> u64 {
        self.full_bytes
    }

    /// Returns whether bytes are missing.
    pub fn is_cut(&self) -> bool {
        self.full_bytes > self.bytes.len() as u64
    }
}

impl From<RawRecord> for RawWire {
    fn from(raw: RawRecord) -> Self {
        let cut_from_bytes = raw.is_cut().then_some(raw.full_bytes);
        match String::from_utf8(raw.bytes) {
            Ok(text) => Self { text: Some(text), base64: None, cut_from_bytes },
            Err(error) => Self { text: None, base64: Some(base64::encode(error.as_bytes())), cut_from_bytes },
        }
    }
}

impl TryFrom<RawWire> for RawRecord {
    type Error = RawRecordError;

    fn try_from(wire: RawWire) -> Result<Self, RawRecordError> {
        let bytes = match (wire.text, wire.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(coded)) => base64::decode(&coded).ok_or(RawRecordError)?,
            _ => return Err(RawRecordError),
        };
        let full_bytes = wire.cut_from_bytes.unwrap_or(0).max(bytes.len() as u64);
        Ok(Self { bytes, full_bytes })
    }
}

impl Evidence {
    /// Cuts evidence from an event: the raw record and its fields, within their bounds.
    pub fn of_row(event: EventRef, row: Row<'_>, rule_id: &str) -> Self {
        let fields = row.fields().take(MAX_EVIDENCE_FIELDS);
        let fields = fields.map(|(name, value)| (name.to_owned(), cut_text(value.text, MAX_EVIDENCE_VALUE_BYTES)));
        Self {
            event,
            time: row.time(),
            source: source_text(row),
            rule_id: rule_id.to_owned(),
            raw: RawRecord::new(row.raw()),
            fields: fields.collect(),
        }
    }
}

/// Returns `agent:source` of an event, as far as they are known.
pub fn source_text(row: Row<'_>) -> String {
    let origin = row.origin();
    match (&origin.agent, &origin.source) {
        (Some(agent), Some(source)) => format!("{agent}:{source}"),
        (Some(agent), None) => agent.to_string(),
        (None, Some(source)) => source.to_string(),
        (None, None) => String::new(),
    }
}

/// Returns at most `limit` bytes of a text, cut at a character, with `…` in place of the rest.
pub fn cut_text(text: &str, limit: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_readable_in_data_and_other_bytes_are_marked() {
        let text = RawRecord::new("Đăng nhập\x1b[2J\0".as_bytes());
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"text":"Đăng nhập\u001b[2J\u0000"}"#);
        let bytes = RawRecord::new(b"\xff\xfe");
        assert_eq!(serde_json::to_string(&bytes).unwrap(), r#"{"base64":"//4="}"#);
    }

    #[test]
    fn a_long_record_is_cut_before_a_letter_and_says_so() {
        let long = "ế".repeat(MAX_EVIDENCE_RAW_BYTES);
        let raw = RawRecord::new(long.as_bytes());
        assert!(raw.is_cut());
        assert!(raw.text().is_some_and(|text| text.chars().all(|letter| letter == 'ế')));
        let again: RawRecord = serde_json::from_str(&serde_json::to_string(&raw).unwrap()).unwrap();
        assert_eq!(again, raw);
        assert_eq!(again.full_bytes(), long.len() as u64);
    }

    #[test]
    fn a_record_written_in_both_ways_or_none_is_refused() {
        for wrong in ["{}", r#"{"text":"a","base64":"YQ=="}"#, r#"{"base64":"a"}"#] {
            assert!(serde_json::from_str::<RawRecord>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cut_text_stays_within_its_limit() {
        assert_eq!(cut_text("Nhật ký", 64), "Nhật ký");
        assert_eq!(cut_text("ếếếế", 8), "ế…");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let raw = RawRecord::new(&bytes);
            let again: RawRecord = serde_json::from_slice(&serde_json::to_vec(&raw).unwrap()).unwrap();
            prop_assert_eq!(again.bytes(), &bytes[..]);
            prop_assert!(!again.is_cut());
        }
    }
}
