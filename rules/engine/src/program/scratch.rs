//! Room that finding needs besides the index, kept from value to value.

use crate::program::atom::AtomId;

/// The bounds a scratch must have room for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    pub(crate) needles: usize,
    pub(crate) patterns: usize,
    pub(crate) regexes: usize,
}

/// Marks on small numbers, all taken back at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    marks: Vec<u32>,
    round: u32,
}

/// What finding needs besides the index; kept, so that finding does not allocate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) atoms: Vec<AtomId>,
    pub(crate) reversed: Vec<u8>,
    pub(crate) fired: Vec<u32>,
    pub(crate) needles: Marks,
    pub(crate) patterns: Marks,
    pub(crate) regexes: Marks,
    pub(crate) folded: String,
}

impl Marks {
    fn new(bound: usize) -> Self {
        Self { marks: vec![0; bound], round: 0 }
    }

    /// Takes all marks back.
    pub(crate) fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.marks.fill(0);
            self.round = 1;
        }
    }

    /// Marks a number; returns whether it was not marked before.
    pub(crate) fn mark(&mut self, number: u32) -> bool {
        match self.marks.get_mut(number as usize) {
            Some(mark) => std::mem::replace(mark, self.round) != self.round,
            None => false,
        }
    }
}

impl Scratch {
    /// Returns a scratch with room for any of these.
    pub(crate) fn new(needed: impl IntoIterator<Item = Room>) -> Self {
        let mut room = Room::default();
        for needed in needed {
            room.needles = room.needles.max(needed.needles);
            room.patterns = room.patterns.max(needed.patterns);
            room.regexes = room.regexes.max(needed.regexes);
        }
        Self {
            needles: Marks::new(room.needles),
            patterns: Marks::new(room.patterns),
            regexes: Marks::new(room.regexes),
            fired: Vec::with_capacity(room.needles),
            ..Self::default()
        }
    }
}
