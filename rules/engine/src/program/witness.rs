//! Which predicates a rule cannot do without.
//!
//! A rule's witnesses are a set of predicates of which at least one has fired whenever the rule
//! holds: a rule none of whose witnesses fired need not be looked at. Of an `and` the part with the
//! rarest witnesses stands for all, of an `or` every part must bring its own. What is asked with `not`
//! has none; a rule without any must be looked at for every event of its logsource.

use crate::program::formula::{Ask, Formula};
use crate::program::ids::PredicateId;

/// Witnesses and how often one of them can be expected to fire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Witnesses {
    pub(crate) predicates: Vec<PredicateId>,
    pub(crate) chance: f32,
}

/// Returns a formula's witnesses, `chances[p]` being how often predicate `p` fires.
pub(crate) fn witnesses(formula: &Formula, chances: &[f32]) -> Option<Witnesses> {
    match formula {
        Formula::Leaf { ask: Ask::Predicate(predicate), wanted: true } => {
            let chance = chances.get(predicate.0 as usize).copied().unwrap_or(1.0);
            Some(Witnesses { predicates: vec![*predicate], chance })
        }
        Formula::Leaf { .. } => None,
        Formula::All(parts) => {
            let each = parts.iter().filter_map(|part| witnesses(part, chances));
            each.min_by(|one, other| one.chance.total_cmp(&other.chance))
        }
        Formula::Any(parts) => {
            let mut all = Witnesses { predicates: Vec::new(), chance: 0.0 };
            for part in parts {
                let of_part = witnesses(part, chances)?;
                all.predicates.extend(of_part.predicates);
                all.chance += of_part.chance;
            }
            all.predicates.sort_unstable();
            all.predicates.dedup();
            Some(all)
        }
    }
}

/// Returns how likely a formula is to hold, its parts taken as independent.
pub(crate) fn chance(formula: &Formula, chances: &[f32]) -> f32 {
    match formula {
        Formula::Leaf { ask, wanted } => {
            let asked = match ask {
                Ask::Predicate(predicate) => chances.get(predicate.0 as usize).copied().unwrap_or(1.0),
                Ask::Pair(_) => 0.5,
            };
            if *wanted { asked } else { 1.0 - asked }
        }
        Formula::All(parts) => parts.iter().map(|part| chance(part, chances)).product(),
        Formula::Any(parts) => 1.0 - parts.iter().map(|part| 1.0 - chance(part, chances)).product::<f32>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(predicate: u32, wanted: bool) -> Formula {
        Formula::Leaf { ask: Ask::Predicate(PredicateId(predicate)), wanted }
    }

    fn of(formula: &Formula) -> Option<Vec<u32>> {
        let chances = [0.5, 0.01, 0.02, 0.03];
        witnesses(formula, &chances).map(|found| found.predicates.iter().map(|predicate| predicate.0).collect())
    }

    #[test]
    fn the_rarest_part_of_an_and_is_enough() {
        assert_eq!(of(&Formula::All(vec![leaf(0, true), leaf(1, true), leaf(2, false)])).unwrap(), [1]);
        let either = Formula::Any(vec![leaf(2, true), leaf(3, true)]);
        assert_eq!(of(&Formula::All(vec![leaf(0, true), either])).unwrap(), [2, 3]);
    }

    #[test]
    fn an_or_with_a_part_that_has_none_has_none() {
        assert_eq!(of(&Formula::Any(vec![leaf(1, true), leaf(2, false)])), None);
        assert_eq!(of(&leaf(1, false)), None);
        assert_eq!(of(&Formula::All(Vec::new())), None);
        assert_eq!(of(&Formula::Any(Vec::new())).unwrap(), [] as [u32; 0]);
    }
}
