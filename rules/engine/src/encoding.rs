//! The encodings of the transforming modifiers: base64, its three offsets, UTF-16, dashes.
//!
//! Source: Sigma modifiers appendix 2.1, "Encoding" and `windash`; the offsets as pySigma cuts them.

use crate::limits::MAX_WINDASH_DASHES;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The dashes `windash` exchanges: hyphen, slash, en dash, em dash, horizontal bar.
const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];

/// Returns base64 with padding (RFC 4648 section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            if place > chunk.len() {
                out.push('=');
            } else {
                let index = (bits >> (18 - 6 * place)) & 63;
                out.push(ALPHABET.get(index as usize).map_or('=', |letter| char::from(*letter)));
            }
        }
    }
    out
}

/// Returns what of the text is the same wherever in a base64 text it stands, for each of the three
/// offsets; the first and last letters that depend on the neighbours are cut off.
pub(crate) fn base64_offsets(bytes: &[u8]) -> Vec<String> {
    const START: [usize; 3] = [0, 2, 3];
    const END: [usize; 3] = [0, 3, 2];
    let mut variants = Vec::with_capacity(3);
    for (offset, start) in START.into_iter().enumerate() {
        let mut padded = vec![b' '; offset];
        padded.extend_from_slice(bytes);
        let encoded = base64(&padded);
        let cut = END.get(padded.len() % 3).copied().unwrap_or(0);
        let end = encoded.len().saturating_sub(cut);
        variants.extend(encoded.get(start..end).filter(|kept| !kept.is_empty()).map(str::to_owned));
    }
    variants.sort();
    variants.dedup();
    variants
}

/// Returns UTF-16, little-endian.
pub(crate) fn utf16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns UTF-16, big-endian.
pub(crate) fn utf16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Returns UTF-16, little-endian, with its byte order mark before it.
pub(crate) fn utf16_with_mark(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(utf16_le(text));
    bytes
}

/// Returns bytes as text the way an event holds them: one character a byte (Latin-1).
pub(crate) fn bytes_as_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns every way to write the dashes that begin an option: each that stands at the start or
/// behind something that is no letter or digit, and before one that is. `None` if there are too
/// many.
pub(crate) fn windash(text: &str) -> Option<Vec<String>> {
    let characters: Vec<char> = text.chars().collect();
    let is_word = |at: usize| characters.get(at).is_some_and(|next| next.is_alphanumeric() || *next == '_');
    let is_option = |at: usize| {
        let after_word = at.checked_sub(1).is_some_and(is_word);
        characters.get(at).is_some_and(|dash| DASHES.contains(dash)) && !after_word && is_word(at + 1)
    };
    let places: Vec<usize> = (0..characters.len()).filter(|at| is_option(*at)).collect();
    if places.len() > MAX_WINDASH_DASHES {
        return None;
    }
    let mut variants = vec![characters];
    for place in places {
        let mut more = Vec::with_capacity(variants.len() * DASHES.len());
        for variant in &variants {
            for dash in DASHES {
                let mut changed = variant.clone();
                if let Some(slot) = changed.get_mut(place) {
                    *slot = dash;
                }
                more.push(changed);
            }
        }
        variants = more;
    }
    Some(variants.into_iter().map(|variant| variant.into_iter().collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn base64_is_the_rfcs() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_text_is_found_at_every_offset() {
        for text in ["http://", "::FromBase64String", "abc", "abcd", "abcde"] {
            let variants = base64_offsets(text.as_bytes());
            for before in 0..6 {
                for after in 0..4 {
                    let whole = format!("{}{text}{}", "x".repeat(before), "y".repeat(after));
                    let encoded = base64(whole.as_bytes());
                    assert!(variants.iter().any(|variant| encoded.contains(variant)), "{text} {before} {after}");
                }
            }
        }
    }

    /// Sigma modifiers appendix 2.1, "Encoding": the examples.
    #[test]
    fn utf16_is_the_appendixs() {
        assert_eq!(utf16_le("cmd"), [0x63, 0, 0x6d, 0, 0x64, 0]);
        assert_eq!(utf16_be("cmd"), [0, 0x63, 0, 0x6d, 0, 0x64]);
        assert_eq!(utf16_with_mark("cmd"), [0xff, 0xfe, 0x63, 0, 0x6d, 0, 0x64, 0]);
    }

    #[test]
    fn dashes_are_exchanged_where_an_option_begins() {
        assert_eq!(windash("-x").unwrap(), ["-x", "/x", "\u{2013}x", "\u{2014}x", "\u{2015}x"]);
        assert_eq!(windash(" /f -s").unwrap().len(), 25);
        assert_eq!(windash("a-b").unwrap(), ["a-b"]);
        assert_eq!(windash("- ").unwrap(), ["- "]);
        assert!(windash("-a -b -c -d -e").is_none());
    }
}
