//! A flow record as one JSON object: what agents send and what is kept as evidence.
//!
//! ```json
//! {"start":"2026-11-24T03:07:03.25Z","end":"2026-11-24T03:07:04Z",
//!  "source_ip":"10.1.1.7","source_port":50000,"destination_ip":"10.1.2.9","destination_port":22,
//!  "protocol":"tcp","vlan":12,"inner_vlan":7,
//!  "source_packets":6,"source_bytes":512,"destination_packets":5,"destination_bytes":640,
//!  "source_tcp_flags":"APSF","destination_tcp_flags":"APSF",
//!  "state":"SF","end_reason":"ended","community_id":"1:wCb3OG7yAFWelaUydu0D+125CLM=","interface":"eth0"}
//! ```
//!
//! The names are stable; a key without a value is left out (ports, VLAN tags, flags of protocols
//! other than TCP, interface). The reader trusts nothing: unknown and repeated keys, wrong types,
//! text in another spelling than the writer's, sums that cannot be, and a Community ID that is not
//! the flow's are refused. So a collector is upgraded before the agents that send it new keys.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;

use canh_event::{SourceName, Timestamp};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::community_id::CommunityId;
use crate::protocol::{ConnectionState, EndReason, Protocol, TcpFlags};
use crate::record::{FlowRecord, Traffic, VlanTags};

/// Longest record in JSON, in bytes: three times what the longest one that can be written takes.
pub const MAX_JSON_BYTES: usize = 4_096;

/// Bytes that are no flow record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// More bytes than any record has.
    #[error("a flow record of {got} bytes, limit is {limit}")]
    TooLong {
        /// How many there are.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// Not the JSON object a record is.
    #[error("not the json object of a flow record")]
    Json(#[source] serde_json::Error),
    /// Values that do not go together.
    #[error("in a flow record {what}")]
    Inconsistent {
        /// What is wrong with them.
        what: &'static str,
    },
}

/// A record as written; [`FlowRecord`] is the record as checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    start: Text<Timestamp>,
    end: Text<Timestamp>,
    source_ip: Text<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    destination_ip: Text<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination_port: Option<u16>,
    protocol: Text<Protocol>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner_vlan: Option<u16>,
    source_packets: u64,
    source_bytes: u64,
    destination_packets: u64,
    destination_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_tcp_flags: Option<Text<TcpFlags>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination_tcp_flags: Option<Text<TcpFlags>>,
    state: Text<ConnectionState>,
    end_reason: Text<EndReason>,
    community_id: Text<CommunityId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<Text<SourceName>>,
}

/// A value whose JSON is a string: its `Display`, read back by its `FromStr`.
struct Text<T>(T);

impl FlowRecord {
    /// Appends the record as one JSON object, without a line's end.
    pub fn to_json(&self, out: &mut Vec<u8>) {
        // Numbers and strings into memory: there is nothing in it that can fail.
        let result = serde_json::to_writer(out, &Document::from(self));
        debug_assert!(result.is_ok(), "a flow record is written into memory");
    }

    /// Reads a record from one JSON object, trusting nothing.
    ///
    /// # Errors
    /// [`FlowError`], which says what is wrong; no text of the record is in its own message.
    pub fn from_json(bytes: &[u8]) -> Result<Self, FlowError> {
        if bytes.len() > MAX_JSON_BYTES {
            return Err(FlowError::TooLong { got: bytes.len(), limit: MAX_JSON_BYTES });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(FlowError::Json)?;
        Self::try_from(document)
    }
}

impl Serialize for FlowRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FlowRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Document::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl From<&FlowRecord> for Document {
    fn from(record: &FlowRecord) -> Self {
        let is_tcp = record.protocol == Protocol::TCP;
        let flags = |traffic: Traffic| is_tcp.then_some(Text(traffic.tcp_flags));
        let tag = |tag: u16| Some(tag).filter(|tag| *tag != 0);
        Self {
            start: Text(record.start),
            end: Text(record.end),
            source_ip: Text(record.source_ip),
            source_port: record.source_port,
            destination_ip: Text(record.destination_ip),
            destination_port: record.destination_port,
            protocol: Text(record.protocol),
            vlan: tag(record.vlan.outer),
            inner_vlan: tag(record.vlan.inner),
            source_packets: record.sent.packets,
            source_bytes: record.sent.bytes,
            destination_packets: record.returned.packets,
            destination_bytes: record.returned.bytes,
            source_tcp_flags: flags(record.sent),
            destination_tcp_flags: flags(record.returned),
            state: Text(record.state),
            end_reason: Text(record.ended),
            community_id: Text(record.community_id()),
            interface: record.interface.clone().map(Text),
        }
    }
}

impl TryFrom<Document> for FlowRecord {
    type Error = FlowError;

