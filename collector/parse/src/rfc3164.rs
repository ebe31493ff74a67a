//! Syslog as files of /var/log and old devices write it: a time, a host, a tag, a message.
//!
//! ```text
//! <34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed      RFC 3164 section 4.1
//! Oct 11 22:14:15 mymachine su[12]: ...                       the same in a file: no priority
//! 2026-11-24T10:07:03.25+07:00 mymachine su[12]: ...          rsyslog's default since 2023
//! 2015 Nov 13 13:40:01 mymachine su[12]: ...                  syslog-ng with the year
//! ```

use crate::header::{Header, Tag};
use crate::priority;
use crate::time::{FoundTime, TimeContext, parse_iso, parse_rfc3164, parse_year_first};

/// How sure we are that the line is syslog at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Its source says so: a priority or a time is enough.
    Stated,
    /// Nobody said so: an ISO time alone begins many other logs, so a host and a tag must follow it.
    Guessed,
}

/// Takes a line apart; `None` if it is no syslog.
pub(crate) fn parse(text: &str, context: TimeContext, expectation: Expectation) -> Option<Header<'_>> {
    let (priority, rest) = match priority::parse(text) {
        Some((priority, rest)) => (Some(priority), rest),
        None => (None, text),
    };
    let Some((time, is_iso, rest)) = parse_time(rest, context) else {
        // RFC 3164 section 4.3.3: what has a priority and no time is a message all the same.
        let is_claimed = priority.is_some() && expectation == Expectation::Stated;
        return is_claimed.then(|| bare(Header { priority, ..Header::default() }, rest));
    };
    let rest = rest.strip_prefix(':').unwrap_or(rest).strip_prefix(' ')?;
    let header = split_host(Header { priority, time: Some(time), ..Header::default() }, rest);
    let needs_tag = is_iso && priority.is_none() && expectation == Expectation::Guessed;
    (!needs_tag || (!header.tag.program.is_empty() && !header.hostname.is_empty())).then_some(header)
}

fn parse_time(text: &str, context: TimeContext) -> Option<(FoundTime, bool, &str)> {
    if text.as_bytes().first()?.is_ascii_digit() {
        let iso = parse_iso(text, context).map(|(time, rest)| (time, true, rest));
        return iso.or_else(|| parse_year_first(text, context).map(|(time, rest)| (time, false, rest)));
    }
    parse_rfc3164(text, context).map(|(time, rest)| (time, false, rest))
}

/// Splits host and tag. A program that writes to /dev/log by itself leaves the host out.
fn split_host<'a>(header: Header<'a>, text: &'a str) -> Header<'a> {
    let (host, rest) = text.split_once(' ').unwrap_or((text, ""));
    if host.len() > 1 && host.ends_with(':') {
        return bare(header, text);
    }
    bare(Header { hostname: host, ..header }, rest)
}

fn bare<'a>(header: Header<'a>, text: &'a str) -> Header<'a> {
    match Tag::split(text) {
        Some((tag, message)) => Header { tag, message, ..header },
        None => Header { message: text, ..header },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> TimeContext {
        TimeContext { received: "2026-11-24T04:00:00Z".parse().unwrap(), utc_offset_secs: 25_200 }
    }

    fn guess(text: &str) -> Option<Header<'_>> {
        parse(text, context(), Expectation::Guessed)
    }

    #[test]
    fn header_with_and_without_priority() {
        let plain = guess("Nov 24 10:07:03 web-01 sshd[812]: hello").unwrap();
        assert_eq!(
            (plain.hostname, plain.tag.program, plain.tag.process_id, plain.message),
            ("web-01", "sshd", "812", "hello")
        );
        let with_priority = guess("<38>Nov 24 10:07:03 web-01 sshd[812]: hello").unwrap();
        assert_eq!(with_priority.priority.unwrap().facility, "auth");
        assert_eq!(Header { priority: None, ..with_priority }, plain);
    }

    #[test]
    fn host_may_be_missing() {
        let header = guess("Nov 24 10:07:03 sshd[812]: hello").unwrap();
        assert_eq!((header.hostname, header.tag.program, header.message), ("", "sshd", "hello"));
    }

    #[test]
    fn message_without_a_tag_keeps_its_words() {
        let header = guess("Nov 24 10:07:03 web-01 last message repeated 2 times").unwrap();
        assert_eq!((header.tag.program, header.message), ("", "last message repeated 2 times"));
        let header = guess("Nov 24 10:07:03 web-01").unwrap();
        assert_eq!((header.hostname, header.message), ("web-01", ""));
    }

    #[test]
    fn iso_time_alone_is_no_syslog_unless_its_source_says_so() {
        let line = "2026-11-24T10:07:03Z INFO started in 3 ms";
        assert_eq!(guess(line), None);
        assert_eq!(parse(line, context(), Expectation::Stated).unwrap().hostname, "INFO");
        assert!(guess("2026-11-24T10:07:03.25+07:00 web-01 sshd[812]: hello").is_some());
    }

    #[test]
    fn priority_alone_is_syslog_only_if_its_source_says_so() {
        assert_eq!(guess("<34>hello"), None);
        assert_eq!(parse("<34>app: hello", context(), Expectation::Stated).unwrap().message, "hello");
        assert_eq!(parse("hello", context(), Expectation::Stated), None);
    }
}
