//! The meter: packets in, flow records out.
//!
//! Comes in: frames with the time they were captured at. Goes out: a record for every flow that is
//! over, for every piece of a flow the active timeout cuts off, and at the end for all that is left.
//!
//! A record is a function of the packets alone, whenever the meter is asked to expire: a flow whose
//! next packet comes too late is ended by that packet, even if it was still in the table. Only an
//! overfull table bends this: then the flow nearest to its timeout is recorded early and counted.
//! Every packet is in exactly one record or in one of the counters of what could not be read.

use std::time::Duration;

use canh_event::{SourceName, Timestamp};

use crate::connection::Phase;
use crate::flow::{Flow, MeterTime};
use crate::key::{FlowKey, Sender};
use crate::limits::{CLOSED_TIMEOUT, MAX_REORDER, MeterLimits};
use crate::link::LinkType;
use crate::packet::Packet;
use crate::protocol::EndReason;
use crate::record::FlowRecord;
use crate::table::FlowTable;
use crate::unreadable::UnreadableCounts;
use crate::wheel::Tick;

/// How many flows are looked at to evict one: those looked at and found busy are moved on, so the
/// next search is shorter. Past it the next flow goes, busy or not.
const MAX_EVICTION_LOOKS: usize = 256;

/// Turns packets into flow records.
#[derive(Debug)]
pub struct Meter {
    table: FlowTable,
    timeouts: Timeouts,
    clock: MeterClock,
    interface: Option<SourceName>,
    counters: MeterCounters,
}

/// What a meter has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterCounters {
    /// Packets counted to flows.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
    /// Frames that could not be counted to a flow, by reason.
    pub unreadable: UnreadableCounts,
    records: [u64; EndReason::ALL.len()],
}

/// Timeouts in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    idle: i64,
    open: i64,
    closed: i64,
    active: i64,
}

/// The packets' time without its steps: when the capture's clock is set back, the meter's goes on.
#[derive(Debug, Default)]
struct MeterClock {
    offset_nanos: i64,
    newest: Option<MeterTime>,
}

impl Meter {
    /// Returns a meter with no flow; `interface` is where its packets come from, as records name it.
    pub fn new(limits: MeterLimits, interface: Option<SourceName>) -> Self {
        let limits = limits.held();
        let timeouts = Timeouts {
            idle: nanos(limits.idle_timeout),
            open: nanos(limits.open_timeout),
            closed: nanos(CLOSED_TIMEOUT),
            active: nanos(limits.active_timeout),
        };
        let longest = timeouts.idle.max(timeouts.open).max(timeouts.closed);
        let table = FlowTable::new(limits.max_flows, longest + nanos(MAX_REORDER));
        Self { table, timeouts, clock: MeterClock::default(), interface, counters: MeterCounters::default() }
    }

    /// Returns what was done so far.
    pub fn counters(&self) -> &MeterCounters {
        &self.counters
    }

    /// Returns how many flows are live.
    pub fn live_flows(&self) -> usize {
        self.table.len()
    }

    /// Counts a frame as captured at `at`. `wire_len` is the frame's length before it was cut.
    /// Records that are thereby finished go to `finished`.
    pub fn observe(
        &mut self,
        link: LinkType,
        frame: &[u8],
        wire_len: u32,
        at: Timestamp,
        finished: &mut impl FnMut(FlowRecord),
    ) {
        let now = self.read_clock(at);
        self.expire_due(finished);
        let packet = match Packet::parse(link, frame, wire_len) {
            Ok(packet) => packet,
            Err(reason) => return self.counters.unreadable.add(reason),
        };
        self.counters.packets += 1;
        self.counters.bytes = self.counters.bytes.saturating_add(packet.ip_bytes);
        let (key, sender) = FlowKey::of(&packet);
        let index = self.flow_for(key, sender, &packet, at, now, finished);
        self.count(index, sender, &packet, now);
    }

    /// Ends the flows that are over by `now`, when no packet comes to say what time it is.
    pub fn expire(&mut self, now: Timestamp, finished: &mut impl FnMut(FlowRecord)) {
        self.read_clock(now);
        self.expire_due(finished);
    }

    /// Ends every flow.
    pub fn flush(&mut self, finished: &mut impl FnMut(FlowRecord)) {
        while let Some((index, _)) = self.table.pop_earliest() {
            self.finish(index, EndReason::Flushed, finished);
            self.table.remove_popped(index);
        }
    }

    fn read_clock(&mut self, at: Timestamp) -> MeterTime {
        let is_first = self.clock.newest.is_none();
        let now = self.clock.read(at);
        if is_first {
            self.table.start(self.clock.settled());
        }
        now
    }

