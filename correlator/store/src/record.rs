//! One record of the ledger: the changes that one step of the correlator, or one request of a
//! person, made together.

use canh_event::Timestamp;
use canh_incident::{Change, SCHEMA_VERSION};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One record of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// The version of this shape.
    pub schema_version: u32,
    /// The place in the collector's journal up to which the events are dealt with once this record
    /// is durable. A person's change does not move it.
    pub position: u64,
    /// When it was written, on the wall.
    #[serde(serialize_with = "time_to_text", deserialize_with = "time_of_text")]
    pub time: Timestamp,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

impl LedgerRecord {
    /// Returns a record.
    pub fn new(position: u64, time: Timestamp, changes: Vec<Change>) -> Self {
        Self { schema_version: SCHEMA_VERSION, position, time, changes }
    }
}

fn time_to_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn time_of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
