//! The shelf: recent events that some correlation counts, kept so that evidence can be cut from
//! them when it is met.
//!
//! ```text
//! group ─► link 9 ─► link 7 ─► link 2        newest first; each link names the one before
//!            │          │         │          in its own group, and an event on the shelf
//!            ▼          ▼         ▼
//! events   [ 41 ]     [ 40 ]    [ 33 ]       a ring of bytes, bounded; the oldest fall off
//! ```
//!
//! A group holds one number, however many events it counted. What fell off the shelf is missing
//! from the evidence and nothing else: counts and times do not come from here.

use std::collections::VecDeque;

use canh_event::{EventRef, Timestamp};
use canh_incident::{Evidence, MAX_EVIDENCE_RAW_BYTES, RawRecord};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_CHAIN_STEPS;
use crate::nanos::Nanos;

/// A link of a group's chain; 0 is no link.
pub(crate) type LinkNumber = u64;

/// Bytes an event takes besides its texts: its entry and one link.
const ENTRY_BYTES: usize = size_of::<ShelvedEvent>() + size_of::<Link>();

/// What is shelved of one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToShelve<'a> {
    /// Its number among all events: tells whether it is on the shelf already.
    pub(crate) number: u64,
    pub(crate) event: EventRef,
    pub(crate) time: Nanos,
    pub(crate) source: &'a str,
    pub(crate) raw: &'a [u8],
    pub(crate) fields: &'a [(&'a str, &'a str)],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ShelvedEvent {
    record: u64,
    row: u16,
    time: Nanos,
    raw_full: u32,
    /// How many bytes of the ring are its source, raw record and fields.
    source: u16,
    raw: u16,
    fields: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    event: u64,
    previous: LinkNumber,
    rule: u32,
}

/// Recent events and the chains through them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shelf {
    bytes: VecDeque<u8>,
    /// Where in the whole stream of bytes the ring begins.
    bytes_begin: u64,
    events: VecDeque<(u64, ShelvedEvent)>,
    events_dropped: u64,
    /// The number of the event put there last.
    last_number: u64,
    links: VecDeque<Link>,
    /// Link numbers begin at 1: the first link held is this plus one.
    links_dropped: u64,
    #[serde(skip)]
    scratch: Vec<u8>,
}

impl Shelf {
    /// Puts an event on the shelf, unless it is the one put there last, and adds a link to it.
    /// Returns the link's number; 0 if the shelf keeps nothing.
    pub(crate) fn link(&mut self, event: ToShelve<'_>, rule: u32, previous: LinkNumber, limit: usize) -> LinkNumber {
        if limit == 0 {
            return 0;
        }
        let is_there = !self.events.is_empty() && self.last_number == event.number;
        if !is_there {
            self.last_number = event.number;
            self.put(event);
        }
        let number = self.events_dropped + self.events.len() as u64 - 1;
        self.links.push_back(Link { event: number, previous, rule });
        while self.held_bytes() > limit && self.events.len() > 1 {
            self.drop_oldest();
        }
        self.links_dropped + self.links.len() as u64
    }