    /// Returns the flow a packet is to be counted to, after ending and beginning what it ends and begins.
    fn flow_for(
        &mut self,
        key: FlowKey,
        sender: Sender,
        packet: &Packet,
        at: Timestamp,
        now: MeterTime,
        finished: &mut impl FnMut(FlowRecord),
    ) -> u32 {
        if let Some(index) = self.table.find(&key) {
            match self.break_before(index, packet, now) {
                None => return index,
                Some(EndReason::Active) => {
                    self.finish(index, EndReason::Active, finished);
                    if let Some(flow) = self.table.get_mut(index) {
                        flow.begin_record(at, now);
                    }
                    return index;
                }
                Some(reason) => {
                    self.finish(index, reason, finished);
                    self.table.remove(index);
                }
            }
        }
        if self.table.is_full() {
            self.evict(finished);
        }
        let flow = Flow::new(key, sender, packet, at, now);
        let due = self.timeouts.due(&flow);
        self.table.insert(flow, due)
    }

    /// Returns why a packet does not belong in a flow's present record, if it does not.
    fn break_before(&self, index: u32, packet: &Packet, now: MeterTime) -> Option<EndReason> {
        let flow = self.table.get(index)?;
        if flow.is_over_before(packet) {
            Some(EndReason::Ended)
        } else if now.since(flow.last()) >= self.timeouts.of(flow) {
            Some(EndReason::Idle)
        } else if now.since(flow.started()) >= self.timeouts.active {
            Some(EndReason::Active)
        } else {
            None
        }
    }

    fn count(&mut self, index: u32, sender: Sender, packet: &Packet, now: MeterTime) {
        let Some(flow) = self.table.get_mut(index) else { return };
        let before = self.timeouts.of(flow);
        flow.observe(sender, packet, now);
        // The wheel looks at a flow again by itself, but only when its slot comes up: too late for
        // one whose timeout has become shorter.
        if self.timeouts.of(flow) < before {
            let due = self.timeouts.due(flow);
            self.table.reschedule(index, due);
        }
    }

    fn expire_due(&mut self, finished: &mut impl FnMut(FlowRecord)) {
        let now = self.clock.settled();
        while let Some(index) = self.table.pop_until(now) {
            let Some(due) = self.table.get(index).map(|flow| self.timeouts.due(flow)) else { return };
            if due > now {
                self.table.put_back(index, due);
            } else {
                self.finish(index, EndReason::Idle, finished);
                self.table.remove_popped(index);
            }
        }
    }

    /// Ends the flow that is nearest to its timeout.
    fn evict(&mut self, finished: &mut impl FnMut(FlowRecord)) {
        for look in 1..=MAX_EVICTION_LOOKS {
            let Some((index, slot)) = self.table.pop_earliest() else { return };
            let Some(due) = self.table.get(index).map(|flow| self.timeouts.due(flow)) else { return };
            if due > slot && look < MAX_EVICTION_LOOKS {
                self.table.put_back(index, due);
            } else {
                self.finish(index, EndReason::Evicted, finished);
                self.table.remove_popped(index);
                return;
            }
        }
    }

    /// Hands out a flow's record; an end that was seen is the reason before any other.
    fn finish(&mut self, index: u32, reason: EndReason, finished: &mut impl FnMut(FlowRecord)) {
        let Some(flow) = self.table.get(index) else { return };
        let is_closed = flow.phase() == Phase::Closed;
        let waits = matches!(reason, EndReason::Idle | EndReason::Flushed);
        let reason = if is_closed && waits { EndReason::Ended } else { reason };
        if let Some(count) = self.counters.records.get_mut(reason.index()) {
            *count += 1;
        }
        finished(flow.record(reason, self.interface.as_ref()));
    }
}

impl MeterCounters {
    /// Returns how many records were closed for a reason.
    pub fn records(&self, reason: EndReason) -> u64 {
        self.records.get(reason.index()).copied().unwrap_or_default()
    }

    /// Returns how many records were handed out.
    pub fn total_records(&self) -> u64 {
        self.records.iter().sum()
    }
}

impl Timeouts {
    fn of(&self, flow: &Flow) -> i64 {
        match flow.phase() {
            Phase::Pending => self.idle,
            Phase::Open => self.open,
            Phase::Closed => self.closed,
        }
    }

    fn due(&self, flow: &Flow) -> Tick {
        Tick::after(MeterTime(flow.last().0.saturating_add(self.of(flow))))
    }
}

impl MeterClock {
    /// Returns the meter's time of something that happened at `at`.
    fn read(&mut self, at: Timestamp) -> MeterTime {
        let now = MeterTime(at.nanos().saturating_add(self.offset_nanos));
        let Some(newest) = self.newest else {
            self.newest = Some(now);
            return now;
        };
        let behind = newest.since(now);
        if behind > nanos(MAX_REORDER) {
            self.offset_nanos = self.offset_nanos.saturating_add(behind);
            return newest;
        }
        self.newest = Some(newest.max(now));
        now
    }

    /// Returns the step up to which no packet can come any more.
    fn settled(&self) -> Tick {
        let newest = self.newest.unwrap_or_default();
        Tick::of(MeterTime(newest.0.saturating_sub(nanos(MAX_REORDER))))
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
