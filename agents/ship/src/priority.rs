//! How much a source matters when the spool is full.

/// A source's priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Dropped first, oldest first, before anything else waits.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Dropped last.
    High,
}

/// What a full spool does with what is not of low priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It takes nothing more until something is acknowledged: the source is the buffer.
    #[default]
    Wait,
    /// It drops the oldest of the lowest priority there is, up to that of what comes in.
    Drop,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];
    /// The words of [`Priority::as_str`], for a configuration key.
    pub const WORDS: &'static [&'static str] = &["low", "normal", "high"];

    /// Returns its one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Returns the priority a word stands for; a word that is none is the usual one.
    pub fn from_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word).unwrap_or_default()
    }
}

impl WhenFull {
    /// The words of a configuration key.
    pub const WORDS: &'static [&'static str] = &["wait", "drop"];

    /// Returns what a word stands for.
    pub fn from_word(word: &str) -> Self {
        if word == "drop" { Self::Drop } else { Self::Wait }
    }
}
