//! The `<34>` in front of a syslog line: facility and severity by their names.
//!
//! Comes in: text. Goes out: two names and the rest. Source: RFC 5424 section 6.2.1; the names are
//! those of rsyslog and `logger(1)`.

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Facility and severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    pub(crate) facility: &'static str,
    pub(crate) severity: &'static str,
}

/// Reads `<0>` to `<191>`.
pub(crate) fn parse(text: &str) -> Option<(Priority, &str)> {
    let rest = text.strip_prefix('<')?;
    let length = rest.bytes().take(4).position(|byte| byte == b'>')?;
    let (digits, rest) = rest.split_at_checked(length)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: usize = digits.parse().ok()?;
    let priority = Priority { facility: FACILITIES.get(number / 8)?, severity: SEVERITIES.get(number % 8)? };
    Some((priority, rest.strip_prefix('>')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_up_to_191_has_names() {
        assert_eq!(parse("<34>x"), Some((Priority { facility: "auth", severity: "crit" }, "x")));
        assert_eq!(parse("<86>"), Some((Priority { facility: "authpriv", severity: "info" }, "")));
        assert_eq!(parse("<191>").unwrap().0, Priority { facility: "local7", severity: "debug" });
        for text in ["", "<", "<>x", "<192>x", "<1", "<1234>x", "<-1>x", "<+1>x", "34>x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
