//! Text with wildcards, as Sigma writes it, and how it is laid against a value.
//!
//! `*` stands for any text, `?` for one character; a backslash before either (or before a
//! backslash that stands before either) takes its meaning away.
//! Source: Sigma rules specification 2.1, "String Wildcard" and "Escaping".

use crate::fold::fold;

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// This text; never empty, never next to another.
    Text(Box<str>),
    /// One character.
    One,
    /// Any text, the empty one included; never next to another.
    Any,
}

/// A pattern a whole value is laid against.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

/// What a pattern comes down to: the plain kinds are the ones the program has tables for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'a> {
    /// The value is this text.
    Exact(&'a str),
    /// The value begins with this text.
    Prefix(&'a str),
    /// The value ends with this text.
    Suffix(&'a str),
    /// This text is somewhere in the value.
    Inside(&'a str),
    /// The value is any text.
    Anything,
    /// None of these: the pieces must be laid against it one by one.
    Mixed,
}

impl Pattern {
    /// Returns the pattern a Sigma string writes.
    pub fn parse(text: &str) -> Self {
        let mut pattern = Self::default();
        let mut literal = String::with_capacity(text.len());
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '\\' => match rest.peek() {
                    // An escaped wildcard or backslash; before anything else it is itself.
                    Some('*' | '?' | '\\') => literal.extend(rest.next()),
                    _ => literal.push('\\'),
                },
                '*' => {
                    pattern.push_text(&std::mem::take(&mut literal));
                    pattern.push(Piece::Any);
                }
                '?' => {
                    pattern.push_text(&std::mem::take(&mut literal));
                    pattern.push(Piece::One);
                }
                _ => literal.push(character),
            }
        }
        pattern.push_text(&literal);
        pattern
    }

    /// Returns the pattern that is exactly this text, whatever characters it has.
    pub fn literal(text: &str) -> Self {
        let mut pattern = Self::default();
        pattern.push_text(text);
        pattern
    }

    /// Returns the pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the text if there is no wildcard.
    pub fn as_literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Lets any text stand before it.
    pub(crate) fn open_start(mut self) -> Self {
        if self.pieces.first() != Some(&Piece::Any) {
            self.pieces.insert(0, Piece::Any);
        }
        self
    }

    /// Lets any text stand after it.
    pub(crate) fn open_end(mut self) -> Self {
        self.push(Piece::Any);
        self
    }

    /// Folds the case of its text.
    pub(crate) fn folded(self) -> Self {
        let fold_piece = |piece| match piece {
            Piece::Text(text) => Piece::Text(fold(&text).into_boxed_str()),
            other => other,
        };
        Self { pieces: self.pieces.into_iter().map(fold_piece).collect() }
    }

    /// Returns what it comes down to.
    pub fn shape(&self) -> Shape<'_> {
        match self.pieces.as_slice() {
            [] => Shape::Exact(""),
            [Piece::Text(text)] => Shape::Exact(text),
            [Piece::Any] => Shape::Anything,
            [Piece::Text(text), Piece::Any] => Shape::Prefix(text),
            [Piece::Any, Piece::Text(text)] => Shape::Suffix(text),
            [Piece::Any, Piece::Text(text), Piece::Any] => Shape::Inside(text),
            _ => Shape::Mixed,
        }
    }

    /// Returns whether the whole value fits; both sides are folded or neither is.
    pub fn fits(&self, value: &str) -> bool {
        match self.shape() {
            Shape::Exact(text) => value == text,
            Shape::Prefix(text) => value.starts_with(text),
            Shape::Suffix(text) => value.ends_with(text),
            Shape::Inside(text) => value.contains(text),
            Shape::Anything => true,
            Shape::Mixed => fits_pieces(&self.pieces, value),
        }
    }

    fn push(&mut self, piece: Piece) {
        if piece != Piece::Any || self.pieces.last() != Some(&Piece::Any) {
            self.pieces.push(piece);
        }
    }

    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Text(before)) = self.pieces.last_mut() {
            *before = format!("{before}{text}").into_boxed_str();
        } else {
            self.pieces.push(Piece::Text(Box::from(text)));
        }
    }
}

