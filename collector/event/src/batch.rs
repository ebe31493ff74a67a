//! A batch of events, column by column, and the view of one row of it.

use crate::column::Column;
use crate::ids::{AgencyId, AgentId, SourceName};
use crate::logsource::Logsource;
use crate::time::{TimeQuality, Timestamp};
use crate::value::Value;

/// Where an event comes from. Agent and agency are what the sender's certificate says; host and
/// source are what the record or the agent says, and thus only as good as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The agent that read the record.
    pub agent: Option<AgentId>,
    /// The agency the agent belongs to.
    pub agency: Option<AgencyId>,
    /// The host the agent runs on, as the agent names it; empty if not known.
    pub host: Box<str>,
    /// Where on the host the record was read.
    pub source: Option<SourceName>,
}

/// Up to 4,096 events; see the crate's page for the shape. Made by `BatchBuilder` or
/// [`EventBatch::decode`], and not changed after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBatch {
    pub(crate) times: Vec<Timestamp>,
    pub(crate) qualities: Vec<TimeQuality>,
    pub(crate) received: Vec<Timestamp>,
    pub(crate) row_origins: Vec<u16>,
    pub(crate) row_logsources: Vec<u16>,
    pub(crate) raw: Vec<u8>,
    pub(crate) raw_ends: Vec<u32>,
    pub(crate) origins: Vec<Origin>,
    pub(crate) logsources: Vec<Logsource>,
    pub(crate) columns: Vec<Column>,
}

/// One event of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    batch: &'a EventBatch,
    index: u16,
}

impl Origin {
    /// Returns the origin of events that came from no agent, such as a file given to `canh eval`.
    pub fn unknown() -> Self {
        Self::default()
    }
}

impl EventBatch {
    /// Returns how many events there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Returns the columns, in order of first appearance.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns the column of a field.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    /// Returns the distinct logsources; [`EventBatch::row_logsources`] points into them.
    pub fn logsources(&self) -> &[Logsource] {
        &self.logsources
    }

    /// Returns, for each row, the index of its logsource.
    pub fn row_logsources(&self) -> &[u16] {
        &self.row_logsources
    }

    /// Returns the distinct origins; [`EventBatch::row_origins`] points into them.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// Returns, for each row, the index of its origin.
    pub fn row_origins(&self) -> &[u16] {
        &self.row_origins
    }

    /// Returns the event time of each row.
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// Returns how many bytes the raw records have together.
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// Returns one event.
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        let index = u16::try_from(index).ok()?;
        (usize::from(index) < self.len()).then_some(Row { batch: self, index })
    }

    /// Returns all events in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).filter_map(|index| self.row(index))
    }

    pub(crate) fn raw_of(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.raw_ends.get(before)).copied().unwrap_or(0);
        let end = self.raw_ends.get(index).copied().unwrap_or(start);
        self.raw.get(start as usize..end as usize).unwrap_or_default()
    }
}

impl<'a> Row<'a> {
    /// Returns the row's place in its batch.
    pub fn index(&self) -> u16 {
        self.index
    }

    fn at(&self) -> usize {
        usize::from(self.index)
    }

    /// Returns the event time.
    pub fn time(&self) -> Timestamp {
        self.batch.times.get(self.at()).copied().unwrap_or_default()
    }

    /// Returns how the event time came about.
    pub fn time_quality(&self) -> TimeQuality {
        self.batch.qualities.get(self.at()).copied().unwrap_or_default()
    }

    /// Returns when the agent read the record.
    pub fn received(&self) -> Timestamp {
        self.batch.received.get(self.at()).copied().unwrap_or_default()
    }

    /// Returns the record as it was read.
    pub fn raw(&self) -> &'a [u8] {
        self.batch.raw_of(self.at())
    }

    /// Returns where the event comes from.
    ///
    /// # Panics
    /// Never: builder and decoder hold every row to an origin that exists.
    #[expect(clippy::expect_used, reason = "builder and decoder hold every row to an origin that exists")]
    pub fn origin(&self) -> &'a Origin {
        let index = self.batch.row_origins.get(self.at()).copied().unwrap_or_default();
        self.batch.origins.get(usize::from(index)).expect("every row has an origin")
    }

    /// Returns the event's logsource.
    ///
    /// # Panics
    /// Never: builder and decoder hold every row to a logsource that exists.
    #[expect(clippy::expect_used, reason = "builder and decoder hold every row to a logsource that exists")]
    pub fn logsource(&self) -> &'a Logsource {
        let index = self.batch.row_logsources.get(self.at()).copied().unwrap_or_default();
        self.batch.logsources.get(usize::from(index)).expect("every row has a logsource")
    }

    /// Returns the values of a field: none if it is absent, several for a list.
    pub fn values(&self, field: &str) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let column = self.batch.column(field);
        let index = self.index;
        column
            .into_iter()
            .flat_map(move |column| column.cells_of(index).iter().filter_map(move |cell| column.value(cell.code)))
    }

    /// Returns the first value of a field.
    pub fn value(&self, field: &str) -> Option<Value<'a>> {
        self.values(field).next()
    }

    /// Returns every (field, value) pair, columns in order; a list gives several pairs.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let index = self.index;
        self.batch.columns.iter().flat_map(move |column| {
            let cells = column.cells_of(index).iter();
            cells.filter_map(move |cell| Some((column.name(), column.value(cell.code)?)))
        })
    }
}
