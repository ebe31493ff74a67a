use super::*;
use proptest::prelude::*;

const HANOI: i64 = 7 * 3_600;

fn read_at(received: &str, utc_offset_secs: i64) -> TimeContext {
    TimeContext { received: received.parse().unwrap(), utc_offset_secs }
}

fn rfc3164(text: &str, received: &str, offset: i64) -> Option<String> {
    parse_rfc3164(text, read_at(received, offset)).map(|(found, _)| found.time.to_string())
}

#[test]
fn year_comes_from_when_the_record_was_read() {
    let at = |text, received| rfc3164(text, received, 0).unwrap();
    assert_eq!(at("Jun 14 15:16:01", "2026-11-24T00:00:00Z"), "2026-06-14T15:16:01Z");
    assert_eq!(at("Dec 31 23:59:59", "2027-01-01T00:00:03Z"), "2026-12-31T23:59:59Z");
    assert_eq!(at("Jan  1 00:00:01", "2026-12-31T23:59:58Z"), "2027-01-01T00:00:01Z");
    assert_eq!(at("Nov 25 00:00:00", "2026-11-24T00:00:00Z"), "2026-11-25T00:00:00Z");
    assert_eq!(at("Nov 25 00:00:01", "2026-11-24T00:00:00Z"), "2025-11-25T00:00:01Z");
}

#[test]
fn zone_comes_from_the_source_and_may_turn_the_year() {
    assert_eq!(rfc3164("Jan  1 06:59:59", "2026-12-31T23:59:59Z", HANOI).unwrap(), "2026-12-31T23:59:59Z");
    assert_eq!(rfc3164("Dec 31 17:00:00", "2027-01-01T03:00:00Z", -8 * 3_600).unwrap(), "2027-01-01T01:00:00Z");
}

#[test]
fn leap_day_falls_into_the_last_leap_year() {
    assert_eq!(rfc3164("Feb 29 12:00:00", "2028-02-29T12:00:01Z", 0).unwrap(), "2028-02-29T12:00:00Z");
    assert_eq!(rfc3164("Feb 29 12:00:00", "2027-06-01T00:00:00Z", 0).unwrap(), "2024-02-29T12:00:00Z");
    assert_eq!(rfc3164("Feb 29 12:00:00", "2103-06-01T00:00:00Z", 0).unwrap(), "2096-02-29T12:00:00Z");
}

#[test]
fn fraction_year_and_rest_are_read() {
    let context = read_at("2026-11-24T00:00:00Z", 0);
    let (found, rest) = parse_rfc3164("Nov  4 2019 01:02:03.25 host", context).unwrap();
    assert_eq!((found.time.to_string().as_str(), rest), ("2019-11-04T01:02:03.25Z", " host"));
    let (found, rest) = parse_year_first("2015 Nov 13 13:40:01 ether", context).unwrap();
    assert_eq!((found.time.to_string().as_str(), rest), ("2015-11-13T13:40:01Z", " ether"));
}

#[test]
fn times_that_cannot_be_are_refused() {
    for text in
        ["Feb 30 00:00:00", "Nov 00 00:00:00", "Nov 31 00:00:00", "Nov 1 24:00:00", "Nov 1 00:60:00", "Nov 1 0:00:00"]
    {
        assert_eq!(rfc3164(text, "2026-11-24T00:00:00Z", 0), None, "{text}");
    }
    let context = read_at("2026-11-24T00:00:00Z", 0);
    for text in ["2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
        assert_eq!(parse_iso(text, context), None, "{text}");
    }
    for text in ["24/Nov/2026:10:07:03", "24/nov/2026:10:07:03 +0700", "24/Nov/2026:10:07:03 +0700 "] {
        assert_eq!(parse_common_log(text), None, "{text}");
    }
}

#[test]
fn iso_without_a_zone_is_assumed() {
    let context = read_at("2026-11-24T00:00:00Z", HANOI);
    let (stated, rest) = parse_iso("2026-11-24T10:07:03.123456+07:00 web", context).unwrap();
    assert_eq!((stated.quality, rest), (TimeQuality::Stated, " web"));
    let (assumed, _) = parse_iso("2026-11-24 10:07:03,123456", context).unwrap();
    assert_eq!((assumed.time, assumed.quality), (stated.time, TimeQuality::Assumed));
    assert_eq!(parse_common_log("24/Nov/2026:10:07:03 +0700").unwrap().time.secs(), stated.time.secs());
}

#[test]
fn epoch_numbers_are_told_apart_by_size() {
    let expected = "2026-11-24T03:07:03.25Z";
    for text in ["1795489623.25", "1795489623250", "1795489623250.0", "1795489623250000", "1795489623250000000"] {
        assert_eq!(parse_epoch(text).unwrap().time.to_string(), expected, "{text}");
    }
    for text in ["", ".5", "-1", "1e9", "99999999999999999999"] {
        assert_eq!(parse_epoch(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn iso_agrees_with_the_event_models_reader(nanos in any::<i64>()) {
        let time = Timestamp::from_nanos(nanos);
        let text = time.to_string();
        let (found, rest) = parse_iso(&text, read_at("2026-11-24T00:00:00Z", HANOI)).unwrap();
        prop_assert_eq!((found.time, rest), (time, ""));
    }

    #[test]
    fn day_without_a_year_is_never_far_ahead(
        secs in 0..4_000_000_000i64, month in 0..12usize, day in 1..=31i64, offset in -50_400..=50_400i64,
    ) {
        let context = TimeContext { received: Timestamp::from_secs(secs), utc_offset_secs: offset };
        let name = std::str::from_utf8(MONTHS[month]).unwrap();
        if let Some((found, _)) = parse_rfc3164(&format!("{name} {day:2} 12:00:00"), context) {
            prop_assert!(found.time.secs() <= secs + SECS_PER_DAY);
            prop_assert!(found.time.secs() > secs - 366 * SECS_PER_DAY || (month, day) == (1, 29));
        } else {
            prop_assert!(day > 28);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        let context = read_at("2026-11-24T00:00:00Z", HANOI);
        let _ = (parse_rfc3164(&text, context), parse_year_first(&text, context), parse_iso(&text, context));
        let _ = (parse_common_log(&text), parse_epoch(&text));
    }
}
