//! All tests of one field: from a value to the predicates it fires.

use ipnet::IpNet;

use crate::calendar::CalendarPart;
use crate::comparison::Comparison;
use crate::detection::{Test, parse_address};
use crate::fold::fold_into;
use crate::number::Number;
use crate::program::atom::{AtomId, AtomKey};
use crate::program::guard::guard;
use crate::program::ids::PredicateId;
use crate::program::raw_guard::RawGuard;
use crate::program::scratch::{Room, Scratch};
use crate::program::text_index::{TextDraft, TextIndex};
use crate::program::vocabulary::{FieldDraft, FieldKey};

/// All tests of one field.
#[derive(Clone, Debug)]
pub(crate) struct FieldIndex {
    folded: Option<TextIndex>,
    cased: Option<TextIndex>,
    numbers: Vec<(Number, AtomId)>,
    comparisons: Vec<(Comparison, Number, AtomId)>,
    calendar: Vec<(CalendarPart, Comparison, Number, AtomId)>,
    networks: Vec<(IpNet, AtomId)>,
    null: Option<AtomId>,
    present: Option<AtomId>,
    /// Whether it is cheaper to look at a value than to remember it: keywords are looked for in every
    /// value of an event, most of which are never seen again.
    pub(crate) is_forgettable: bool,
    /// For keywords: what a record must hold for any to be in it, if that can be told.
    pub(crate) raw_guard: Option<RawGuard>,
    /// `predicate_starts[a]..predicate_starts[a + 1]` are those of atom `a`.
    predicate_starts: Vec<u32>,
    predicates: Vec<PredicateId>,
}

impl FieldIndex {
    /// Returns the index of a field's tests.
    pub(crate) fn new(draft: &FieldDraft) -> Self {
        let mut index = Self {
            folded: None,
            cased: None,
            numbers: Vec::new(),
            comparisons: Vec::new(),
            calendar: Vec::new(),
            networks: Vec::new(),
            null: None,
            present: None,
            is_forgettable: matches!(draft.key, FieldKey::Keywords(_)),
            raw_guard: None,
            predicate_starts: Vec::new(),
            predicates: Vec::new(),
        };
        let mut folded = TextDraft::default();
        let mut cased = TextDraft::default();
        for (atom, (key, test)) in (0..).map(AtomId).zip(&draft.atoms) {
            match (key, test) {
                (AtomKey::Null, _) => index.null = Some(atom),
                (AtomKey::Present, _) => index.present = Some(atom),
                (_, Some(Test::Text { pattern, cased: false })) => folded.add_pattern(pattern, atom),
                (_, Some(Test::Text { pattern, cased: true })) => cased.add_pattern(pattern, atom),
                (_, Some(Test::Regex(expression))) => folded.add_regex(&expression.regex, guard(expression), atom),
                (_, Some(Test::Equal(number))) => index.numbers.push((*number, atom)),
                (_, Some(Test::Compare(comparison, number))) => index.comparisons.push((*comparison, *number, atom)),
                (_, Some(Test::Network(network))) => index.networks.push((*network, atom)),
                (_, Some(Test::Calendar(part, comparison, number))) => {
                    index.calendar.push((*part, *comparison, *number, atom));
                }
                _ => {}
            }
        }
        index.folded = folded.finish();
        index.cased = cased.finish();
        // Whole numbers first and in order, so that one search finds the equal one.
        index.numbers.sort_by_key(|(number, _)| match number {
            Number::Whole(whole) => (false, *whole),
            Number::Decimal(_) => (true, 0),
        });
        index.file_predicates(draft);
        if index.is_forgettable {
            index.raw_guard = index.new_raw_guard();
        }
        index
    }

    /// Tests that look at more than folded text are not told by it.
    fn new_raw_guard(&self) -> Option<RawGuard> {
        let texts = self.folded.as_ref()?.required()?;
        if self.cased.is_some() || !self.numbers.is_empty() || self.null.is_some() || self.present.is_some() {
            return None;
        }
        RawGuard::new(texts.iter().map(AsRef::as_ref))
    }

