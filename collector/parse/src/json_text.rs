//! The words of JSON text: where a string or a number ends, and what an escaped string means.
//!
//! Comes in: text and a place in it. Goes out: the place after. As strict as RFC 8259, but for half a
//! surrogate pair, which becomes U+FFFD instead of making the line unreadable: senders cut texts in
//! the middle of a character, and an attacker could.

use wide::u8x16;

/// Where a string ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StringEnd {
    /// The place of the closing quote.
    pub(crate) at: usize,
    /// Whether an escape is in between.
    pub(crate) has_escape: bool,
}

/// How many bytes are looked at together.
const BLOCK: usize = 16;

/// Returns the end of the string whose first byte after the quote is at `at`; the error is the place
/// of what does not belong there.
///
/// Most strings end in the first block looked at, and a path's many escapes are told from one look at
/// the block they are in.
pub(crate) fn string_end(bytes: &[u8], at: usize) -> Result<StringEnd, usize> {
    let mut has_escape = false;
    let mut start = at;
    'blocks: while let Some(block) = bytes.get(start..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        let mut marks = special_marks(block);
        while marks != 0 {
            let place = start + marks.trailing_zeros() as usize;
            match bytes.get(place) {
                Some(b'"') => return Ok(StringEnd { at: place, has_escape }),
                Some(b'\\') => {
                    has_escape = true;
                    let next = escape_end(bytes, place)?;
                    if next >= start + BLOCK {
                        start = next;
                        continue 'blocks;
                    }
                    marks &= u32::MAX << (next - start);
                }
                _ => return Err(place),
            }
        }
        start += BLOCK;
    }
    string_end_in_tail(bytes, start, has_escape)
}

/// Returns a bit for each byte of a block that is a quote, a backslash or a control character.
#[inline(always)]
fn special_marks(block: &[u8; BLOCK]) -> u32 {
    let bytes = u8x16::new(*block);
    let quotes = bytes.simd_eq(u8x16::splat(b'"'));
    let backslashes = bytes.simd_eq(u8x16::splat(b'\\'));
    let controls = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (quotes | backslashes | controls).to_bitmask()
}

/// Does the same byte by byte, for the last bytes of a line.
fn string_end_in_tail(bytes: &[u8], at: usize, mut has_escape: bool) -> Result<StringEnd, usize> {
    let mut place = at;
    loop {
        match bytes.get(place) {
            Some(b'"') => return Ok(StringEnd { at: place, has_escape }),
            Some(b'\\') => {
                has_escape = true;
                place = escape_end(bytes, place)?;
            }
            Some(0x20..) => place += 1,
            _ => return Err(place),
        }
    }
}

/// Returns the place after the escape that begins at `at`.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, usize> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(at),
        },
        _ => Err(at),
    }
}

/// Appends what the text of a JSON string means, its escapes undone.
///
/// # Contract
/// `text` is the value of a [`crate::JsonToken`], as it stands in the line.
pub fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        let escape = rest.get(at + 1..).unwrap_or_default();
        let (meant, length) = meaning(escape);
        out.push(meant);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// Returns what an escape means and how long it is, the backslash not counted.
fn meaning(escape: &str) -> (char, usize) {
    match escape.as_bytes().first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => unicode(escape),
        Some(byte) => (char::from(*byte), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// Reads `uXXXX`, and the other half if it is half a pair.
fn unicode(escape: &str) -> (char, usize) {
    let unit = |text: Option<&str>| text.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let first = unit(escape.get(1..5)).unwrap_or(0xd800);
    if !(0xd800..0xdc00).contains(&first) {
        return (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5);
    }
    let second = escape.get(5..7).filter(|mark| *mark == "\\u").and_then(|_| unit(escape.get(7..11)));
    match second.filter(|second| (0xdc00..0xe000).contains(second)) {
        Some(second) => {
            let meant = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            (meant.unwrap_or(char::REPLACEMENT_CHARACTER), 11)
        }
        // The next escape is a character of its own.
        None => (char::REPLACEMENT_CHARACTER, 5),
    }
}

/// Returns the place after the number at `at`; the error is the place of what does not belong there.
/// RFC 8259 section 6.
pub(crate) fn number_end(bytes: &[u8], at: usize) -> Result<usize, usize> {
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = digits_end(bytes, start)?;
    if bytes.get(start) == Some(&b'0') && end > start + 1 {
        return Err(start + 1);
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits_end(bytes, end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        end = digits_end(bytes, end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-'))))?;
    }
    Ok(end)
}

/// Returns the place after at least one digit.
fn digits_end(bytes: &[u8], at: usize) -> Result<usize, usize> {
    let count = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err(at) } else { Ok(at + count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a whole text as one string.
    fn string(text: &str) -> Option<String> {
        let end = text.strip_prefix('"').and_then(|_| string_end(text.as_bytes(), 1).ok())?;
        let mut out = String::new();
        unescape(&text[1..end.at], &mut out);
        (end.at + 1 == text.len()).then_some(out)
    }

    #[test]
    fn strings_as_the_standard_has_them() {
        assert_eq!(string(r#""""#).unwrap(), "");
        assert_eq!(string(r#""a\"\\\/\b\f\n\r\té""#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\té");
        assert_eq!(string(r#""\u00e9\ud83d\ude00""#).unwrap(), "é😀");
        for text in ["", "a", "\"", "\"a", "\"\\", "\"\\q\"", "\"\\u12\"", "\"\\u+123\"", "\"a\nb\"", "\"\\n\u{1}\""] {
            assert_eq!(string(text), None, "{text:?}");
        }
    }

    #[test]
    fn half_a_pair_is_replaced() {
        assert_eq!(string(r#""\ud83dx""#).unwrap(), "\u{fffd}x");
        assert_eq!(string(r#""\ude00""#).unwrap(), "\u{fffd}");
        assert_eq!(string(r#""\ud83d\u0041""#).unwrap(), "\u{fffd}A");
        assert_eq!(string(r#""\ud83d\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in ["0", "-0", "1.10", "1e9", "-12.5E-3", "123456789012345678901234567890"] {
            assert_eq!(number_end(text.as_bytes(), 0), Ok(text.len()));
        }
        for text in ["", "-", ".5", "1.", "1e", "01", "+1", "NaN"] {
            assert!(number_end(text.as_bytes(), 0).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn blocks_and_bytes_agree(parts in proptest::collection::vec("[ -~é\\n]{0,20}|\\\\\"|\\\\\\\\|\\\\u00e9|\\\\", 0..12)) {
            let text = parts.concat() + "\"";
            for at in 0..text.len().min(20) {
                let bytes = text.as_bytes();
                prop_assert_eq!(string_end(bytes, at), string_end_in_tail(bytes, at, false));
            }
        }
    }
}