    /// Returns how many bytes the shelf holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.events.len() * ENTRY_BYTES + self.links.len() * size_of::<Link>()
    }

    fn put(&mut self, event: ToShelve<'_>) {
        let begin = self.bytes_begin + self.bytes.len() as u64;
        let source = event.source.as_bytes();
        let source = source.get(..source.len().min(512)).unwrap_or_default();
        let raw = event.raw.get(..event.raw.len().min(MAX_EVIDENCE_RAW_BYTES + 3)).unwrap_or_default();
        self.scratch.clear();
        for (name, value) in event.fields {
            put_text(&mut self.scratch, name);
            put_text(&mut self.scratch, value);
        }
        self.bytes.extend(source);
        self.bytes.extend(raw);
        self.bytes.extend(&self.scratch);
        let shelved = ShelvedEvent {
            record: event.event.record,
            row: event.event.row,
            time: event.time,
            raw_full: u32::try_from(event.raw.len()).unwrap_or(u32::MAX),
            source: u16::try_from(source.len()).unwrap_or(0),
            raw: u16::try_from(raw.len()).unwrap_or(0),
            fields: u32::try_from(self.scratch.len()).unwrap_or(0),
        };
        self.events.push_back((begin, shelved));
    }

    fn drop_oldest(&mut self) {
        let Some((_, oldest)) = self.events.pop_front() else { return };
        let length = usize::from(oldest.source) + usize::from(oldest.raw) + oldest.fields as usize;
        self.bytes.drain(..length.min(self.bytes.len()));
        self.bytes_begin += length as u64;
        self.events_dropped += 1;
        while self.links.front().is_some_and(|link| link.event < self.events_dropped) {
            self.links.pop_front();
            self.links_dropped += 1;
        }
    }

    fn link_at(&self, number: LinkNumber) -> Option<Link> {
        let place = number.checked_sub(self.links_dropped + 1)?;
        self.links.get(usize::try_from(place).ok()?).copied()
    }

    /// Returns the links of a chain that are still on the shelf, newest first, down to but without
    /// `until`.
    pub(crate) fn chain(&self, newest: LinkNumber, until: LinkNumber) -> Vec<LinkNumber> {
        let mut numbers = Vec::new();
        let mut number = newest;
        while number > until && numbers.len() < MAX_CHAIN_STEPS {
            let Some(link) = self.link_at(number) else { break };
            numbers.push(number);
            number = link.previous;
        }
        numbers
    }

    /// Returns the time of a link's event.
    pub(crate) fn time_of(&self, number: LinkNumber) -> Option<Nanos> {
        let link = self.link_at(number)?;
        self.event_at(link).map(|(_, event)| event.time)
    }

    /// Returns the number of the rule that a link's event met.
    pub(crate) fn rule_of(&self, number: LinkNumber) -> Option<u32> {
        self.link_at(number).map(|link| link.rule)
    }

    fn event_at(&self, link: Link) -> Option<&(u64, ShelvedEvent)> {
        let place = link.event.checked_sub(self.events_dropped)?;
        self.events.get(usize::try_from(place).ok()?)
    }

    /// Cuts evidence from a link's event. `rule_id` turns the link's rule into its id.
    pub(crate) fn evidence<'a>(&self, number: LinkNumber, rule_id: impl Fn(u32) -> &'a str) -> Option<Evidence> {
        let link = self.link_at(number)?;
        let (begin, event) = self.event_at(link)?;
        let start = usize::try_from(begin.checked_sub(self.bytes_begin)?).ok()?;
        let source_end = start + usize::from(event.source);
        let raw_end = source_end + usize::from(event.raw);
        let fields_end = raw_end + event.fields as usize;
        let copy = |from: usize, to: usize| {
            self.bytes.range(from.min(self.bytes.len())..to.min(self.bytes.len())).copied().collect::<Vec<u8>>()
        };
        Some(Evidence {
            event: EventRef { record: event.record, row: event.row },
            time: Timestamp::from_nanos(event.time),
            source: String::from_utf8_lossy(&copy(start, source_end)).into_owned(),
            rule_id: rule_id(link.rule).to_owned(),
            raw: RawRecord::of_cut(&copy(source_end, raw_end), u64::from(event.raw_full)),
            fields: take_fields(&copy(raw_end, fields_end)),
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn take_fields(bytes: &[u8]) -> Vec<(String, String)> {
    let mut rest = bytes;
    let mut take = || -> Option<String> {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let mut fields = Vec::new();
    while let Some(name) = take() {
        fields.push((name, take().unwrap_or_default()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(shelf: &mut Shelf, record: u64, previous: LinkNumber, limit: usize) -> LinkNumber {
        let raw = format!("line {record}");
        let fields = [("User", "lan"), ("SourceIp", "10.0.0.7")];
        let event = EventRef { record, row: 3 };
        let to_shelve =
            ToShelve { number: record, event, time: 5, source: "web-01:/x", raw: raw.as_bytes(), fields: &fields };
        shelf.link(to_shelve, 1, previous, limit)
    }

    #[test]
    fn a_chain_leads_back_through_its_own_events() {
        let mut shelf = Shelf::default();
        let (mut one, mut other) = (0, 0);
        for record in 1..=6 {
            if record % 2 == 0 {
                one = put(&mut shelf, record, one, 1 << 20);
            } else {
                other = put(&mut shelf, record, other, 1 << 20);
            }
        }
        let raws = |newest| -> Vec<String> {
            let chain = shelf.chain(newest, 0);
            let pieces = chain.into_iter().filter_map(|number| shelf.evidence(number, |_| "rule"));
            pieces.map(|piece| piece.raw.text().unwrap().to_owned()).collect()
        };
        assert_eq!(raws(one), ["line 6", "line 4", "line 2"]);
        assert_eq!(raws(other), ["line 5", "line 3", "line 1"]);
        let piece = shelf.evidence(one, |_| "rule").unwrap();
        assert_eq!((piece.event.record, piece.event.row, piece.source.as_str()), (6, 3, "web-01:/x"));
        assert_eq!(piece.fields[1], ("SourceIp".to_owned(), "10.0.0.7".to_owned()));
    }

    #[test]
    fn two_rules_share_one_event() {
        let mut shelf = Shelf::default();
        let first = put(&mut shelf, 1, 0, 1 << 20);
        let before = shelf.bytes.len();
        let second = put(&mut shelf, 1, 0, 1 << 20);
        assert_ne!(first, second);
        assert_eq!(shelf.bytes.len(), before);
    }

    #[test]
    fn the_shelf_keeps_within_its_bytes_and_what_fell_off_is_only_missing() {
        let mut shelf = Shelf::default();
        let mut newest = 0;
        for record in 1..=10_000 {
            newest = put(&mut shelf, record, newest, 10_000);
            assert!(shelf.held_bytes() <= 10_000);
        }
        let chain = shelf.chain(newest, 0);
        assert!((10..200).contains(&chain.len()), "{}", chain.len());
        let oldest = shelf.evidence(*chain.last().unwrap(), |_| "rule").unwrap();
        assert_eq!(oldest.event.record, 10_001 - chain.len() as u64);
        assert!(shelf.chain(1, 0).is_empty());
        assert_eq!(shelf.chain(newest, newest - 2), [newest, newest - 1]);
    }

    #[test]
    fn a_shelf_of_no_bytes_keeps_nothing() {
        let mut shelf = Shelf::default();
        assert_eq!(put(&mut shelf, 1, 0, 0), 0);
        assert_eq!(shelf.held_bytes(), 0);
    }

    #[test]
    fn a_shelf_comes_back_from_a_snapshot_byte_for_byte() {
        let mut shelf = Shelf::default();
        let mut newest = 0;
        for record in 1..=500 {
            newest = put(&mut shelf, record, newest, 10_000);
        }
        let bytes = postcard::to_allocvec(&shelf).unwrap();
        let mut again: Shelf = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(postcard::to_allocvec(&again).unwrap(), bytes);
        assert_eq!(put(&mut again, 501, newest, 10_000), put(&mut shelf, 501, newest, 10_000));
    }
}
