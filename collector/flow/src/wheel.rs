//! A timer wheel over the flows of a table: which of them may be over by now.
//!
//! ```text
//!             processed ─┐     ┌─ earliest slot that may hold a flow
//!  slots:  [ ][ ][ ][ ][ ]  [ ][7→3→9][ ][2][ ] ...      one slot a quarter second, round and round
//!                               lists linked by index through Flow::links
//! ```
//!
//! A packet does not touch the wheel. Its flow stays in the slot where it would have been over
//! without the packet, and when that slot comes up it is looked at again and moved on. So a busy
//! flow costs one move in each timeout, not one for each packet (two cache misses saved on each),
//! and finding what is over never means going through the table.

use crate::flow::{Flow, Links, MeterTime};

/// The wheel's step, in nanoseconds.
const TICK_NANOS: i64 = 250_000_000;

#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
}

const EMPTY: Slot = Slot { first: Links::NONE, last: Links::NONE };

/// A count of steps since the meter's time zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(i64);

impl Tick {
    /// Returns the step a time is in.
    pub(crate) fn of(time: MeterTime) -> Self {
        Self(time.0.div_euclid(TICK_NANOS))
    }

    /// Returns the first step that begins after a time.
    pub(crate) fn after(time: MeterTime) -> Self {
        Self(Self::of(time).0 + 1)
    }
}

/// The wheel. Indices in it point into the table's flows.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Slot>,
    /// Every slot up to this one is empty.
    processed: Tick,
    /// No flow is in a slot between `processed` and this one.
    earliest: Tick,
}

impl Wheel {
    /// Returns a wheel for flows that are due at most `span_nanos` from the time it was last turned to.
    pub(crate) fn new(span_nanos: i64) -> Self {
        // Two more than the span: the step under way, and the one a due time is rounded up to.
        let steps = usize::try_from(span_nanos / TICK_NANOS + 3).unwrap_or_default();
        Self { slots: vec![EMPTY; steps.next_power_of_two()], processed: Tick(0), earliest: Tick(0) }
    }

    /// Puts a wheel that holds nothing to a time.
    pub(crate) fn start(&mut self, now: Tick) {
        self.processed = now;
        self.earliest = now;
    }

    fn steps(&self) -> i64 {
        i64::try_from(self.slots.len()).unwrap_or(i64::MAX)
    }

    fn slot_index(&self, tick: Tick) -> u32 {
        // The number of slots is a power of two, so the mask is the remainder.
        u32::try_from(tick.0.rem_euclid(self.steps())).unwrap_or_default()
    }

    fn slot(&self, index: u32) -> Slot {
        self.slots.get(index as usize).copied().unwrap_or(EMPTY)
    }

    /// Puts a flow that is in no list where it is due, at the earliest into the next slot.
    pub(crate) fn insert(&mut self, flows: &mut [Flow], index: u32, due: Tick) {
        let tick = Tick(due.0.clamp(self.processed.0 + 1, self.processed.0 + self.steps() - 1));
        self.earliest = self.earliest.min(tick).max(Tick(self.processed.0 + 1));
        let slot_index = self.slot_index(tick);
        let slot = self.slot(slot_index);
        if let Some(flow) = flows.get_mut(index as usize) {
            flow.links = Links { previous: slot.last, next: Links::NONE, slot: slot_index };
        }
        let first = match flows.get_mut(slot.last as usize) {
            Some(last) => {
                last.links.next = index;
                slot.first
            }
            None => index,
        };
        self.set(slot_index, Slot { first, last: index });
    }

    /// Takes a flow out of its list.
    pub(crate) fn remove(&mut self, flows: &mut [Flow], index: u32) {
        let Some(flow) = flows.get_mut(index as usize) else { return };
        let links = std::mem::replace(&mut flow.links, Links::LOOSE);
        let mut slot = self.slot(links.slot);
        match flows.get_mut(links.previous as usize) {
            Some(previous) => previous.links.next = links.next,
            None => slot.first = links.next,
        }
        match flows.get_mut(links.next as usize) {
            Some(next) => next.links.previous = links.previous,
            None => slot.last = links.previous,
        }
        self.set(links.slot, slot);
    }

    fn set(&mut self, index: u32, slot: Slot) {
        if let Some(place) = self.slots.get_mut(index as usize) {
            *place = slot;
        }
    }

