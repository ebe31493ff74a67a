//! Syslog as RFC 5424 has it: a version, a full time, four names, structured data, a message.
//!
//! ```text
//! <165>1 2026-11-24T03:07:03.003Z web-01 evntslog 812 ID47 [exampleSDID@32473 iut="3"] message
//!  PRI V TIMESTAMP                HOST   APP-NAME PID MSGID STRUCTURED-DATA            MSG
//! ```
//! `-` means absent. Source: RFC 5424 section 6. Lengths are held to 255 bytes rather than to the
//! standard's 48 and 32, since senders do not keep them.

use canh_event::Value;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::recognize;
use nom::multi::{many0_count, many1_count};
use nom::sequence::{delimited, pair, preceded, separated_pair};
use nom::{IResult, Parser};

use crate::fields::Fields;
use crate::header::{Header, Tag};
use crate::priority;
use crate::quoted::quoted;
use crate::time::{TimeContext, parse_iso};

const MAX_NAME_BYTES: usize = 255;
/// RFC 5424 section 6.3.2: `SD-NAME = 1*32PRINTUSASCII`.
const MAX_SD_NAME_BYTES: usize = 32;

/// Takes a line apart; `None` if it is not RFC 5424.
pub(crate) fn parse(text: &str, context: TimeContext) -> Option<Header<'_>> {
    let (priority, text) = priority::parse(text)?;
    let (text, (time, hostname, program, process_id, message_id)) = names(text).ok()?;
    let time = match time {
        "" => None,
        time => Some(parse_iso(time, context).filter(|(_, rest)| rest.is_empty())?.0),
    };
    // Structured data that breaks its grammar is kept as part of the message.
    let (text, structured) = structured_data(text).unwrap_or((text, ""));
    let message = text.strip_prefix(' ').unwrap_or(text);
    Some(Header {
        priority: Some(priority),
        time,
        hostname,
        tag: Tag { program, module: "", process_id },
        message_id,
        structured,
        // Section 6.4: a message in UTF-8 begins with a byte order mark.
        message: message.strip_prefix('\u{feff}').unwrap_or(message),
    })
}

/// Adds the parameters of checked structured data as `sd.ID.name`.
pub(crate) fn fill_structured(structured: &str, name: &mut String, value: &mut String, fields: &mut Fields<'_, '_>) {
    let mut text = structured;
    while let Ok((after, id)) = preceded(char('['), sd_name).parse(text) {
        name.clear();
        name.push_str("sd.");
        name.push_str(id);
        let id_length = name.len();
        text = after;
        while let Ok((after, (parameter, raw))) = parameter(text) {
            name.truncate(id_length);
            name.push('.');
            name.push_str(parameter);
            fields.value(name, Value::text(unescape(raw, value)));
            text = after;
        }
        if name.len() == id_length {
            fields.value(name, Value::NULL);
        }
        text = text.strip_prefix(']').unwrap_or(text);
    }
}

type Names<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn names(input: &str) -> IResult<&str, Names<'_>> {
    let version = tag("1 ");
    preceded(version, (field, field, field, field, recognize_field.map(nil))).parse(input)
}

/// Reads a field and the space behind it; `-` is empty.
fn field(input: &str) -> IResult<&str, &str> {
    let (input, text) = recognize_field(input)?;
    let (input, _) = char(' ').parse(input)?;
    Ok((input, nil(text)))
}

fn recognize_field(input: &str) -> IResult<&str, &str> {
    take_while_m_n(1, MAX_NAME_BYTES, |c: char| c.is_ascii_graphic()).parse(input)
}

fn nil(text: &str) -> &str {
    if text == "-" { "" } else { text }
}

/// Reads ` -` or ` [..][..]`, and what is returned of it begins with `[` or is empty.
fn structured_data(input: &str) -> IResult<&str, &str> {
    let (input, _) = char(' ').parse(input)?;
    if let Some(rest) = input.strip_prefix('-')
        && (rest.is_empty() || rest.starts_with(' '))
    {
        return Ok((rest, ""));
    }
    recognize(many1_count(element)).parse(input)
}

