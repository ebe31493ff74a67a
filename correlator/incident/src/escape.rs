//! Makes an attacker's text safe to show. All text from logs is an attacker's (promise P8).
//!
//! Every function keeps what can be printed, Vietnamese in both normal forms included, and shows
//! what cannot: `\x1b` for a control byte, `\u{202e}` for a character that turns or hides text.
//! The result is for eyes; data (JSON) keeps the text itself.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns the text with everything that could move a cursor, change a colour, turn the direction
/// of writing or hide letters written out: C0 and C1 control characters and DEL as `\x1b`,
/// bidirectional controls, zero-width characters, line separators and tags as `\u{202e}`.
/// A line feed is a control character too: the result is one line.
pub fn escape_for_terminal(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        push_escaped(&mut escaped, letter);
    }
    Cow::Owned(escaped)
}

/// Returns bytes as one line of text: valid UTF-8 escaped as by [`escape_for_terminal`], every
/// other byte as `\xff`.
pub fn escape_bytes_for_terminal(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            push_escaped(&mut escaped, letter);
        }
        for byte in chunk.invalid() {
            push_hex(&mut escaped, u32::from(*byte));
        }
    }
    escaped
}

/// Returns the text as one CSV cell (RFC 4180): control characters written out, quoted if it must
/// be, and with `'` before a first character that makes a spreadsheet run it as a formula.
pub fn escape_for_csv(text: &str) -> String {
    let text = escape_for_terminal(text);
    let first = text.trim_start().chars().next();
    // The full-width forms are run by some spreadsheets as well.
    let is_formula = matches!(first, Some('=' | '+' | '-' | '@' | '|' | '＝' | '＋' | '－' | '＠'));
    let cell = if is_formula { Cow::Owned(format!("'{text}")) } else { text };
    let must_quote = cell.contains([',', ';', '"', '\'']) || cell.starts_with(' ') || cell.ends_with(' ');
    if must_quote { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.into_owned() }
}

/// Returns the text so that Markdown shows it as it is: control characters written out, every
/// ASCII punctuation that could mean something preceded by a backslash, `<`, `>` and `&` as
/// entities, so that it is no HTML, no link and no table border either.
pub fn escape_for_markdown(text: &str) -> String {
    let text = escape_for_terminal(text);
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_ascii_punctuation() => escaped.extend(['\\', letter]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Returns the text for an HTML text node or a quoted attribute.
pub fn escape_for_html(text: &str) -> String {
    let text = escape_for_terminal(text);
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn push_escaped(out: &mut String, letter: char) {
    if letter.is_control() {
        push_hex(out, u32::from(letter));
    } else if is_hostile(letter) {
        out.extend(letter.escape_unicode());
    } else {
        out.push(letter);
    }
}

fn push_hex(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{code:02x}");
}

/// Whether a character does something to a terminal or to the letters beside it. Combining marks
/// do not count: decomposed Vietnamese is made of them.
fn is_hostile(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' // soft hyphen
            | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{180e}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_are_shown_and_not_sent() {
        assert_eq!(escape_for_terminal("\x1b[2J\x07a\nb\u{9b}31m\x7f"), r"\x1b[2J\x07a\x0ab\x9b31m\x7f");
        assert_eq!(escape_for_terminal("user\u{202e}txt.exe\u{200b}"), r"user\u{202e}txt.exe\u{200b}");
        assert_eq!(escape_bytes_for_terminal(b"a\xff\x1b\xe1\xba"), r"a\xff\x1b\xe1\xba");
    }

    #[test]
    fn vietnamese_is_kept_in_both_normal_forms() {
        let composed = "Đăng nhập thất bại: Nguyễn Thị Ế";
        let decomposed = "Đa\u{306}ng nha\u{323}\u{302}p tha\u{302}\u{301}t ba\u{323}i";
        assert!(matches!(escape_for_terminal(composed), Cow::Borrowed(same) if same == composed));
        assert!(matches!(escape_for_terminal(decomposed), Cow::Borrowed(same) if same == decomposed));
        assert_eq!(escape_bytes_for_terminal(composed.as_bytes()), composed);
    }

    #[test]
    fn a_csv_cell_is_no_formula_and_no_second_cell() {
        assert_eq!(escape_for_csv("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
        assert_eq!(escape_for_csv("  -1"), "\"'  -1\"");
        assert_eq!(escape_for_csv("a,\"b\"\r\nc"), r#""a,""b""\x0d\x0ac""#);
        assert_eq!(escape_for_csv("10.0.0.7"), "10.0.0.7");
    }

    #[test]
    fn markdown_and_html_hold_no_markup() {
        assert_eq!(escape_for_markdown("[a](http://b) | <i>"), r"\[a\]\(http\:\/\/b\) \| &lt;i&gt;");
        assert_eq!(escape_for_html("<a href='x'>&"), "&lt;a href=&#39;x&#39;&gt;&amp;");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for shown in [
                escape_for_terminal(&text).into_owned(),
                escape_bytes_for_terminal(&bytes),
                escape_for_csv(&text),
                escape_for_markdown(&text),
                escape_for_html(&text),
            ] {
                prop_assert!(!shown.chars().any(is_hostile), "{shown:?}");
            }
        }
    }
}
