//! The values of one event that fields are compared by, while it is fed value by value.

use canh_event::Value;

use crate::program::{FieldId, Pair};
use crate::run::pair::stands;

/// Values kept for pairs, in one text.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    text: String,
    values: Vec<(FieldId, u32, u32)>,
}

impl Fed {
    /// Forgets the values.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.values.clear();
    }

    /// Keeps a value.
    pub(crate) fn keep(&mut self, field: FieldId, text: &str) {
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let start = narrow(self.text.len());
        self.text.push_str(text);
        self.values.push((field, start, narrow(self.text.len())));
    }

    /// Returns whether some value of one field stands as asked to some value of the other.
    pub(crate) fn holds(&self, pair: &Pair, folded: &mut (String, String)) -> bool {
        self.of(pair.target).any(|value| self.of(pair.other).any(|other| stands(pair, value, other, folded)))
    }

    fn of(&self, field: FieldId) -> impl Iterator<Item = Value<'_>> {
        let texts = self.values.iter().filter(move |(of, ..)| *of == field);
        texts.filter_map(|(_, start, end)| Some(Value::text(self.text.get(*start as usize..*end as usize)?)))
    }
}