    fn try_from(document: Document) -> Result<Self, FlowError> {
        let refused = |what| FlowError::Inconsistent { what };
        let is_tcp = document.protocol.0 == Protocol::TCP;
        if document.source_tcp_flags.is_some() != is_tcp || document.destination_tcp_flags.is_some() != is_tcp {
            return Err(refused("tcp flags are for tcp, and for both sides"));
        }
        if document.vlan.is_some_and(is_no_tag) || document.inner_vlan.is_some_and(is_no_tag) {
            return Err(refused("a vlan tag is not from 1 to 4094"));
        }
        let said = document.community_id.0;
        let record = document.into_record();
        match fault_of(&record) {
            Some(what) => Err(refused(what)),
            None if record.community_id() != said => {
                Err(refused("the community id is not that of its addresses and ports"))
            }
            None => Ok(record),
        }
    }
}

impl Document {
    fn into_record(self) -> FlowRecord {
        let side = |packets, bytes, flags: Option<Text<TcpFlags>>| {
            let tcp_flags = flags.map(|flags| flags.0).unwrap_or_default();
            Traffic { packets, bytes, tcp_flags }
        };
        FlowRecord {
            start: self.start.0,
            end: self.end.0,
            source_ip: self.source_ip.0,
            source_port: self.source_port,
            destination_ip: self.destination_ip.0,
            destination_port: self.destination_port,
            protocol: self.protocol.0,
            vlan: VlanTags { outer: self.vlan.unwrap_or_default(), inner: self.inner_vlan.unwrap_or_default() },
            sent: side(self.source_packets, self.source_bytes, self.source_tcp_flags),
            returned: side(self.destination_packets, self.destination_bytes, self.destination_tcp_flags),
            state: self.state.0,
            ended: self.end_reason.0,
            interface: self.interface.map(|interface| interface.0),
        }
    }
}

fn is_no_tag(tag: u16) -> bool {
    !(1..=4_094).contains(&tag)
}

/// Returns what breaks the contract of [`FlowRecord`], if anything does.
fn fault_of(record: &FlowRecord) -> Option<&'static str> {
    let is_silent = |side: Traffic| side.packets == 0;
    let says_something = |side: Traffic| side.bytes != 0 || side.tcp_flags.0 != 0;
    if record.end < record.start {
        return Some("the end is before the start");
    }
    if record.source_ip.is_ipv4() != record.destination_ip.is_ipv4() {
        return Some("the addresses are of two families");
    }
    if record.source_port.is_some() != record.destination_port.is_some() {
        return Some("one port is given without the other");
    }
    if record.vlan.inner != 0 && record.vlan.outer == 0 {
        return Some("an inner vlan tag has no outer one");
    }
    if is_silent(record.sent) && is_silent(record.returned) {
        return Some("there is no packet");
    }
    for side in [record.sent, record.returned] {
        if is_silent(side) && says_something(side) {
            return Some("bytes or flags came without a packet");
        }
    }
    None
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<T>(PhantomData<T>);

        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for TextVisitor<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

#[cfg(test)]
pub(crate) mod tests;
