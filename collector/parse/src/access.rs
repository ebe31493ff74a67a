//! What web servers say of each request: common and combined log format, with or without the
//! virtual host in front.
//!
//! ```text
//! [www.example.vn:443 ]10.0.0.7 - lan [24/Nov/2026:10:07:03 +0700] "GET /a?b=c HTTP/1.1" 200 512[ "referer" "user agent"]
//!  cs-host              c-ip      cs-username                       method stem query     status bytes
//! ```
//! The client chooses user name, request, referer and user agent; the server escapes quotes in
//! them, so the first `] "` is the server's own. Field names are those of W3C's extended log format,
//! as Sigma's taxonomy has them for `webserver`.

use std::borrow::Cow;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{eof, opt, peek};
use nom::sequence::{preceded, terminated};

use crate::address::is_ip;
use crate::buffers::Buffers;
use crate::fields::Fields;
use crate::quoted::quoted;
use crate::time::parse_common_log;

/// The parts of a line, their escapes still in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts<'a> {
    request: &'a str,
    status: &'a str,
    bytes: &'a str,
    referer: &'a str,
    user_agent: &'a str,
}

/// The parts in front of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Client<'a> {
    host: &'a str,
    address: &'a str,
    user: &'a str,
}

/// Fills the row if the line is an access line, else leaves it alone.
pub(crate) fn fill(text: &str, buffers: &mut Buffers, fields: &mut Fields<'_, '_>) -> bool {
    let Some((head, _)) = text.split_once("] \"") else { return false };
    let Some((who, time)) = head.rsplit_once(" [") else { return false };
    let Some((client, time)) = client(who).zip(parse_common_log(time)) else { return false };
    let Some(parts) = text.get(head.len() + 2..).and_then(parts) else { return false };
    fields.time(time);
    fields.text("c-ip", client.address);
    if is_ip(client.address) {
        fields.text("SourceIp", client.address);
    }
    fields.text("cs-username", &unescape(nil(client.user), &mut buffers.bytes));
    fields.text("cs-host", client.host);
    fill_request(&unescape(nil(parts.request), &mut buffers.bytes), fields);
    fields.number("sc-status", parts.status);
    fields.number("sc-bytes", nil(parts.bytes));
    fields.text("cs-referer", &unescape(nil(parts.referer), &mut buffers.bytes));
    fields.text("cs-user-agent", &unescape(nil(parts.user_agent), &mut buffers.bytes));
    true
}

/// Splits `[host[:port] ]address ident user`; a user name may hold spaces.
fn client(who: &str) -> Option<Client<'_>> {
    let (first, rest) = who.split_once(' ')?;
    let (second, after) = rest.split_once(' ')?;
    let has_host = !is_ip(first) && is_ip(second);
    let (host, address, rest) = if has_host { (first, second, after) } else { ("", first, rest) };
    let (_ident, user) = rest.split_once(' ')?;
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    (!address.is_empty() && !user.is_empty()).then_some(Client { host, address, user })
}

/// Reads `"request" status bytes` and, if there, `"referer" "user agent"`; what servers are told to
/// write behind them is left alone.
fn parts(text: &str) -> Option<Parts<'_>> {
    let is_digit = |c: char| c.is_ascii_digit();
    let status = preceded(char(' '), take_while_m_n(3, 3, is_digit));
    let bytes = preceded(char(' '), terminated(alt((take_while1(is_digit), tag("-"))), peek(alt((tag(" "), eof)))));
    let pair = (preceded(char(' '), quoted), preceded(char(' '), quoted));
    let (_, (request, status, bytes, pair)) = (quoted, status, bytes, opt(pair)).parse(text).ok()?;
    let (referer, user_agent) = pair.unwrap_or_default();
    Some(Parts { request, status, bytes, referer, user_agent })
}

/// Splits `METHOD URI VERSION`. What is no request at all (a TLS greeting, a scanner's rubbish) is
/// kept whole as `cs-uri`, so that no rule is blind to it.
fn fill_request(request: &str, fields: &mut Fields<'_, '_>) {
    let is_method =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    let (uri, version) = match request.rsplit_once(' ') {
        Some((before, version)) if version.starts_with("HTTP/") => (before, version),
        _ => (request, ""),
    };
    let uri = match uri.split_once(' ') {
        Some((method, uri)) if is_method(method) => {
            fields.text("cs-method", method);
            uri
        }
        _ => uri,
    };
    fields.text("cs-version", version);
    fields.text("cs-uri", uri);
    let (stem, query) = uri.split_once('?').unwrap_or((uri, ""));
    fields.text("cs-uri-stem", stem);
    fields.text("cs-uri-query", query);
}

fn nil(text: &str) -> &str {
    if text == "-" { "" } else { text }
}

/// Undoes `\"`, `\\`, `\n`, `\r`, `\t` and `\x22`, which is what Apache and nginx write; another
/// backslash stands for itself.
fn unescape<'a>(raw: &'a str, buffer: &'a mut Vec<u8>) -> Cow<'a, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    buffer.clear();
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let (meant, length) = if *byte == b'\\' { escape(after) } else { (*byte, 0) };
        buffer.push(meant);
        rest = rest.get(length..).unwrap_or_default();
    }
    String::from_utf8_lossy(buffer)
}

/// Returns what stands behind a backslash and how long it is; a backslash itself if it is no escape.
fn escape(after: &[u8]) -> (u8, usize) {
    match after {
        [byte @ (b'"' | b'\\'), ..] => (*byte, 1),
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'x', high, low, ..] => match hex(*high).zip(hex(*low)) {
            Some((high, low)) => (high * 16 + low, 3),
            None => (b'\\', 0),
        },
        _ => (b'\\', 0),
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_both_servers_are_undone() {
        let mut buffer = Vec::new();
        assert_eq!(unescape(r#"\x22a\"b\\c\n\xZZ\"#, &mut buffer), "\"a\"b\\c\n\\xZZ\\");
        assert_eq!(unescape(r"\xC3\xA9\xFF", &mut buffer), "é\u{fffd}");
        assert!(matches!(unescape("/plain", &mut buffer), Cow::Borrowed("/plain")));
    }

    #[test]
    fn virtual_host_is_told_from_the_client() {
        let with_host = client("www.example.vn:443 10.0.0.7 - -").unwrap();
        assert_eq!(with_host, Client { host: "www.example.vn", address: "10.0.0.7", user: "-" });
        assert_eq!(client("2001:db8::1 - a b").unwrap(), Client { host: "", address: "2001:db8::1", user: "a b" });
        assert_eq!(client("10.0.0.7 -"), None);
    }

    #[test]
    fn parts_need_a_status_and_a_size() {
        assert!(parts(r#""GET / HTTP/1.1" 200 -"#).is_some());
        for text in
            [r#""GET / HTTP/1.1""#, r#""GET /" 20 1"#, r#""GET /" 2000 1"#, r#""GET /" 200 1x"#, r#""GET /" 200"#]
        {
            assert_eq!(parts(text), None, "{text}");
        }
        let common = parts(r#""GET /" 200 1 "only one""#).unwrap();
        assert_eq!((common.referer, common.user_agent), ("", ""));
    }
}
