//! How a journal is kept.

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes reserved for a segment; a longer record gets one that is long enough. 64 MiB if not
    /// set: long enough that the syncs of a roll vanish, short enough to drop often and to read
    /// at every start.
    pub segment_bytes: u64,
    /// Bytes reserved behind every segment for records that must be written when the disk is full
    /// ([`crate::Journal::append_control`]). None if not set.
    pub reserve_bytes: u64,
    /// Whether and how sealed segments are compressed, by whoever calls
    /// [`crate::Segments::compress_next`]. Not at all if not set.
    pub compression: Compression,
}

/// How sealed segments are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// In zstd frames.
    Zstd {
        /// The level, 1 to 19; higher ones are slower and shorten logs by a few per cent more.
        level: i32,
    },
}

impl JournalOptions {
    /// What is not set otherwise.
    pub const DEFAULT: Self = Self { segment_bytes: 64 << 20, reserve_bytes: 0, compression: Compression::None };
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
