//! Room for what must be unescaped, kept by the parser from line to line.

/// Buffers a line may need. They grow to the longest line seen, which is bounded by the longest
/// record, and never hold anything from one line to the next.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// A field name that is put together.
    pub(crate) name: String,
    /// A text whose escapes are undone.
    pub(crate) text: String,
    /// The same where an escape may stand for a byte that is not UTF-8.
    pub(crate) bytes: Vec<u8>,
}
