//! Log sequence numbers: the place of a record in a journal.

use std::fmt;

/// The place of a record in its journal, counted from 1. Numbers are given out in order and never
/// twice; one is only ever left out where a damaged record stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The place before the first record.
    pub const ZERO: Self = Self(0);
    /// The place of the first record.
    pub const FIRST: Self = Self(1);

    /// Returns the place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the place before this one, [`Lsn::ZERO`] at the beginning.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the place, or nothing for [`Lsn::ZERO`].
    pub fn known(self) -> Option<Self> {
        (self != Self::ZERO).then_some(self)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
