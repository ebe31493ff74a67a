//! A flow record as an event, in Sigma's words.
//!
//! Comes in: a checked record. Goes out: the fields, time and logsource of one row, formatted on
//! the stack: a collector does this for every flow of every agent.
//!
//! | field | value |
//! |---|---|
//! | `SourceIp`, `SourcePort`, `DestinationIp`, `DestinationPort` | as recorded; ports only if there are any |
//! | `Protocol` | `tcp`, `udp`, `icmp`, `ipv6-icmp`, `sctp` or a number |
//! | `SourceBytes`, `SourcePackets`, `DestinationBytes`, `DestinationPackets` | what each side sent |
//! | `Duration` | seconds, decimal |
//! | `ConnectionState` | Zeek's word |
//! | `TcpFlags` | letters of both sides' flags together, TCP only |
//! | `FlowEndReason` | `idle`, `active` (the flow goes on), `ended`, `flushed`, `evicted` |
//! | `VlanId`, `CommunityId`, `Interface` | as recorded |

use std::fmt::{self, Display, Write};

use canh_event::{BuildError, Logsource, RowBuilder, TimeQuality, Value};

use crate::protocol::Protocol;
use crate::record::FlowRecord;

/// The longest text that is formatted here: an IPv6 address with an IPv4 tail has 45 bytes.
const MAX_TEXT_BYTES: usize = 64;

impl FlowRecord {
    /// Returns the logsource of flow events. Whoever fills many rows makes it once and uses
    /// [`FlowRecord::fill_as`].
    pub fn logsource() -> Logsource {
        // Names written here, all valid; a test looks at them.
        Logsource::new("network", &["flow"], &["network_connection"]).unwrap_or_default()
    }

    /// Fills a row with the record: its fields, the end of the flow as event time, its logsource.
    ///
    /// # Errors
    /// As [`RowBuilder::field`]; the row then has some of the fields.
    pub fn fill(&self, row: &mut RowBuilder<'_>) -> Result<(), BuildError> {
        self.fill_as(&Self::logsource(), row)
    }

    /// Does what [`FlowRecord::fill`] does, with a logsource that is at hand, and puts nothing on
    /// the heap itself.
    ///
    /// # Errors
    /// As [`RowBuilder::field`]; the row then has some of the fields.
    pub fn fill_as(&self, logsource: &Logsource, row: &mut RowBuilder<'_>) -> Result<(), BuildError> {
        row.set_time(self.end, TimeQuality::Stated);
        row.set_logsource(logsource)?;
        let mut text = TextBuffer::default();
        row.field("SourceIp", Value::text(text.of(&self.source_ip)))?;
        row.field("DestinationIp", Value::text(text.of(&self.destination_ip)))?;
        if let Some((source, destination)) = self.ports() {
            row.field("SourcePort", Value::number(text.of(&source)))?;
            row.field("DestinationPort", Value::number(text.of(&destination)))?;
        }
        row.field("Protocol", Value::text(text.of(&self.protocol)))?;
        row.field("SourceBytes", Value::number(text.of(&self.sent.bytes)))?;
        row.field("SourcePackets", Value::number(text.of(&self.sent.packets)))?;
        row.field("DestinationBytes", Value::number(text.of(&self.returned.bytes)))?;
        row.field("DestinationPackets", Value::number(text.of(&self.returned.packets)))?;
        row.field("Duration", Value::number(text.of(&Seconds(self.duration().as_nanos()))))?;
        row.field("ConnectionState", Value::text(self.state.as_str()))?;
        row.field("FlowEndReason", Value::text(self.ended.as_str()))?;
        if self.protocol == Protocol::TCP {
            let flags = self.sent.tcp_flags.union(self.returned.tcp_flags);
            row.field("TcpFlags", Value::text(text.of(&flags)))?;
        }
        for tag in [self.vlan.outer, self.vlan.inner].into_iter().filter(|tag| *tag != 0) {
            row.field("VlanId", Value::number(text.of(&tag)))?;
        }
        row.field("CommunityId", Value::text(text.of(&self.community_id())))?;
        if let Some(interface) = &self.interface {
            row.field("Interface", Value::text(interface.as_str()))?;
        }
        Ok(())
    }
}

