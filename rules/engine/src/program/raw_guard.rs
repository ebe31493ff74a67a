//! Whether any keyword can stand in a record, told from the record's bytes before it is taken apart.
//!
//! Keywords are looked for in every value of an event, and nearly always in vain. A keyword that
//! stands in a value stands in the record the value was read from, unless the record writes some of
//! its characters as escapes. So of each keyword a gram is chosen that JSON escapes only as `\uXXXX`,
//! and the whole record is searched once for these grams and for the beginnings of such escapes; a
//! record with an escape of a character that could be part of a gram is passed on as well.

use memchr::memmem;

use crate::fold::fold_char;
use crate::program::needles::Needles;

/// How escapes of characters begin that fold to ASCII: ASCII itself, the long s (U+017F) and the sign
/// of kelvin (U+212A).
const ESCAPES: [&[u8]; 3] = [b"\\u00", b"\\u01", b"\\u21"];

/// The characters beyond ASCII that fold to ASCII: a test asks all of Unicode.
const FOLDING_TO_ASCII: [&str; 2] = ["\u{17f}", "\u{212a}"];

/// The grams of all keywords of one field, and the beginnings of escapes.
#[derive(Clone, Debug)]
pub(crate) struct RawGuard {
    texts: Needles,
    is_escape: Vec<bool>,
}

/// Bytes JSON writes as they are, or as `\uXXXX`, and folding leaves one byte.
fn is_safe(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'_' | b'-' | b' ')
}

impl RawGuard {
    /// Returns the guard of these folded texts, of which one stands in the folded value of every hit;
    /// `None` if one of them has no gram to go by.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut grams: Vec<Box<[u8]>> = ESCAPES.into_iter().map(Box::from).collect();
        for text in texts {
            // The last of the longest safe stretch: texts differ more at their ends.
            let longest = text.split(|byte| !is_safe(*byte)).max_by_key(|part| part.len())?;
            if longest.len() < 4 {
                return None;
            }
            grams.push(Box::from(longest));
        }
        grams.iter_mut().flat_map(|gram| gram.iter_mut()).for_each(|byte| *byte = soft(*byte));
        grams.sort();
        grams.dedup();
        let escapes = ESCAPES.map(|escape| escape.iter().map(|byte| soft(*byte)).collect::<Box<[u8]>>());
        let is_escape = grams.iter().map(|gram| escapes.contains(gram)).collect();
        Some(Self { texts: Needles::new(grams), is_escape })
    }

    /// Returns whether a keyword may stand in a value of a JSON text; `softened` is that text softened.
    pub(crate) fn may_hold(&self, json: &str, softened: &Softened) -> bool {
        if softened.folds_to_ascii {
            return true;
        }
        let mut has_gram = false;
        let mut has_escape = false;
        self.texts.find(softened.bytes(), |needle| match self.is_escape.get(needle.0 as usize) {
            Some(true) => has_escape = true,
            _ => has_gram = true,
        });
        has_gram || has_escape && hides_characters(json.as_bytes())
    }
}

/// A text in which each byte has the bit that tells small letters from capital ones.
///
/// Coarser than folding, since it makes some signs the same as well, and so much cheaper: what is in
/// a folded text is in the softened one when both are softened.
#[derive(Debug, Default)]
pub(crate) struct Softened {
    bytes: Vec<u8>,
    length: usize,
    /// Whether there is a character beyond ASCII that folds to ASCII.
    folds_to_ascii: bool,
}

