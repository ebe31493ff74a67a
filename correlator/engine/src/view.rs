//! A batch as the correlator looks at it: the columns of the fields it asks for, each looked up
//! once, and the hash of each distinct value, made once.

use canh_event::{Column, EventBatch, EventRef, Row};
use canh_incident::source_text;

use crate::episode::Identity;
use crate::plan::{Feed, FieldSlot, KeyPart, Plan};
use crate::siphash::{Key, Seed};

/// One batch, being looked at.
#[derive(Debug)]
pub(crate) struct View<'b> {
    batch: &'b EventBatch,
    record: u64,
    seed: Seed,
    columns: Vec<ColumnView<'b>>,
    /// `agent:source` of each origin, made when first asked for.
    sources: Vec<Option<String>>,
    fields: Vec<(&'b str, &'b str)>,
    fields_row: Option<u16>,
}

#[derive(Debug, Default)]
enum ColumnView<'b> {
    #[default]
    NotLookedUp,
    Absent,
    Present {
        column: &'b Column,
        hashes: Vec<Option<Key>>,
    },
}

impl<'b> View<'b> {
    pub(crate) fn new(batch: &'b EventBatch, record: u64, plan: &Plan, seed: Seed) -> Self {
        let mut columns = Vec::new();
        columns.resize_with(plan.fields.len(), ColumnView::default);
        let sources = vec![None; batch.origins().len()];
        Self { batch, record, seed, columns, sources, fields: Vec::new(), fields_row: None }
    }

    pub(crate) fn event(&self, row: u16) -> EventRef {
        EventRef { record: self.record, row }
    }