    fn file_predicates(&mut self, draft: &FieldDraft) {
        let mut of_atoms: Vec<Vec<PredicateId>> = vec![Vec::new(); draft.atoms.len()];
        for (predicate, atoms) in &draft.predicates {
            for atom in atoms {
                if let Some(list) = of_atoms.get_mut(atom.0 as usize) {
                    list.push(*predicate);
                }
            }
        }
        self.predicate_starts.push(0);
        for list in of_atoms {
            self.predicates.extend(list);
            self.predicate_starts.push(u32::try_from(self.predicates.len()).unwrap_or(u32::MAX));
        }
    }

    /// Returns what a scratch must have room for.
    pub(crate) fn room(&self) -> impl Iterator<Item = Room> {
        self.folded.iter().chain(&self.cased).map(TextIndex::room)
    }

    /// Sets `out` to the predicates a value fires, sorted, each once; `None` is a value that is
    /// nothing.
    pub(crate) fn find(&self, value: Option<&str>, scratch: &mut Scratch, out: &mut Vec<PredicateId>) {
        out.clear();
        scratch.atoms.clear();
        scratch.atoms.extend(self.present);
        match value {
            Some(text) => self.find_text(text, scratch),
            None => scratch.atoms.extend(self.null),
        }
        for atom in &scratch.atoms {
            let place = atom.0 as usize;
            if let (Some(from), Some(to)) = (self.predicate_starts.get(place), self.predicate_starts.get(place + 1)) {
                out.extend_from_slice(self.predicates.get(*from as usize..*to as usize).unwrap_or_default());
            }
        }
        out.sort_unstable();
        out.dedup();
    }

    fn find_text(&self, text: &str, scratch: &mut Scratch) {
        if let Some(index) = self.folded.as_ref().filter(|index| !index.is_too_short(text)) {
            let mut folded = std::mem::take(&mut scratch.folded);
            folded.clear();
            fold_into(text, &mut folded);
            index.find(&folded, text, scratch);
            scratch.folded = folded;
        }
        if let Some(index) = &self.cased {
            index.find(text, text, scratch);
        }
        if !(self.numbers.is_empty() && self.comparisons.is_empty())
            && let Some(number) = Number::parse(text)
        {
            self.find_number(number, &mut scratch.atoms);
        }
        for (part, comparison, bound, atom) in &self.calendar {
            if part.of(text).and_then(|number| number.compare(*bound)).is_some_and(|found| comparison.accepts(found)) {
                scratch.atoms.push(*atom);
            }
        }
        if !self.networks.is_empty()
            && let Some(address) = parse_address(text)
        {
            let canonical = address.to_canonical();
            let contains = |network: &IpNet| network.contains(&address) || network.contains(&canonical);
            let found = self.networks.iter().filter(|(network, _)| contains(network));
            scratch.atoms.extend(found.map(|(_, atom)| *atom));
        }
    }

    fn find_number(&self, number: Number, atoms: &mut Vec<AtomId>) {
        let whole = |known: &(Number, AtomId)| match known.0 {
            Number::Whole(whole) => Some(whole),
            Number::Decimal(_) => None,
        };
        match number {
            Number::Whole(wanted) => {
                let start = self.numbers.partition_point(|known| whole(known).is_some_and(|whole| whole < wanted));
                let equal = self.numbers.iter().skip(start).take_while(|known| known.0.equals(number));
                atoms.extend(equal.map(|known| known.1));
                // A whole number can equal one written as a decimal past the whole ones.
                let decimals = self.numbers.iter().rev().take_while(|known| whole(known).is_none());
                atoms.extend(decimals.filter(|known| known.0.equals(number)).map(|known| known.1));
            }
            Number::Decimal(_) => {
                atoms.extend(self.numbers.iter().filter(|known| known.0.equals(number)).map(|known| known.1));
            }
        }
        let meets = |found: &(Comparison, Number, AtomId)| {
            number.compare(found.1).is_some_and(|ordering| found.0.accepts(ordering))
        };
        atoms.extend(self.comparisons.iter().filter(|found| meets(found)).map(|found| found.2));
    }
}
