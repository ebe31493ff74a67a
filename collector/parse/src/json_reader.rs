//! Reads one JSON object in one pass over its bytes and says where its values are.
//!
//! ```text
//! {"a":{"b":[1,"x"]},"c":null,"d":[{"e":1.10},{"e":2}]}
//! a.b = 1    a.b = "x"    c = null    d.e = 1.10    d.e = 2
//! ```
//! Comes in: a line. Goes out: [`JsonToken`]s in the order of the text, each the number of a field and
//! a slice of the line; nothing is copied, unescaped or hashed that nobody asks for. A list is several
//! tokens of one field; `[]` and `{}` are a null; a key that comes twice is two tokens.
//!
//! Lines of one source have their keys in one order. The reader keeps the order of the line before and
//! compares the next key with it, which is cheaper than to look for the key's end and then for the key.
//!
//! Bounded at 64 levels and at 16,384 field names; a line that needs more is refused.

use std::ops::Range;

use canh_event::{Value, ValueKind};

use crate::json_paths::{MAX_PATHS, PathId, PathTable, ROOT};
use crate::json_text::{self, string_end};

/// Deepest nesting read.
pub(crate) const MAX_DEPTH: usize = 64;

/// Text that is not one JSON object within the bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A byte that JSON does not allow here, or the end of the text.
    #[error("not a JSON object: unexpected {} at byte {offset}", .found.map_or("end of text".to_owned(), |byte| format!("{:?}", char::from(byte))))]
    Unexpected {
        /// The place, in bytes from the start of the text.
        offset: usize,
        /// What stands there.
        found: Option<u8>,
    },
    /// Objects and lists nested too deep.
    #[error("JSON is nested deeper than {limit} levels at byte {offset}")]
    TooDeep {
        /// The place, in bytes from the start of the text.
        offset: usize,
        /// The bound.
        limit: usize,
    },
    /// One object with more different field names than any honest one has.
    #[error("JSON object has more than {limit} different field names")]
    TooManyNames {
        /// The bound.
        limit: usize,
    },
}

/// What a token's slice of the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    Text,
    EscapedText,
    Number,
    Bool,
    Null,
}

/// One value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonToken {
    path: PathId,
    kind: TokenKind,
    start: u32,
    end: u32,
}

/// Reads line after line; keeps its buffers and the names of fields.
#[derive(Debug, Default)]
pub struct JsonReader {
    paths: PathTable,
    /// The keys of the line before, in their order.
    shape: Vec<PathId>,
    /// How many keys of this line were read.
    keys: usize,
    tokens: Vec<JsonToken>,
    generation: u64,
}

impl JsonToken {
    /// Returns the field the value belongs to.
    pub fn path(&self) -> PathId {
        self.path
    }

    /// Returns where the value stands in the line, in bytes; a text without its quotes.
    #[inline]
    pub fn place(&self) -> Range<u32> {
        self.start..self.end
    }

    /// Returns whether the value is a text with escapes.
    #[inline]
    pub fn has_escapes(&self) -> bool {
        self.kind == TokenKind::EscapedText
    }

    /// Returns whether the value is nothing: `null`, `[]` or `{}`.
    #[inline]
    pub fn is_null(&self) -> bool {
        self.kind == TokenKind::Null
    }

    /// Returns the value, with its escapes undone through `buffer` if it has any.
    ///
    /// # Contract
    /// `line` is the text the token was read from.
    pub fn value<'a>(&self, line: &'a str, buffer: &'a mut String) -> Value<'a> {
        let text = line.get(self.start as usize..self.end as usize).unwrap_or_default();
        match self.kind {
            TokenKind::Text => Value::text(text),
            TokenKind::EscapedText => {
                buffer.clear();
                json_text::unescape(text, buffer);
                Value::text(buffer)
            }
            TokenKind::Number => Value::number(text),
            TokenKind::Bool => Value { kind: ValueKind::Bool, text },
            TokenKind::Null => Value::NULL,
        }
    }
}

