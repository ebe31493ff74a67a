//! Packets into flow records, flow records into events.
//!
//! ```text
//!  frame ──► link ──► packet ──► key ──► table of live flows ──► FlowRecord ──► JSON (sent, kept as evidence)
//!         Ethernet,   addresses,         128 bytes each,              │
//!         VLAN, SLL   ports, flags       timer wheel                  └───────► fields of an event row
//! ```
//!
//! An agent holds a [`Meter`] and gives it every frame it captures; the meter hands out a
//! [`FlowRecord`] whenever a flow is over. Records travel as one JSON object each
//! ([`FlowRecord::to_json`]); a collector reads them without trust ([`FlowRecord::from_json`]) and
//! fills the event's row ([`FlowRecord::fill`]).
//!
//! What holds whatever the packets are: nothing panics, nothing grows past [`MeterLimits`], and
//! every packet is in exactly one record or in one counter of [`MeterCounters`].
//!
//! This crate is pure: no file, socket, clock, thread or global; the packets' time is the only time.
//!
//! # Example
//!
//! ```
//! use canh_event::Timestamp;
//! use canh_flow::{ConnectionState, FlowRecord, LinkType, Meter, MeterLimits};
//!
//! // An IPv4 packet with a TCP SYN from 10.0.0.1:50000 to 10.0.0.2:22.
//! let packet = [
//!     0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, //
//!     0xc3, 0x50, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x02, 0, 0, 0, 0, 0, 0,
//! ];
//! let mut meter = Meter::new(MeterLimits::default(), None);
//! let mut records: Vec<FlowRecord> = Vec::new();
//! let mut finished = |record| records.push(record);
//! meter.observe(LinkType::RawIp, &packet, 40, Timestamp::from_secs(1_800_000_000), &mut finished);
//! meter.expire(Timestamp::from_secs(1_800_000_060), &mut finished);
//!
//! assert_eq!(records[0].state, ConnectionState::S0);
//! let mut json = Vec::new();
//! records[0].to_json(&mut json);
//! assert_eq!(FlowRecord::from_json(&json)?, records[0]);
//! # Ok::<(), canh_flow::FlowError>(())
//! ```

mod community_id;
mod connection;
mod event;
mod flow;
mod json;
mod key;
mod limits;
mod link;
mod meter;
mod packet;
mod protocol;
mod record;
mod table;
mod unreadable;
mod wheel;

pub use community_id::{CommunityId, CommunityIdError};
pub use json::{FlowError, MAX_JSON_BYTES};
pub use limits::MeterLimits;
pub use link::LinkType;
pub use meter::{Meter, MeterCounters};
pub use protocol::{ConnectionState, EndReason, Protocol, TcpFlags, WordError};
pub use record::{FlowRecord, Traffic, VlanTags};
pub use unreadable::{Unreadable, UnreadableCounts};
