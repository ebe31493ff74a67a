//! The verdict on one event: which of the rules in play hold, given what its values fired.

use crate::program::{BitSet, Inner, Scope};
use crate::run::lists::ListId;
use crate::run::memory::Memory;

/// Room for the verdict on one event; kept, so that none allocates.
#[derive(Debug)]
pub(crate) struct Verdict {
    fired: BitSet,
    /// The event each rule was last looked at for.
    looked_at: Vec<u64>,
    event: u64,
    /// The rules that hold, sorted once all are found.
    pub(crate) rules: Vec<u32>,
}

impl Verdict {
    /// Returns room for a program's rules.
    pub(crate) fn new(program: &Inner) -> Self {
        Self {
            fired: BitSet::new(program.predicate_count as usize),
            looked_at: vec![0; program.entries.len()],
            event: 0,
            rules: Vec::new(),
        }
    }

    /// Sets `rules` to those in play that hold for an event whose values have these lists; `pair`
    /// answers comparisons of two fields.
    pub(crate) fn reach(
        &mut self,
        program: &Inner,
        scope: &Scope,
        memory: &Memory,
        lists: &[ListId],
        mut pair: impl FnMut(u32) -> bool,
    ) {
        self.rules.clear();
        self.event += 1;
        for list in lists {
            memory.listed(*list).predicates.iter().for_each(|predicate| self.fired.insert(*predicate));
        }
        for list in lists {
            for rule in memory.listed(*list).witnessed {
                if scope.has_rule(*rule) {
                    self.look_at(program, *rule, &mut pair);
                }
            }
        }
        for rule in scope.always() {
            self.look_at(program, *rule, &mut pair);
        }
        for list in lists {
            memory.listed(*list).predicates.iter().for_each(|predicate| self.fired.remove(*predicate));
        }
        self.rules.sort_unstable();
    }

    fn look_at(&mut self, program: &Inner, rule: u32, pair: &mut impl FnMut(u32) -> bool) {
        let Some(looked_at) = self.looked_at.get_mut(rule as usize) else { return };
        if std::mem::replace(looked_at, self.event) == self.event {
            return;
        }
        let Some(entry) = program.entries.get(rule as usize) else { return };
        if program.code.run(*entry, |predicate| self.fired.contains(predicate), pair) {
            self.rules.push(rule);
        }
    }
}
