//! Packets of any link type at any time: none is lost, none counted twice.
//!
//! ```text
//! link type u8 │ each packet: length u16 │ seconds since the last i8 │ bytes
//! ```

#![no_main]

use canh_event::Timestamp;
use canh_flow::{LinkType, Meter, MeterLimits};

const LINKS: [LinkType; 6] = [
    LinkType::Ethernet,
    LinkType::LinuxCooked,
    LinkType::LinuxCookedV2,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::Loop,
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&link, mut rest)) = bytes.split_first() else { return };
    let link = LINKS[usize::from(link) % LINKS.len()];
    let mut meter = Meter::new(MeterLimits { max_flows: 4, ..MeterLimits::default() }, None);
    let (mut now, mut observed, mut recorded) = (1_800_000_000_i64, 0, 0);
    let mut finished = |record: canh_flow::FlowRecord| {
        recorded += record.sent.packets + record.returned.packets;
        canh_fuzz::check_flow(&record);
    };
    while let Some((&[low, high, step], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (frame, left) = after.split_at(length);
        rest = left;
        now += i64::from(i8::from_le_bytes([step]));
        let wire_length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        meter.observe(link, frame, wire_length, Timestamp::from_secs(now), &mut finished);
        observed += 1;
    }
    meter.expire(Timestamp::from_secs(now + 60), &mut finished);
    meter.flush(&mut finished);
    assert_eq!(meter.live_flows(), 0);
    assert_eq!(meter.counters().packets, recorded);
    assert_eq!(meter.counters().packets + meter.counters().unreadable.total(), observed);
});