fn element(input: &str) -> IResult<&str, &str> {
    delimited(char('['), recognize(pair(sd_name, many0_count(parameter))), char(']')).parse(input)
}

fn parameter(input: &str) -> IResult<&str, (&str, &str)> {
    preceded(take_while1(|c| c == ' '), separated_pair(sd_name, char('='), quoted)).parse(input)
}

fn sd_name(input: &str) -> IResult<&str, &str> {
    let is_allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"');
    take_while_m_n(1, MAX_SD_NAME_BYTES, is_allowed).parse(input)
}

/// Undoes `\"`, `\\` and `\]`; another backslash stands for itself (section 6.3.3).
fn unescape<'a>(raw: &'a str, buffer: &'a mut String) -> &'a str {
    if !raw.contains('\\') {
        return raw;
    }
    buffer.clear();
    let mut text = raw;
    while let Some((before, after)) = text.split_once('\\') {
        buffer.push_str(before);
        text = after;
        let escaped: IResult<&str, char> = one_of("\"\\]").parse(after);
        match escaped {
            Ok((rest, c)) => {
                buffer.push(c);
                text = rest;
            }
            Err(_) => buffer.push('\\'),
        }
    }
    buffer.push_str(text);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use canh_event::{BatchBuilder, Logsource, Origin, RowHeader, TimeQuality, Timestamp};

    fn header(text: &str) -> Option<Header<'_>> {
        parse(text, TimeContext { received: Timestamp::EPOCH, utc_offset_secs: 0 })
    }

    fn structured(text: &str) -> Vec<(String, String)> {
        let mut builder = BatchBuilder::new();
        let origin = builder.origin(&Origin::unknown()).unwrap();
        let logsource = builder.logsource(&Logsource::unknown()).unwrap();
        let (time, time_quality) = (Timestamp::EPOCH, TimeQuality::Received);
        let mut row =
            builder.begin_row(RowHeader { time, time_quality, received: time, origin, logsource }, b"").unwrap();
        fill_structured(text, &mut String::new(), &mut String::new(), &mut Fields::new(&mut row));
        row.commit();
        let batch = builder.finish();
        batch.row(0).unwrap().fields().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect()
    }

    #[test]
    fn examples_of_the_standard() {
        let one = header("<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed")
            .unwrap();
        assert_eq!(
            (one.hostname, one.tag.program, one.tag.process_id, one.message_id),
            ("mymachine.example.com", "su", "", "ID47")
        );
        assert_eq!((one.structured, one.message), ("", "'su root' failed"));
        assert_eq!(one.time.unwrap().time.to_string(), "2003-10-11T22:14:15.003Z");
        let four =
            header("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 evntslog 8710 - [a@1 iut=\"3\"][b@1 c=\"high\"]")
                .unwrap();
        assert_eq!((four.structured, four.message), ("[a@1 iut=\"3\"][b@1 c=\"high\"]", ""));
    }

    #[test]
    fn absent_time_is_absent_and_wrong_time_is_refused() {
        assert_eq!(header("<34>1 - - - - - -").unwrap().time, None);
        assert_eq!(header("<34>1 yesterday host app - - - x"), None);
        assert_eq!(header("<34>2 - - - - - -"), None);
        assert_eq!(header("<34>1 - host app -"), None);
    }

    #[test]
    fn broken_structured_data_stays_in_the_message() {
        for text in ["[a", "[a b]", "[a b=\"c]", "[=x]", "[]"] {
            let line = format!("<34>1 - host app - - {text} hello");
            let parsed = header(&line).unwrap();
            assert_eq!((parsed.structured, parsed.message), ("", format!("{text} hello").as_str()));
        }
    }

    #[test]
    fn parameters_become_fields() {
        let fields = structured(r#"[ex@1 a="3" b="x\]\"\\y\z"][flag]"#);
        let expected = [("sd.ex@1.a", "3"), ("sd.ex@1.b", r#"x]"\y\z"#), ("sd.flag", "")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
