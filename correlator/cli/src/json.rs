//! JSON for scripts that an eye may still see: `serde_json` escapes control characters up to 0x1f,
//! this escapes the rest that could act on a terminal. Readers get the same values back.

use canh_incident::escape_for_terminal;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Appends one document over several lines.
pub(crate) fn document(value: &impl Serialize, out: &mut String) -> Result<(), Failure> {
    append(serde_json::to_string_pretty(value), out)
}

/// Appends one document in one line.
pub(crate) fn line(value: &impl Serialize, out: &mut String) -> Result<(), Failure> {
    append(serde_json::to_string(value), out)
}

fn append(json: serde_json::Result<String>, out: &mut String) -> Result<(), Failure> {
    let json = json.map_err(|error| Failure::new(Exit::Internal, "the answer could not be written").because(&error))?;
    for letter in json.chars() {
        if is_harmless(letter) {
            out.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out.push('\n');
    Ok(())
}

/// What is not harmless stands only inside strings: JSON's own letters all are.
fn is_harmless(letter: char) -> bool {
    if letter.is_ascii() {
        return letter != '\u{7f}';
    }
    let mut buffer = [0; 4];
    let text: &str = letter.encode_utf8(&mut buffer);
    escape_for_terminal(text) == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_left() {
        let mut out = String::new();
        line(&"\x1b[2J\u{9b}31m\u{7f}\u{202e}\u{e0041} Nguyễn", &mut out).unwrap();
        assert_eq!(out, "\"\\u001b[2J\\u009b31m\\u007f\\u202e\\udb40\\udc41 Nguyễn\"\n");
    }

    proptest! {
        #[test]
        fn readers_get_the_value_back(text in any::<String>()) {
            let mut out = String::new();
            document(&text, &mut out).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