impl JsonReader {
    /// Returns a reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a line and returns its values.
    ///
    /// # Errors
    /// [`JsonError`] if the line is not one object within the bounds; nothing of it is to be used.
    pub fn read(&mut self, line: &str) -> Result<&[JsonToken], JsonError> {
        if self.paths.is_full() {
            self.paths.clear();
            self.shape.clear();
            self.generation += 1;
        }
        self.tokens.clear();
        self.keys = 0;
        let bytes = line.as_bytes();
        if u32::try_from(bytes.len()).is_err() {
            return Err(unexpected(bytes, u32::MAX as usize));
        }
        let at = skip_space(bytes, 0);
        if bytes.get(at) != Some(&b'{') {
            return Err(unexpected(bytes, at));
        }
        let at = skip_space(bytes, self.object(line, at, ROOT, 1)?);
        if at < bytes.len() { Err(unexpected(bytes, at)) } else { Ok(&self.tokens) }
    }

    /// Returns the values of the line last read.
    pub fn tokens(&self) -> &[JsonToken] {
        &self.tokens
    }

    /// Returns the name of a field: its keys joined by dots.
    pub fn name(&self, path: PathId) -> &str {
        self.paths.name(path)
    }

    /// Returns how often the table of names was emptied: a [`PathId`] means something else after.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Reads an object and returns the place after it.
    fn object(&mut self, line: &str, open: usize, path: PathId, depth: usize) -> Result<usize, JsonError> {
        let bytes = line.as_bytes();
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep { offset: open, limit: MAX_DEPTH });
        }
        let mut at = skip_space(bytes, open + 1);
        if bytes.get(at) == Some(&b'}') {
            // The outermost object has no name, and an empty line of JSON no field.
            if path != ROOT {
                self.push(path, TokenKind::Null, at, at);
            }
            return Ok(at + 1);
        }
        loop {
            let (key, after) = self.key(line, at, path)?;
            at = skip_space(bytes, after);
            if bytes.get(at) != Some(&b':') {
                return Err(unexpected(bytes, at));
            }
            at = skip_space(bytes, at + 1);
            at = skip_space(bytes, self.value(line, at, key, depth)?);
            match bytes.get(at) {
                Some(b',') => at = skip_space(bytes, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(unexpected(bytes, at)),
            }
        }
    }

    /// Reads a key and returns its field and the place after it.
    fn key(&mut self, line: &str, at: usize, parent: PathId) -> Result<(PathId, usize), JsonError> {
        let bytes = line.as_bytes();
        if bytes.get(at) != Some(&b'"') {
            return Err(unexpected(bytes, at));
        }
        if let (Some(path), Some(text)) = (self.shape.get(self.keys).copied(), bytes.get(at + 1..))
            && let Some(length) = self.paths.begins(path, parent, text)
        {
            self.keys += 1;
            return Ok((path, at + 1 + length));
        }
        let end = string_end(bytes, at + 1).map_err(|at| unexpected(bytes, at))?;
        let key = line.get(at + 1..end.at).unwrap_or_default();
        let too_many = JsonError::TooManyNames { limit: MAX_PATHS };
        let path = self.paths.find_or_add(parent, key).ok_or(too_many)?;
        if let Some(slot) = self.shape.get_mut(self.keys) {
            *slot = path;
        } else if self.shape.len() < MAX_PATHS {
            self.shape.push(path);
        }
        self.keys += 1;
        Ok((path, end.at + 1))
    }

    /// Reads a value and returns the place after it.
    fn value(&mut self, line: &str, at: usize, path: PathId, depth: usize) -> Result<usize, JsonError> {
        let bytes = line.as_bytes();
        match bytes.get(at) {
            Some(b'"') => {
                let end = string_end(bytes, at + 1).map_err(|at| unexpected(bytes, at))?;
                let kind = if end.has_escape { TokenKind::EscapedText } else { TokenKind::Text };
                self.push(path, kind, at + 1, end.at);
                Ok(end.at + 1)
            }
            Some(b'-' | b'0'..=b'9') => {
                let end = json_text::number_end(bytes, at).map_err(|at| unexpected(bytes, at))?;
                self.push(path, TokenKind::Number, at, end);
                Ok(end)
            }
            Some(b'{') => self.object(line, at, path, depth + 1),
            Some(b'[') => self.list(line, at, path, depth + 1),
            Some(b't') => self.literal(bytes, at, "true", (path, TokenKind::Bool)),
            Some(b'f') => self.literal(bytes, at, "false", (path, TokenKind::Bool)),
            Some(b'n') => self.literal(bytes, at, "null", (path, TokenKind::Null)),
            _ => Err(unexpected(bytes, at)),
        }
    }

    /// Reads a list and returns the place after it.
    fn list(&mut self, line: &str, open: usize, path: PathId, depth: usize) -> Result<usize, JsonError> {
        let bytes = line.as_bytes();
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep { offset: open, limit: MAX_DEPTH });
        }
        let mut at = skip_space(bytes, open + 1);
        if bytes.get(at) == Some(&b']') {
            self.push(path, TokenKind::Null, at, at);
            return Ok(at + 1);
        }
        loop {
            at = skip_space(bytes, self.value(line, at, path, depth)?);
            match bytes.get(at) {
                Some(b',') => at = skip_space(bytes, at + 1),
                Some(b']') => return Ok(at + 1),
                _ => return Err(unexpected(bytes, at)),
            }
        }
    }

    /// Reads a word such as `null` and returns the place after it.
    fn literal(&mut self, bytes: &[u8], at: usize, word: &str, token: (PathId, TokenKind)) -> Result<usize, JsonError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let same = rest.iter().zip(word.as_bytes()).take_while(|(found, wanted)| found == wanted).count();
        if same < word.len() {
            return Err(unexpected(bytes, at + same));
        }
        self.push(token.0, token.1, at, at + word.len());
        Ok(at + word.len())
    }

    fn push(&mut self, path: PathId, kind: TokenKind, start: usize, end: usize) {
        // The line's length fits a u32, so its places do.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.tokens.push(JsonToken { path, kind, start: place(start), end: place(end) });
    }
}