    pub(crate) fn row(&self, row: u16) -> Option<Row<'b>> {
        self.batch.row(usize::from(row))
    }

    /// Looks up every column the fields of which are asked for; afterwards the view can be read
    /// without being changed.
    pub(crate) fn look_up(&mut self, plan: &Plan, slot: FieldSlot) {
        let Some(view) = self.columns.get_mut(usize::from(slot)) else { return };
        if matches!(view, ColumnView::NotLookedUp) {
            let column = plan.fields.get(usize::from(slot)).and_then(|name| self.batch.column(name));
            *view = match column {
                Some(column) => ColumnView::Present { column, hashes: vec![None; column.value_count()] },
                None => ColumnView::Absent,
            };
        }
    }

    /// Returns the code of the field's first value in the row. A null is no value.
    fn code(&self, slot: FieldSlot, row: u16) -> Option<(&'b Column, u16)> {
        let ColumnView::Present { column, .. } = self.columns.get(usize::from(slot))? else { return None };
        let code = first_code(column, row)?;
        column.value(code).filter(|value| !value.is_null()).map(|_| (*column, code))
    }

    /// Returns the text of the field's first value in the row.
    pub(crate) fn text(&self, slot: FieldSlot, row: u16) -> Option<&'b str> {
        let (column, code) = self.code(slot, row)?;
        column.value(code).map(|value| value.text)
    }

    /// Returns the hash of the field's first value in the row.
    fn hash(&mut self, slot: FieldSlot, row: u16) -> Option<Key> {
        let (column, code) = self.code(slot, row)?;
        let seed = self.seed;
        let ColumnView::Present { hashes, .. } = self.columns.get_mut(usize::from(slot))? else { return None };
        let hash = hashes.get_mut(usize::from(code))?;
        if hash.is_none() {
            *hash = column.value(code).map(|value| Key::of(seed, value.text.as_bytes()));
        }
        *hash
    }

    /// Returns the key of the row's group; `None` if a required field is missing.
    pub(crate) fn group_key(&mut self, plan: &Plan, feed: &Feed, row: u16) -> Option<Key> {
        let key = self.field_key(plan, &feed.key, row)?;
        if !feed.is_by_agent {
            return Some(key);
        }
        let agent = self.batch.row(usize::from(row)).and_then(|row| row.origin().agent.as_ref());
        let agent = agent.map(|agent| Key::of(self.seed, agent.as_str().as_bytes()));
        Some(Key::of_parts(self.seed, [Some(key), agent]))
    }

    fn field_key(&mut self, plan: &Plan, parts: &[KeyPart], row: u16) -> Option<Key> {
        for slot in parts.iter().flat_map(|part| &part.slots) {
            self.look_up(plan, *slot);
        }
        // Most rules group by one field: its value's hash is the key.
        if let [KeyPart { slots, is_required: true, .. }] = parts
            && let [slot] = slots[..]
        {
            return self.hash(slot, row);
        }
        let mut hashes = [None; MAX_KEY_PARTS];
        for (part, slot) in parts.iter().zip(&mut hashes) {
            *slot = part.slots.iter().find_map(|field| self.hash(*field, row));
            if slot.is_none() && part.is_required {
                return None;
            }
        }
        Some(Key::of_parts(self.seed, hashes.into_iter().take(parts.len())))
    }

    /// Returns the joint hash of the row's values; `None` if one is missing.
    pub(crate) fn joint_value(&mut self, plan: &Plan, slots: &[FieldSlot], row: u16) -> Option<Key> {
        for slot in slots {
            self.look_up(plan, *slot);
        }
        if let [slot] = slots {
            return self.hash(*slot, row);
        }
        let mut hashes = [None; MAX_KEY_PARTS];
        for (slot, hash) in slots.iter().zip(&mut hashes) {
            *hash = Some(self.hash(*slot, row)?);
        }
        Some(Key::of_parts(self.seed, hashes.into_iter().take(slots.len())))
    }

    /// Returns the row's group and origin in words.
    pub(crate) fn identity(&self, plan: &Plan, feed: &Feed, row: u16) -> Identity {
        let mut identity = Identity::default();
        for part in &feed.key {
            let found = part.slots.iter().find_map(|slot| Some((*slot, self.text(*slot, row)?)));
            let Some((slot, value)) = found else { continue };
            let own_name = plan.fields.get(usize::from(slot)).map_or("", String::as_str);
            identity.push(if part.name.is_empty() { own_name } else { &part.name }, value);
        }
        if let Some(row) = self.row(row) {
            identity.agency = row.origin().agency.as_ref().map(ToString::to_string);
            identity.agent = row.origin().agent.as_ref().map(ToString::to_string);
        }
        if let Some(agent) = identity.agent.clone().filter(|_| feed.is_by_agent) {
            identity.push("agent", &agent);
        }
        identity
    }

    /// Gets the row ready to be shelved: its source and the fields kept as evidence.
    pub(crate) fn prepare_evidence(&mut self, plan: &Plan, row: u16) {
        if self.fields_row == Some(row) {
            return;
        }
        self.fields_row = Some(row);
        self.fields.clear();
        for slot in &plan.evidence_fields {
            self.look_up(plan, *slot);
            let name = match self.columns.get(usize::from(*slot)) {
                Some(ColumnView::Present { column, .. }) => column.name(),
                _ => continue,
            };
            if let Some(value) = self.text(*slot, row) {
                self.fields.push((name, cut_at(value, canh_incident::MAX_EVIDENCE_VALUE_BYTES)));
            }
        }
        let origin = self.batch.row_origins().get(usize::from(row)).copied().unwrap_or_default();
        if let (Some(source), Some(row)) = (self.sources.get_mut(usize::from(origin)), self.batch.row(usize::from(row)))
            && source.is_none()
        {
            *source = Some(source_text(row));
        }
    }

    /// Returns the fields of the row that was prepared.
    pub(crate) fn evidence_fields(&self) -> &[(&'b str, &'b str)] {
        &self.fields
    }

    /// Returns `agent:source` of the row that was prepared.
    pub(crate) fn source(&self, row: u16) -> &str {
        let origin = self.batch.row_origins().get(usize::from(row)).copied().unwrap_or_default();
        self.sources.get(usize::from(origin)).and_then(Option::as_deref).unwrap_or_default()
    }
}

/// Most parts of a group key and most fields of a joint value.
pub(crate) const MAX_KEY_PARTS: usize = 16;

/// Returns the first value's code of a row. Where every row has one value, the row's cell stands
/// at the row's own place.
fn first_code(column: &Column, row: u16) -> Option<u16> {
    let cells = column.cells();
    let place = usize::from(row);
    if let Some(cell) = cells.get(place)
        && cell.row == row
        && place.checked_sub(1).and_then(|before| cells.get(before)).is_none_or(|before| before.row != row)
    {
        return Some(cell.code);
    }
    column.cells_of(row).first().map(|cell| cell.code)
}

fn cut_at(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}
