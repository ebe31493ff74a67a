//! The bounds of a batch, each with its reason; a decoder refuses what is past them, a builder
//! says so before it is.

/// Most rows of an event batch and most records of a record batch.
///
/// 4,096 rows keep a batch's working set inside a second-level cache and a row number inside
/// twelve bits; a batch of 400-byte lines is then 1.6 MB, well above what group commit needs.
pub const MAX_BATCH_ROWS: usize = 4_096;

/// Most columns (distinct field names) of an event batch.
pub const MAX_COLUMNS: usize = 1_024;

/// Most distinct values of one column: a code is a `u16`.
pub const MAX_VALUES_PER_COLUMN: usize = 65_535;

/// Most values one row may hold for one field (a list in the event).
pub const MAX_LIST_VALUES: usize = 1_024;

/// Longest field name, in bytes.
pub const MAX_FIELD_NAME_BYTES: usize = 256;

/// Longest value, in bytes: as long as the longest record.
pub const MAX_VALUE_BYTES: usize = MAX_RECORD_BYTES;

/// Longest single record, in bytes. Agents cut longer lines and say so.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Most raw bytes of one batch; also the bound on the sum of its values.
pub const MAX_RAW_BYTES: usize = 8 << 20;

/// Most bytes of distinct values in one batch: parsed fields may exceed the raw bytes a little.
pub(crate) const MAX_DICTIONARY_BYTES: usize = 2 * MAX_RAW_BYTES;

/// Most cells of one batch, over all columns.
pub(crate) const MAX_CELLS: usize = 1 << 20;

/// Most distinct origins, logsources or sources of one batch.
pub(crate) const MAX_TABLE_ENTRIES: usize = MAX_BATCH_ROWS;

/// Most services and most categories of one logsource.
pub(crate) const MAX_LOGSOURCE_NAMES: usize = 16;

/// The field of an event whose record its agent has cut at [`MAX_RECORD_BYTES`]: `true`, and only there
/// then. What a parser made of the rest of such a record may be missing something.
pub const RECORD_CUT_FIELD: &str = "RecordCut";
