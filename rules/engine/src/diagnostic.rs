//! What is wrong with a rule file, said so that its author can mend it: path, line, column, what
//! was found, what to do.

use std::fmt;

/// A place in a rule file, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    /// The line.
    pub(crate) line: u32,
    /// The column, in characters.
    pub(crate) column: u32,
}

/// A fault at a place, not yet told which file it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where.
    pub(crate) mark: Mark,
    /// What was found.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// A remark on a rule file: why a document was refused, or what is doubtful about one that was not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as it was named to `RuleSet::load`.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What was found: lower case, one clause.
    pub message: String,
    /// What to do about it, if that can be told.
    pub hint: Option<String>,
}

impl Fault {
    /// Returns a fault without a hint.
    pub(crate) fn new(mark: Mark, message: impl Into<String>) -> Self {
        Self { mark, message: message.into(), hint: None }
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which file it is in.
    pub(crate) fn in_file(self, path: &str) -> Diagnostic {
        let Self { mark, message, hint } = self;
        let (message, hint) = (harmless(message), hint.map(harmless));
        Diagnostic { path: path.to_owned(), line: mark.line, column: mark.column, message, hint }
    }
}

/// Writes `path:line:column: message; hint`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", harmless(self.path.clone()), self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// Escapes control characters: a rule pack's text must not reach a terminal as commands.
fn harmless(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Shows foreign text in a message: escaped and cut.
pub(crate) fn shown(text: &str) -> String {
    const MOST_CHARS: usize = 60;
    if text.chars().nth(MOST_CHARS).is_none() {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(MOST_CHARS).collect();
    format!("{head:?}...")
}

/// Returns the known word nearest to a mistyped one, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let most = 1 + word.len() / 4;
    known
        .iter()
        .map(|candidate| (edit_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance over bytes; words here are short.
fn edit_distance(from: &str, to: &str) -> usize {
    if from.len() > 64 {
        return usize::MAX;
    }
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, from_byte) in from.bytes().enumerate() {
        let mut here = Vec::with_capacity(above.len());
        here.push(row + 1);
        for (to_byte, pair) in to.bytes().zip(above.windows(2)) {
            let &[diagonal, up] = pair else { continue };
            let left = here.last().copied().unwrap_or(0);
            here.push((diagonal + usize::from(from_byte != to_byte)).min(up + 1).min(left + 1));
        }
        above = here;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_its_neighbour() {
        assert_eq!(nearest("endwith", &["contains", "endswith", "startswith"]), Some("endswith"));
        assert_eq!(nearest("zzzz", &["contains", "endswith"]), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }

    #[test]
    fn control_characters_are_escaped() {
        let fault = Fault::new(Mark::default(), "a\u{1b}[31mb").hint("\r");
        assert_eq!(fault.in_file("x\n.yml").to_string(), "x\\n.yml:0:0: a\\u{1b}[31mb; \\r");
    }

    #[test]
    fn shows_place_message_and_hint() {
        let fault = Fault::new(Mark { line: 3, column: 5 }, "unknown modifier \"x\"").hint("remove it");
        assert_eq!(fault.in_file("a.yml").to_string(), "a.yml:3:5: unknown modifier \"x\"; remove it");
    }
}
