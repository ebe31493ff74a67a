//! Which versions of the protocol an end speaks, and which one two ends settle on.

/// The versions this release speaks: the newest and, once there is one, the one before.
pub const SPOKEN: Versions = Versions { oldest: 1, newest: 1 };

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest version spoken.
    pub oldest: u8,
    /// The newest version spoken.
    pub newest: u8,
}

impl Versions {
    /// Returns the newest version both speak; `None` if there is none.
    pub fn settle(self, other: Self) -> Option<u8> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    /// Returns whether `version` is spoken.
    pub fn contains(self, version: u8) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_settle_on_the_older_newest() {
        let before = Versions { oldest: 1, newest: 2 };
        let after = Versions { oldest: 2, newest: 3 };
        assert_eq!(before.settle(after), Some(2));
        assert_eq!(after.settle(before), Some(2));
        assert_eq!(after.settle(after), Some(3));
    }

    #[test]
    fn two_releases_apart_there_is_no_common_version() {
        assert_eq!(Versions { oldest: 1, newest: 2 }.settle(Versions { oldest: 3, newest: 4 }), None);
    }
}
