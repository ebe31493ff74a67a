//! One value of a field: its text as it stood in the record, and what kind of thing it was.

/// What a value was in its record. Sigma compares numbers with strings by their text, so the text
/// is what is kept; the kind only tells `null` from "null" and 1 from "1".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// Text.
    #[default]
    Text,
    /// A number, kept as the digits the record had.
    Number,
    /// `true` or `false`.
    Bool,
    /// Present without a value: JSON `null`, an empty list or object. The text is empty.
    Null,
}

/// One value of a field, borrowed from a batch or from a record that is being parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value<'a> {
    /// What it was in the record.
    pub kind: ValueKind,
    /// Its text; empty for [`ValueKind::Null`].
    pub text: &'a str,
}

impl<'a> Value<'a> {
    /// The value of a field that is present and empty.
    pub const NULL: Value<'static> = Value { kind: ValueKind::Null, text: "" };

    /// Returns a text value.
    pub const fn text(text: &'a str) -> Self {
        Self { kind: ValueKind::Text, text }
    }

    /// Returns a number from its digits.
    ///
    /// # Contract
    /// `digits` is a number in JSON's grammar (RFC 8259 section 6).
    pub const fn number(digits: &'a str) -> Self {
        Self { kind: ValueKind::Number, text: digits }
    }

    /// Returns a truth value.
    pub const fn bool(is_true: bool) -> Value<'static> {
        Value { kind: ValueKind::Bool, text: if is_true { "true" } else { "false" } }
    }

    /// Returns whether the value is [`ValueKind::Null`].
    pub const fn is_null(self) -> bool {
        matches!(self.kind, ValueKind::Null)
    }
}

impl ValueKind {
    /// Returns the byte that stands for it in an encoded batch.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Number => 1,
            Self::Bool => 2,
            Self::Null => 3,
        }
    }

    /// Returns the kind a byte of an encoded batch stands for.
    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Number),
            2 => Some(Self::Bool),
            3 => Some(Self::Null),
            _ => None,
        }
    }
}
