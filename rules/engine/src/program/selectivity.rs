//! How often a predicate can be expected to fire: a guess that decides speed, never an answer.
//!
//! It chooses the witnesses of a rule and the order of its tests. The guess is made from what a test
//! looks like and from how many predicates share it: a text that many rules write
//! (`\powershell.exe`) is one that many events have.

use crate::detection::Test;
use crate::pattern::{Pattern, Piece, Shape};
use crate::program::atom::AtomKey;

/// Returns the chance that a value of the field meets the test, without regard to who asks.
pub(crate) fn base_chance(key: &AtomKey, test: Option<&Test>) -> f32 {
    match (key, test) {
        (AtomKey::Text { pattern, .. }, _) => pattern_chance(pattern),
        (AtomKey::Equal(_), _) => 0.05,
        (AtomKey::Compare(..) | AtomKey::Calendar(..), _) => 0.4,
        (AtomKey::Regex { .. }, _) => 0.03,
        (AtomKey::Network(_), _) => 0.2,
        (AtomKey::Null, _) => 0.1,
        (AtomKey::Present, _) => 0.9,
    }
}

/// Raises a chance by how many predicates share the test.
pub(crate) fn shared_chance(base: f32, uses: usize) -> f32 {
    let uses = f32::from(u16::try_from(uses).unwrap_or(u16::MAX));
    (base * (0.7 + 0.3 * uses)).min(base.max(0.6))
}

fn pattern_chance(pattern: &Pattern) -> f32 {
    match pattern.shape() {
        Shape::Anything => 0.9,
        Shape::Exact(text) => 0.01 + length_chance(text) * 0.05,
        Shape::Prefix(text) | Shape::Suffix(text) => (length_chance(text) * 0.6 + common_chance(text)).min(0.9),
        Shape::Inside(text) => (length_chance(text) + common_chance(text)).min(0.9),
        Shape::Mixed => pattern
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => length_chance(text) + common_chance(text),
                Piece::One | Piece::Any => 0.9,
            })
            .fold(0.9, f32::min),
    }
}

/// The longer a text, the rarer.
fn length_chance(text: &str) -> f32 {
    match text.len() {
        0 => 0.9,
        1 => 0.6,
        2 => 0.35,
        3 => 0.18,
        4 => 0.1,
        5 => 0.05,
        6 => 0.03,
        7 => 0.02,
        8..=11 => 0.012,
        _ => 0.006,
    }
}

/// What nearly every path, address or command line has.
fn common_chance(text: &str) -> f32 {
    const COMMON: [(&str, f32); 18] = [
        (".exe", 0.6),
        ("\\windows\\", 0.5),
        ("\\system32\\", 0.4),
        ("c:\\", 0.6),
        (".dll", 0.3),
        ("\\software\\", 0.3),
        ("\\microsoft\\", 0.3),
        ("\\users\\", 0.2),
        ("\\appdata\\", 0.15),
        ("\\program files", 0.15),
        ("\\syswow64\\", 0.1),
        ("\\currentversion", 0.15),
        ("http", 0.1),
        ("system", 0.2),
        ("windows", 0.4),
        ("microsoft", 0.3),
        ("\\temp\\", 0.1),
        ("\\services\\", 0.1),
    ];
    // A text much longer than the common one it has is no longer common.
    let matches = |common: &&(&str, f32)| text.contains(common.0) && text.len() <= common.0.len() + 3;
    COMMON.iter().find(matches).map_or(0.0, |common| common.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(pattern: &str) -> f32 {
        base_chance(&AtomKey::Text { pattern: Pattern::parse(pattern), cased: false }, None)
    }

    #[test]
    fn long_texts_are_rarer_than_short_ones() {
        assert!(chance("*invoke-mimikatz*") < chance("*add*"));
        assert!(chance("*\\certutil.exe") < chance("*.exe"));
        assert!(chance("*") > chance("*a*"));
    }

    #[test]
    fn a_test_many_share_is_taken_to_be_common() {
        assert!(shared_chance(0.01, 100) > shared_chance(0.01, 1));
        assert!(shared_chance(0.01, 100_000) <= 0.6);
    }
}
