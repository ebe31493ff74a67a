//! The fields of one row under way.
//!
//! Comes in: what a parser found. Goes out: cells of the row, and the first refusal of the batch if
//! there was one. Body parsers write on without asking; the parser looks once, at the end of the
//! line, so that no line is half understood.

use canh_event::{BuildError, Logsource, RowBuilder, Value};

use crate::time::FoundTime;

/// Writes fields into a row until the batch refuses one.
#[derive(Debug)]
pub(crate) struct Fields<'a, 'b> {
    row: &'a mut RowBuilder<'b>,
    refused: Option<BuildError>,
}

impl<'a, 'b> Fields<'a, 'b> {
    pub(crate) fn new(row: &'a mut RowBuilder<'b>) -> Self {
        Self { row, refused: None }
    }

    /// Adds a value.
    pub(crate) fn value(&mut self, name: &str, value: Value<'_>) {
        if self.refused.is_none() {
            self.refused = self.row.field(name, value).err();
        }
    }

    /// Adds a text; an empty one means the line does not say, and adds nothing.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.value(name, Value::text(text));
        }
    }

    /// Adds what should be a number, as text if it is none.
    pub(crate) fn number(&mut self, name: &str, digits: &str) {
        if is_json_integer(digits) { self.value(name, Value::number(digits)) } else { self.text(name, digits) }
    }

    /// Adds what happened and how it ended; an empty outcome adds none.
    pub(crate) fn action(&mut self, action: &str, outcome: &str) {
        self.text("EventAction", action);
        self.text("EventOutcome", outcome);
    }

    /// Sets the row's time.
    pub(crate) fn time(&mut self, found: FoundTime) {
        self.row.set_time(found.time, found.quality);
    }

    /// Sets the row's logsource.
    pub(crate) fn logsource(&mut self, logsource: &Logsource) {
        if self.refused.is_none() {
            self.refused = self.row.set_logsource(logsource).err();
        }
    }

    /// Takes back every field, and the refusal with them.
    pub(crate) fn clear(&mut self) {
        self.row.clear_fields();
        self.refused = None;
    }

    /// Hands over the refusal, if there was one.
    pub(crate) fn take_refusal(&mut self) -> Option<BuildError> {
        self.refused.take()
    }
}

/// Returns whether the digits are a whole number in JSON's grammar, which knows no leading zero.
fn is_json_integer(digits: &str) -> bool {
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    !digits.is_empty() && !has_leading_zero && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zero_is_text() {
        assert!(is_json_integer("0") && is_json_integer("22"));
        assert!(!is_json_integer("007") && !is_json_integer("") && !is_json_integer("-1"));
    }
}
