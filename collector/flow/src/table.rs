//! The live flows: found by key through a hash index, and by due time through the timer wheel.
//!
//! ```text
//!  index (hashbrown, seeded): 4 bytes and a tag a flow ──► flows: one block, 128 bytes each
//!                                                            ▲
//!  wheel: lists of indices through Flow::links ──────────────┘
//! ```
//!
//! Both blocks are reserved whole when the table is made, so no packet ever waits for a table to
//! grow; the system lends the memory only as it is first used. Nothing here is ordered by hash:
//! what comes out, and in which order, does not depend on the seed.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::flow::{Flow, Links};
use crate::key::FlowKey;
use crate::wheel::{Tick, Wheel};

/// Live flows, at most as many as the table was made for.
#[derive(Debug)]
pub(crate) struct FlowTable {
    flows: Vec<Flow>,
    /// The first unused place in `flows`; the others follow through their links.
    free: u32,
    index: HashTable<u32>,
    hasher: RandomState,
    wheel: Wheel,
    max_flows: usize,
}

impl FlowTable {
    /// Returns an empty table for `max_flows` flows, due at most `span_nanos` from now.
    pub(crate) fn new(max_flows: u32, span_nanos: i64) -> Self {
        let max_flows = max_flows as usize;
        Self {
            flows: Vec::with_capacity(max_flows),
            free: Links::NONE,
            index: HashTable::with_capacity(max_flows),
            hasher: RandomState::default(),
            wheel: Wheel::new(span_nanos),
            max_flows,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.index.len() >= self.max_flows
    }

    /// Puts the wheel of an empty table to a time.
    pub(crate) fn start(&mut self, now: Tick) {
        self.wheel.start(now);
    }

    pub(crate) fn find(&self, key: &FlowKey) -> Option<u32> {
        let same = |index: &u32| self.get(*index).is_some_and(|flow| flow.key == *key);
        self.index.find(self.hasher.hash_one(key), same).copied()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Flow> {
        self.flows.get(index as usize)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Flow> {
        self.flows.get_mut(index as usize)
    }

    /// Adds a flow.
    ///
    /// # Contract
    /// The table is not full, and has no flow of this key.
    pub(crate) fn insert(&mut self, flow: Flow, due: Tick) -> u32 {
        debug_assert!(!self.is_full() && self.find(&flow.key).is_none());
        let hash = self.hasher.hash_one(flow.key);
        let place = self.free;
        let index = match self.flows.get_mut(place as usize) {
            Some(unused) => {
                self.free = unused.links.next;
                *unused = flow;
                place
            }
            None => {
                self.flows.push(flow);
                u32::try_from(self.flows.len() - 1).unwrap_or(Links::NONE)
            }
        };
        let (flows, hasher) = (&self.flows, &self.hasher);
        let rehash = |index: &u32| flows.get(*index as usize).map_or(0, |flow| hasher.hash_one(flow.key));
        self.index.insert_unique(hash, index, rehash);
        self.wheel.insert(&mut self.flows, index, due);
        index
    }

    /// Moves a flow on the wheel to where it is due now.
    pub(crate) fn reschedule(&mut self, index: u32, due: Tick) {
        self.wheel.remove(&mut self.flows, index);
        self.wheel.insert(&mut self.flows, index, due);
    }

    /// Removes a flow that is on the wheel.
    pub(crate) fn remove(&mut self, index: u32) {
        self.wheel.remove(&mut self.flows, index);
        self.remove_popped(index);
    }

    /// Removes a flow that was popped off the wheel.
    pub(crate) fn remove_popped(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else { return };
        flow.links = Links { next: self.free, ..Links::LOOSE };
        let hash = self.hasher.hash_one(flow.key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == index) {
            entry.remove();
            self.free = index;
        }
    }

    /// Puts a flow that was popped back on the wheel.
    pub(crate) fn put_back(&mut self, index: u32, due: Tick) {
        self.wheel.insert(&mut self.flows, index, due);
    }

    /// Pops a flow whose slot has come up by `now` off the wheel, if there is any.
    pub(crate) fn pop_until(&mut self, now: Tick) -> Option<u32> {
        self.wheel.pop_until(&mut self.flows, now)
    }

    /// Pops the flow whose slot comes up first off the wheel, with that slot's step.
    pub(crate) fn pop_earliest(&mut self) -> Option<(u32, Tick)> {
        self.wheel.pop_earliest(&mut self.flows)
    }
}
