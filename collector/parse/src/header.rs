//! What stands before a syslog message, whichever of the formats wrote it; and the tag that names
//! the program.

use crate::priority::Priority;
use crate::time::FoundTime;

/// Longest program name looked for, in bytes. RFC 3164 says 32, RFC 5424 says 48; containers and
/// systemd units go past both.
const MAX_PROGRAM_BYTES: usize = 128;

/// A syslog line, taken apart as far as every syslog line can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) priority: Option<Priority>,
    pub(crate) time: Option<FoundTime>,
    pub(crate) hostname: &'a str,
    pub(crate) tag: Tag<'a>,
    pub(crate) message_id: &'a str,
    /// The structured data of RFC 5424, checked; empty if there is none.
    pub(crate) structured: &'a str,
    pub(crate) message: &'a str,
}

/// `sshd(pam_unix)[19939]:` taken apart; empty where the line does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub(crate) program: &'a str,
    /// What old PAM put in brackets behind the program.
    pub(crate) module: &'a str,
    pub(crate) process_id: &'a str,
}

impl<'a> Tag<'a> {
    /// Splits `program[pid]: message`, `program(module)[pid]: message` or `program: message`.
    pub(crate) fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let is_end = |byte: &u8| matches!(byte, b':' | b'[' | b'(' | b' ');
        let length = text.as_bytes().iter().take(MAX_PROGRAM_BYTES).position(is_end)?;
        let (program, mut rest) = text.split_at_checked(length).filter(|(program, _)| !program.is_empty())?;
        let mut tag = Self { program, ..Self::default() };
        if let Some(inner) = rest.strip_prefix('(') {
            (tag.module, rest) = inner.split_once(')')?;
        }
        if let Some(inner) = rest.strip_prefix('[') {
            (tag.process_id, rest) = inner.split_once(']')?;
        }
        let rest = match rest.strip_prefix(':') {
            Some(rest) => rest,
            None if !tag.process_id.is_empty() && rest.starts_with(' ') => rest,
            None => return None,
        };
        let is_word = |text: &str| !text.bytes().any(|byte| byte == b' ');
        (is_word(tag.module) && is_word(tag.process_id)).then(|| (tag, rest.strip_prefix(' ').unwrap_or(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Option<(&str, &str, &str, &str)> {
        Tag::split(text).map(|(tag, rest)| (tag.program, tag.module, tag.process_id, rest))
    }

    #[test]
    fn tags_of_all_ages() {
        assert_eq!(split("sshd[24200]: x"), Some(("sshd", "", "24200", "x")));
        assert_eq!(split("sshd(pam_unix)[19939]: x"), Some(("sshd", "pam_unix", "19939", "x")));
        assert_eq!(split("kernel: [ 1.0] x"), Some(("kernel", "", "", "[ 1.0] x")));
        assert_eq!(split("sudo:     lan : x"), Some(("sudo", "", "", "    lan : x")));
        assert_eq!(split("postfix/smtpd[9]:x"), Some(("postfix/smtpd", "", "9", "x")));
        assert_eq!(split("app[7] no colon"), Some(("app", "", "7", "no colon")));
    }

    #[test]
    fn text_without_a_tag_has_none() {
        for text in
            ["", ": x", "last message repeated 2 times", "-- MARK --", "a (b): c", "x[1 2]: y", "app", "x[", "x(y"]
        {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