/// Nanoseconds, written as seconds with as many decimals as it takes: `12`, `0.25`.
struct Seconds(u128);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut fraction) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let mut digits = 9;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        write!(f, "{whole}.{fraction:0digits$}")
    }
}

/// Formats short values one after another in one place.
struct TextBuffer {
    bytes: [u8; MAX_TEXT_BYTES],
    len: usize,
}

impl Default for TextBuffer {
    fn default() -> Self {
        Self { bytes: [0; MAX_TEXT_BYTES], len: 0 }
    }
}

impl TextBuffer {
    fn of(&mut self, value: &dyn Display) -> &str {
        self.len = 0;
        let result = write!(self, "{value}");
        debug_assert!(result.is_ok(), "every value fits");
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for TextBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use canh_event::{BatchBuilder, EventBatch, Origin, RowHeader, Timestamp};

    use super::*;
    use crate::json::tests::full_record;
    use crate::record::Traffic;

    fn event(record: &FlowRecord) -> EventBatch {
        let mut builder = BatchBuilder::new();
        let header = RowHeader {
            time: Timestamp::EPOCH,
            time_quality: TimeQuality::Received,
            received: Timestamp::EPOCH,
            origin: builder.origin(&Origin::unknown()).unwrap(),
            logsource: builder.logsource(&Logsource::unknown()).unwrap(),
        };
        let mut row = builder.begin_row(header, b"raw").unwrap();
        record.fill(&mut row).unwrap();
        row.commit();
        builder.finish()
    }

    #[test]
    fn every_field_has_its_name_kind_and_value() {
        let batch = event(&full_record());
        let row = batch.row(0).unwrap();
        let expected = [
            ("SourceIp", Value::text("1.2.3.4")),
            ("DestinationIp", Value::text("5.6.7.8")),
            ("SourcePort", Value::number("1122")),
            ("DestinationPort", Value::number("3344")),
            ("Protocol", Value::text("tcp")),
            ("SourceBytes", Value::number("512")),
            ("SourcePackets", Value::number("6")),
            ("DestinationBytes", Value::number("640")),
            ("DestinationPackets", Value::number("5")),
            ("Duration", Value::number("0.75")),
            ("ConnectionState", Value::text("SF")),
            ("FlowEndReason", Value::text("ended")),
            ("TcpFlags", Value::text("APSF")),
            ("VlanId", Value::number("12")),
            ("VlanId", Value::number("7")),
            ("CommunityId", Value::text("1:wCb3OG7yAFWelaUydu0D+125CLM=")),
            ("Interface", Value::text("eth0")),
        ];
        assert_eq!(row.fields().collect::<Vec<_>>(), expected);
        assert_eq!((row.time(), row.time_quality()), (full_record().end, TimeQuality::Stated));
        let logsource = row.logsource();
        assert_eq!(logsource.product(), Some("network"));
        assert!(logsource.has_service("flow") && logsource.has_category("network_connection"));
    }

    #[test]
    fn what_a_flow_has_not_is_no_field() {
        let mut record = full_record();
        record.protocol = Protocol(47);
        (record.source_port, record.destination_port, record.interface) = (None, None, None);
        record.returned = Traffic::default();
        let batch = event(&record);
        let row = batch.row(0).unwrap();
        assert_eq!(row.value("Protocol"), Some(Value::text("47")));
        for field in ["SourcePort", "DestinationPort", "TcpFlags", "Interface"] {
            assert_eq!(row.value(field), None, "{field}");
        }
    }

    #[test]
    fn seconds_have_no_needless_digits() {
        let written = [(0, "0"), (1, "0.000000001"), (250_000_000, "0.25"), (12_000_000_000, "12"), (10, "0.00000001")];
        for (nanos, text) in written {
            assert_eq!(Seconds(nanos).to_string(), text);
        }
    }
}