impl Softened {
    /// Takes a text.
    pub(crate) fn soften(&mut self, text: &str) {
        self.length = text.len();
        if self.bytes.len() < text.len() {
            self.bytes.resize(text.len(), 0);
        }
        let mut all = 0;
        for (soft_byte, byte) in self.bytes.iter_mut().zip(text.as_bytes()) {
            all |= *byte;
            *soft_byte = soft(*byte);
        }
        let is_there = |character: &str| memmem::find(text.as_bytes(), character.as_bytes()).is_some();
        self.folds_to_ascii = !all.is_ascii() && FOLDING_TO_ASCII.into_iter().any(is_there);
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn soft(byte: u8) -> u8 {
    byte | 0x20
}

/// Returns whether a JSON text writes, as an escape, a character that may be part of a gram.
fn hides_characters(json: &[u8]) -> bool {
    memmem::find_iter(json, b"\\u").any(|place| {
        // Behind an even number of backslashes this one begins an escape.
        let before = json.get(..place).unwrap_or_default();
        let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        backslashes % 2 == 0 && escaped(json.get(place + 2..place + 6)).is_some_and(is_part)
    })
}

fn escaped(digits: Option<&[u8]>) -> Option<char> {
    char::from_u32(u32::from_str_radix(std::str::from_utf8(digits?).ok()?, 16).ok()?)
}

fn is_part(character: char) -> bool {
    u8::try_from(fold_char(character)).is_ok_and(is_safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::fold;
    use proptest::prelude::*;

    fn softened(text: &str) -> Softened {
        let mut softened = Softened::default();
        softened.soften(text);
        softened
    }

    #[test]
    fn two_characters_beyond_ascii_fold_to_ascii() {
        let all = ('\u{80}'..=char::MAX).filter(|character| fold_char(*character).is_ascii());
        assert_eq!(all.map(String::from).collect::<Vec<_>>(), FOLDING_TO_ASCII);
    }

    #[test]
    fn what_a_longer_text_left_is_not_seen() {
        let mut softened = softened(&format!("{}mimikatz", "x".repeat(99)));
        softened.soften("ab");
        assert_eq!(softened.bytes(), b"ab");
    }

    #[test]
    fn an_escape_that_hides_nothing_is_told_from_one_that_does() {
        assert!(!hides_characters(br#"{"a":"C:\\users\u003c\n"}"#));
        assert!(hides_characters(br#"{"a":"\u006dimikatz"}"#));
        assert!(hides_characters(br#"{"a":"\\\u212a"}"#), "the sign of kelvin folds to k");
        assert!(!hides_characters(br#"{"a":"\\u0041"}"#), "a backslash and five letters");
        assert!(!hides_characters(br#"{"a":"\u00"#));
    }

    #[test]
    fn a_record_without_the_keyword_is_passed_over() {
        let guard = RawGuard::new([b"mimikatz".as_slice()]).unwrap();
        let may_hold = |json: &str| guard.may_hold(json, &softened(json));
        assert!(!may_hold(r#"{"a":"C:\\u00ff\\mimi katz \u003c"}"#));
        assert!(may_hold(r#"{"a":"MimiKatz"}"#));
        assert!(may_hold(r#"{"a":"mimi\u006batz"}"#));
    }

    #[test]
    fn a_keyword_without_a_safe_stretch_has_no_guard() {
        assert!(RawGuard::new([b"a\\b\\c".as_slice()]).is_none());
        assert!(RawGuard::new([b"\\mimilib.dll".as_slice()]).is_some());
    }

    /// Writes each character plainly, as JSON must, or as an escape.
    fn json(text: &str, escapes: &[bool]) -> String {
        let each = text.chars().zip(escapes.iter().cycle()).map(|(character, escape)| match character {
            '"' | '\\' => format!("\\{character}"),
            _ if *escape => character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            _ => character.to_string(),
        });
        format!("{{\"x\":\"{}\"}}", each.collect::<String>())
    }

    proptest! {
        #[test]
        fn no_keyword_is_missed(
            before in "[a-dK\\\\ \u{212a}]{0,6}",
            after in "[a-d]{0,6}",
            keyword in "[A-Da-dK.:]{4,8}",
            kelvin in any::<bool>(),
            escapes in proptest::collection::vec(proptest::bool::weighted(0.05), 1..30),
        ) {
            let guard = RawGuard::new([fold(&keyword).as_bytes()]).unwrap();
            let written = if kelvin { keyword.replace('K', "\u{212a}") } else { keyword };
            let record = json(&format!("{before}{written}{after}"), &escapes);
            prop_assert!(guard.may_hold(&record, &softened(&record)), "{}", record);
        }
    }
}