/// Returns the place of the next byte that is no white space.
#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

fn unexpected(bytes: &[u8], offset: usize) -> JsonError {
    JsonError::Unexpected { offset, found: bytes.get(offset).copied() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(reader: &mut JsonReader, line: &str) -> Vec<(String, String)> {
        let tokens = reader.read(line).unwrap().to_vec();
        let mut buffer = String::new();
        let mut pair = |token: &JsonToken| {
            let text = token.value(line, &mut buffer).text.to_owned();
            (reader.name(token.path()).to_owned(), text)
        };
        tokens.iter().map(&mut pair).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_line_before_changes_nothing() {
        let mut reader = JsonReader::new();
        let first = r#"{"a":1,"b":{"c":"x","d":2},"e":[]}"#;
        let expected = pairs(&[("a", "1"), ("b.c", "x"), ("b.d", "2"), ("e", "")]);
        assert_eq!(flat(&mut reader, first), expected);
        assert_eq!(
            flat(&mut reader, r#"{"b":{"d":2,"c":"x"},"a":1,"ab":0}"#),
            pairs(&[("b.d", "2"), ("b.c", "x"), ("a", "1"), ("ab", "0")])
        );
        assert_eq!(flat(&mut reader, r#"{"a\u0062":7,"a":8}"#), pairs(&[("ab", "7"), ("a", "8")]));
        assert_eq!(flat(&mut reader, first), expected);
    }

    #[test]
    fn errors_say_what_and_where() {
        let mut reader = JsonReader::new();
        let text = |reader: &mut JsonReader, line: &str| reader.read(line).unwrap_err().to_string();
        assert_eq!(text(&mut reader, r#"{"a":tru}"#), "not a JSON object: unexpected '}' at byte 8");
        assert_eq!(text(&mut reader, r#"{"a":1"#), "not a JSON object: unexpected end of text at byte 6");
        assert_eq!(text(&mut reader, "[1]"), "not a JSON object: unexpected '[' at byte 0");
        let deep = format!("{{\"a\":{}", "[".repeat(70));
        assert_eq!(text(&mut reader, &deep), "JSON is nested deeper than 64 levels at byte 68");
    }

    #[test]
    fn one_sender_cannot_fill_the_table_of_names_for_others() {
        let mut reader = JsonReader::new();
        let object = |from: usize, count: usize| {
            let fields: Vec<String> = (from..from + count).map(|index| format!("\"k{index}\":1")).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert_eq!(reader.read(&object(0, MAX_PATHS)), Err(JsonError::TooManyNames { limit: MAX_PATHS }));
        assert_eq!(reader.read(&object(0, 10)).map(<[_]>::len), Ok(10));
        assert_eq!(reader.generation(), 1);
    }
}