    /// Takes out the first flow of a slot that has come up by `now`, if there is any. The caller
    /// ends it or inserts it again.
    pub(crate) fn pop_until(&mut self, flows: &mut [Flow], now: Tick) -> Option<u32> {
        if now <= self.processed {
            return None;
        }
        // After a long silence once round is enough: every slot has then been looked at.
        let last = now.min(Tick(self.processed.0 + self.steps()));
        while self.earliest <= last {
            let first = self.slot(self.slot_index(self.earliest)).first;
            if first != Links::NONE {
                self.processed = self.processed.max(Tick(self.earliest.0 - 1));
                self.remove(flows, first);
                return Some(first);
            }
            self.earliest = Tick(self.earliest.0 + 1);
        }
        self.processed = now;
        self.earliest = self.earliest.max(Tick(now.0 + 1));
        None
    }

    /// Takes out the flow whose slot comes up first, and says which step that is.
    pub(crate) fn pop_earliest(&mut self, flows: &mut [Flow]) -> Option<(u32, Tick)> {
        let end = self.processed.0 + self.steps();
        while self.earliest.0 <= end {
            let first = self.slot(self.slot_index(self.earliest)).first;
            if first != Links::NONE {
                self.remove(flows, first);
                return Some((first, self.earliest));
            }
            self.earliest = Tick(self.earliest.0 + 1);
        }
        self.earliest = Tick(self.processed.0 + 1);
        None
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Timestamp;

    use super::*;
    use crate::key::FlowKey;
    use crate::link::LinkType;
    use crate::packet::Packet;
    use crate::packet::tests::{ipv4, udp};

    fn flows(count: usize) -> Vec<Flow> {
        let packet = Packet::parse(LinkType::RawIp, &ipv4(17, 1, 2, 0, &udp(1, 2, b"")), 0).unwrap();
        let (key, sender) = FlowKey::of(&packet);
        vec![Flow::new(key, sender, &packet, Timestamp::EPOCH, MeterTime(0)); count]
    }

    fn popped_until(wheel: &mut Wheel, flows: &mut [Flow], now: i64) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop_until(flows, Tick(now))).collect()
    }

    #[test]
    fn flows_come_out_in_order_of_their_step_and_then_of_their_coming() {
        let (mut wheel, mut flows) = (Wheel::new(8 * TICK_NANOS), flows(5));
        wheel.start(Tick(-3));
        for (index, due) in [(0, 2), (1, 0), (2, 2), (3, 1), (4, 2)] {
            wheel.insert(&mut flows, index, Tick(due));
        }
        wheel.remove(&mut flows, 2);
        assert_eq!(popped_until(&mut wheel, &mut flows, 1), [1, 3]);
        assert_eq!(popped_until(&mut wheel, &mut flows, 1), [0_u32; 0]);
        wheel.insert(&mut flows, 2, Tick(-9));
        assert_eq!(popped_until(&mut wheel, &mut flows, 2), [0, 4, 2]);
    }

    #[test]
    fn wheel_turns_round_and_round_and_over_long_silence() {
        let (mut wheel, mut flows) = (Wheel::new(8 * TICK_NANOS), flows(2));
        wheel.start(Tick(0));
        for now in 0..100 {
            wheel.insert(&mut flows, 0, Tick(now + 8));
            assert_eq!(popped_until(&mut wheel, &mut flows, now + 7), [0_u32; 0], "{now}");
            assert_eq!(popped_until(&mut wheel, &mut flows, now + 8), [0], "{now}");
        }
        wheel.insert(&mut flows, 1, Tick(110));
        assert_eq!(popped_until(&mut wheel, &mut flows, i64::MAX / TICK_NANOS), [1]);
    }

    #[test]
    fn earliest_is_found_wherever_it_is() {
        let (mut wheel, mut flows) = (Wheel::new(8 * TICK_NANOS), flows(3));
        wheel.start(Tick(1_000));
        wheel.insert(&mut flows, 0, Tick(1_007));
        wheel.insert(&mut flows, 1, Tick(1_003));
        assert_eq!(wheel.pop_earliest(&mut flows), Some((1, Tick(1_003))));
        wheel.insert(&mut flows, 2, Tick(1_002));
        assert_eq!(wheel.pop_earliest(&mut flows), Some((2, Tick(1_002))));
        assert_eq!(wheel.pop_earliest(&mut flows), Some((0, Tick(1_007))));
        assert_eq!(wheel.pop_earliest(&mut flows), None);
    }
}
