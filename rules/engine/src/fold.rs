//! Letter case, folded one way for rules and events alike.
//!
//! Sigma compares text without regard to case unless `cased` says otherwise, and does not say which
//! folding that is. Here a character folds to its Unicode lower case if that is one character, and
//! stays what it is otherwise (but `ſ` is `s` and `ς` is `σ`): `Đ` is `đ` to a rule, and no text
//! changes its number of characters. Folding works character by character, so a text that contains
//! another still contains it once both are folded; prefilters rely on that.
//! ASCII text, nearly all there is, takes a path of its own. The reference evaluator and the
//! program both fold through this file, so they cannot differ.

/// Appends the folded text to `out`.
pub(crate) fn fold_into(text: &str, out: &mut String) {
    let start = out.len();
    out.push_str(text);
    if let Some(copied) = out.get_mut(start..) {
        copied.make_ascii_lowercase();
    }
    if changes_beyond_ascii(text) {
        out.truncate(start);
        out.extend(text.chars().map(fold_char));
    }
}

/// Returns whether folding changes a character that is not ASCII: few texts have any, and most of
/// those (quotes, dashes, signs) have no case.
fn changes_beyond_ascii(text: &str) -> bool {
    const AT_A_TIME: usize = 64;
    let mut rest = text;
    loop {
        let is_ascii = |chunk: &[u8]| chunk.is_ascii();
        let before = rest.as_bytes().chunks(AT_A_TIME).take_while(|chunk| is_ascii(chunk)).count() * AT_A_TIME;
        let tail = rest.as_bytes().get(before..).unwrap_or_default();
        let Some(within) = tail.iter().position(|byte| !byte.is_ascii()) else { return false };
        let Some(other) = rest.get(before + within..).and_then(|tail| tail.chars().next()) else { return false };
        if fold_char(other) != other {
            return true;
        }
        rest = rest.get(before + within + other.len_utf8()..).unwrap_or_default();
    }
}

/// Returns the folded text.
pub(crate) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Returns the folded character.
pub(crate) fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    // Two small letters that Unicode's case folding takes for another, as regular expressions do.
    match character {
        '\u{17f}' => return 's',
        '\u{3c2}' => return '\u{3c3}',
        _ => {}
    }
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vietnamese_letters_fold() {
        assert_eq!(fold("ĐĂNG NHẬP"), "đăng nhập");
        assert_eq!(fold("C:\\Windows"), "c:\\windows");
    }

    #[test]
    fn a_letter_with_a_longer_lower_case_stays() {
        assert_eq!(fold("\u{130}x"), "\u{130}x");
        assert_eq!(fold("\u{212a}"), "k");
    }

    #[test]
    fn a_text_folds_as_its_characters_do() {
        for gap in [0, 1, 30, 63, 64, 65, 200] {
            let text = format!("{}\u{2019}{}Đ{}K", "A".repeat(gap), "b".repeat(gap), "\u{201c}".repeat(3));
            let expected: String = text.chars().map(fold_char).collect();
            assert_eq!(fold(&text), expected);
            assert_eq!(
                fold(text.trim_end_matches('K').trim_end_matches('\u{201c}').trim_end_matches('Đ')).len(),
                gap * 2 + 3
            );
        }
    }

    #[test]
    fn folding_twice_is_folding_once() {
        for character in (0..=0x1_ffff_u32).filter_map(char::from_u32) {
            assert_eq!(fold_char(fold_char(character)), fold_char(character), "{character:?}");
        }
    }
}