/// Writes it back as Sigma does, every special character escaped.
impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Any => f.write_str("*")?,
                Piece::One => f.write_str("?")?,
                Piece::Text(text) => {
                    for character in text.chars() {
                        if matches!(character, '*' | '?' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{character}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Lays pieces against a value, going back to the last `*` when stuck: time at most the product of
/// both lengths, no recursion.
fn fits_pieces(pieces: &[Piece], value: &str) -> bool {
    let mut left = pieces;
    let mut rest = value;
    // Where to go on from if stuck: the pieces after the last `*`, and the value it had then.
    let mut retry: Option<(&[Piece], &str)> = None;
    loop {
        let stepped = match left.split_first() {
            Some((Piece::Any, after)) => {
                if after.is_empty() {
                    return true;
                }
                retry = Some((after, rest));
                left = after;
                continue;
            }
            Some((Piece::Text(text), after)) => rest.strip_prefix(&**text).map(|remaining| (after, remaining)),
            Some((Piece::One, after)) => after_one(rest).map(|remaining| (after, remaining)),
            None if rest.is_empty() => return true,
            None => None,
        };
        if let Some((after, remaining)) = stepped {
            (left, rest) = (after, remaining);
            continue;
        }
        // Stuck: let the last `*` swallow more, up to the next place its text occurs at.
        let Some((after, from)) = retry else { return false };
        let Some(further) = after_one(from) else { return false };
        let next = match after.first() {
            Some(Piece::Text(text)) => match further.find(&**text).and_then(|at| further.get(at..)) {
                Some(found) => found,
                None => return false,
            },
            _ => further,
        };
        retry = Some((after, next));
        (left, rest) = (after, next);
    }
}

fn after_one(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next()?;
    Some(characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(Box::from(text))
    }

    /// Sigma rules specification 2.1, "Escaping", case by case.
    #[test]
    fn escapes_are_the_specifications() {
        assert_eq!(Pattern::parse(r"C:\Windows\x").pieces(), [text(r"C:\Windows\x")]);
        assert_eq!(Pattern::parse(r"C:\\Windows").pieces(), [text(r"C:\Windows")]);
        assert_eq!(Pattern::parse(r"a\*b\?").pieces(), [text("a*b?")]);
        assert_eq!(Pattern::parse(r"a\\*").pieces(), [text(r"a\"), Piece::Any]);
        assert_eq!(Pattern::parse(r"a\\\*").pieces(), [text(r"a\*")]);
        assert_eq!(Pattern::parse(r"\\\foo").pieces(), [text(r"\\foo")]);
        assert_eq!(Pattern::parse(r"\\\\foo").pieces(), [text(r"\\foo")]);
        assert_eq!(Pattern::parse(r"ends with\").pieces(), [text(r"ends with\")]);
    }

    #[test]
    fn shapes_are_seen() {
        assert_eq!(Pattern::parse("a").shape(), Shape::Exact("a"));
        assert_eq!(Pattern::parse("a*").shape(), Shape::Prefix("a"));
        assert_eq!(Pattern::parse("*a").shape(), Shape::Suffix("a"));
        assert_eq!(Pattern::parse("**a*").shape(), Shape::Inside("a"));
        assert_eq!(Pattern::parse("*").shape(), Shape::Anything);
        assert_eq!(Pattern::parse("").shape(), Shape::Exact(""));
        assert_eq!(Pattern::parse("a?").shape(), Shape::Mixed);
    }

    #[test]
    fn wildcards_fit() {
        let fits = |pattern: &str, value: &str| Pattern::parse(pattern).fits(value);
        assert!(fits("prog?.exe", "proga.exe"));
        assert!(!fits("prog?.exe", "prog.exe"));
        assert!(fits("prog?.exe", "progđ.exe"));
        assert!(fits("a*b*c", "a-b-b-c"));
        assert!(!fits("a*b*c", "a-b-b-c-"));
        assert!(fits("*a?c*", "xxabxabcx"));
        assert!(fits("*?", "x"));
        assert!(!fits("*?", ""));
        assert!(!fits("?*?", "x"));
        assert!(fits("?*?", "xy"));
    }

    #[test]
    fn a_pattern_written_back_reads_the_same() {
        for written in [r"a\*b*", r"\\\\server\\share", "x?*y", r"end\\*"] {
            let pattern = Pattern::parse(written);
            assert_eq!(Pattern::parse(&pattern.to_string()), pattern, "{written}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = Pattern::parse(&"*a?".repeat(30));
        assert!(!pattern.fits(&"a".repeat(50_000).replace("aa", "ab").replace('a', "b")));
    }
}
