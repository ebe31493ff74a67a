//! Conditions as branches: one test a step, two ways on, no stack.
//!
//! ```text
//! a and (b or not c)      0: a ? 1 : reject
//!                         1: b ? accept : 2
//!                         2: c ? reject : accept
//! ```

use crate::program::formula::{Ask, Formula};
use crate::program::witness::chance;

/// Where a rule's branches begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u32);

const ACCEPT: u32 = u32::MAX;
const REJECT: u32 = u32::MAX - 1;

/// Set in `ask` of a branch that compares two fields.
const PAIR: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
struct Branch {
    ask: u32,
    yes: u32,
    no: u32,
}

/// The branches of all rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    branches: Vec<Branch>,
}

impl Code {
    /// Appends a rule's formula. Parts of an `and` are asked rarest first, parts of an `or` likeliest
    /// first: either way the answer comes soonest.
    pub(crate) fn emit(&mut self, formula: &Formula, chances: &[f32]) -> Entry {
        Entry(self.emit_part(formula, ACCEPT, REJECT, chances))
    }

    fn emit_part(&mut self, formula: &Formula, yes: u32, no: u32, chances: &[f32]) -> u32 {
        let sorted = |parts: &'_ [Formula], likeliest_first: bool| {
            let mut order: Vec<(f32, usize)> = parts.iter().map(|part| chance(part, chances)).zip(0..).collect();
            order.sort_by(|one, other| one.0.total_cmp(&other.0));
            if likeliest_first {
                order.reverse();
            }
            order.into_iter().rev().map(|(_, place)| place).collect::<Vec<_>>()
        };
        match formula {
            Formula::Leaf { ask, wanted } => {
                let ask = match ask {
                    Ask::Predicate(predicate) => predicate.0,
                    Ask::Pair(pair) => pair | PAIR,
                };
                let (yes, no) = if *wanted { (yes, no) } else { (no, yes) };
                self.branches.push(Branch { ask, yes, no });
                u32::try_from(self.branches.len() - 1).unwrap_or(REJECT)
            }
            // Emitted from the last asked to the first, each going on to the one before.
            Formula::All(parts) => sorted(parts, false)
                .into_iter()
                .filter_map(|place| parts.get(place))
                .fold(yes, |next, part| self.emit_part(part, next, no, chances)),
            Formula::Any(parts) => sorted(parts, true)
                .into_iter()
                .filter_map(|place| parts.get(place))
                .fold(no, |next, part| self.emit_part(part, yes, next, chances)),
        }
    }

    /// Runs a rule's branches.
    pub(crate) fn run(&self, entry: Entry, fired: impl Fn(u32) -> bool, mut pair: impl FnMut(u32) -> bool) -> bool {
        let mut at = entry.0;
        while let Some(branch) = self.branches.get(at as usize) {
            let holds = if branch.ask & PAIR == 0 { fired(branch.ask) } else { pair(branch.ask & !PAIR) };
            at = if holds { branch.yes } else { branch.no };
        }
        at == ACCEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::ids::PredicateId;
    use proptest::prelude::*;

    fn formula() -> impl Strategy<Value = Formula> {
        let leaf = (0..6_u32, any::<bool>()).prop_map(|(predicate, wanted)| {
            let ask = if predicate < 5 { Ask::Predicate(PredicateId(predicate)) } else { Ask::Pair(0) };
            Formula::Leaf { ask, wanted }
        });
        leaf.prop_recursive(4, 24, 4, |part| {
            prop_oneof![
                proptest::collection::vec(part.clone(), 0..4).prop_map(Formula::All),
                proptest::collection::vec(part, 0..4).prop_map(Formula::Any),
            ]
        })
    }

    fn plainly(formula: &Formula, bits: u8) -> bool {
        match formula {
            Formula::All(parts) => parts.iter().all(|part| plainly(part, bits)),
            Formula::Any(parts) => parts.iter().any(|part| plainly(part, bits)),
            Formula::Leaf { ask: Ask::Predicate(predicate), wanted } => (bits >> predicate.0 & 1 == 1) == *wanted,
            Formula::Leaf { ask: Ask::Pair(_), wanted } => (bits >> 5 & 1 == 1) == *wanted,
        }
    }

    proptest! {
        #[test]
        fn branches_answer_as_the_formula_does(formula in formula(), bits in 0..64_u8, chances in any::<[u8; 5]>()) {
            let chances = chances.map(|chance| f32::from(chance) / 255.0);
            let mut code = Code::default();
            let entry = code.emit(&formula, &chances);
            let answer = code.run(entry, |predicate| bits >> predicate & 1 == 1, |_| bits >> 5 & 1 == 1);
            prop_assert_eq!(answer, plainly(&formula, bits));
        }
    }
}
