//! Lays a program against batches of events.
//!
//! Columns are walked first: a value a row in play has is resolved once and its list is hung on the
//! row. Then rows: those on which no witness of a rule in play hangs are passed over.

use canh_event::{Cell, Column, EventBatch, Logsource, Value};
use hashbrown::HashMap;

use crate::program::{FieldId, Inner, Pair, Program, Scope, Softened};
use crate::rule::RuleIndex;
use crate::run::fed::Fed;
use crate::run::hit::{Hit, Routing};
use crate::run::lists::ListId;
use crate::run::memory::{Form, Memory, MemoryCounts, MemoryLimits, Question};
use crate::run::pair::stands;
use crate::run::verdict::Verdict;

/// Most logsources whose rules in play are kept at a time.
const MAX_SCOPES: usize = 1_024;

/// Classes with higher numbers are not remembered.
const MAX_CLASSES: usize = 1 << 16;

/// The place of the scope that has every rule.
pub(crate) const EVERYTHING: u32 = 0;

const NONE: u32 = u32::MAX;

/// Lays a program against batches. Not shared: each thread has its own.
#[derive(Debug)]
pub struct Matcher {
    pub(crate) program: Program,
    pub(crate) memory: Memory,
    pub(crate) verdict: Verdict,
    pub(crate) scopes: Vec<Scope>,
    scope_ids: HashMap<Logsource, u32>,
    /// The scopes of classes, by their numbers.
    scope_of_classes: Vec<Option<u32>>,
    hung: Hung,
    row_scopes: Vec<u32>,
    batch_scopes: Vec<u32>,
    in_play: Vec<bool>,
    memo: Vec<Memo>,
    pub(crate) fed: Fed,
    pub(crate) lists: Vec<ListId>,
    pair_columns: Vec<Option<u16>>,
    pub(crate) questions: Vec<Question>,
    pub(crate) folded: (String, String),
    pub(crate) softened: Softened,
    pub(crate) undone: String,
}

/// What is known of a value of the column under way.
#[derive(Clone, Copy, Debug)]
struct Memo {
    list: ListId,
    is_resolved: bool,
    /// Whether the list witnesses a rule in play, for the scope asked for last.
    is_witness: bool,
    scope: u32,
}

const UNKNOWN: Memo = Memo { list: ListId(0), is_resolved: false, is_witness: false, scope: NONE };

/// Lists hung on rows: of each row the last link, of each link its list and the link before.
#[derive(Debug, Default)]
struct Hung {
    last: Vec<u32>,
    links: Vec<(ListId, u32)>,
    is_candidate: Vec<bool>,
}

impl Matcher {
    /// Returns a matcher of a program.
    pub fn new(program: &Program) -> Self {
        Self::with_memory(program, MemoryLimits::default())
    }

    /// Returns a matcher of a program that remembers no more of the values it has seen than this.
    pub fn with_memory(program: &Program, limits: MemoryLimits) -> Self {
        let inner = &program.inner;
        Self {
            program: program.clone(),
            memory: Memory::new(inner, limits),
            verdict: Verdict::new(inner),
            scopes: vec![Scope::new(&inner.groups, None)],
            scope_ids: HashMap::new(),
            scope_of_classes: Vec::new(),
            hung: Hung::default(),
            row_scopes: Vec::new(),
            batch_scopes: Vec::new(),
            in_play: Vec::new(),
            memo: Vec::new(),
            fed: Fed::default(),
            lists: Vec::new(),
            pair_columns: Vec::new(),
            questions: Vec::new(),
            folded: (String::new(), String::new()),
            softened: Softened::default(),
            undone: String::new(),
        }
    }

    /// Returns how often values were known.
    pub fn memory_counts(&self) -> MemoryCounts {
        self.memory.counts
    }

    /// Appends every hit of a batch, sorted by row, then rule.
    pub fn run(&mut self, batch: &EventBatch, routing: Routing, hits: &mut Vec<Hit>) {
        let program = self.program.clone();
        let program = &*program.inner;
        self.memory.begin_batch();
        self.route(program, batch, routing);
        self.hung.begin(batch.len());
        for column in batch.columns() {
            for field in program.field_id(column.name()).iter().chain(&program.keywords) {
                self.hang(program, column, *field);
            }
        }
        self.find_pair_columns(program, batch);
        self.judge(program, batch, hits);
    }

    /// Finds the rules in play of each row.
    fn route(&mut self, program: &Inner, batch: &EventBatch, routing: Routing) {
        self.row_scopes.clear();
        self.batch_scopes.clear();
        if routing == Routing::Everything {
            self.batch_scopes.push(EVERYTHING);
            self.row_scopes.resize(batch.len(), EVERYTHING);
            return;
        }
        self.make_room_for_scopes(batch.logsources().len());
        for logsource in batch.logsources() {
            let id = self.scope_of(program, logsource);
            self.batch_scopes.push(id);
        }
        let scope_of = |index: &u16| self.batch_scopes.get(usize::from(*index)).copied().unwrap_or(EVERYTHING);
        self.row_scopes.extend(batch.row_logsources().iter().map(scope_of));
    }

    /// Forgets the scopes if there would be too many with `more`. To be called between batches.
    pub(crate) fn make_room_for_scopes(&mut self, more: usize) {
        if self.scopes.len() + more > MAX_SCOPES {
            self.scopes.truncate(1);
            self.scope_ids.clear();
            self.scope_of_classes.clear();
        }
    }

    /// Returns the place of the scope of a logsource that a class number may always mean.
    pub(crate) fn scope_of_class(&mut self, logsource: &Logsource, class: Option<usize>) -> u32 {
        if let Some(known) = class.and_then(|class| self.scope_of_classes.get(class).copied().flatten()) {
            return known;
        }
        let program = self.program.clone();
        let scope = self.scope_of(&program.inner, logsource);
        if let Some(class) = class.filter(|class| *class < MAX_CLASSES) {
            if self.scope_of_classes.len() <= class {
                self.scope_of_classes.resize(class + 1, None);
            }
            if let Some(slot) = self.scope_of_classes.get_mut(class) {
                *slot = Some(scope);
            }
        }
        scope
    }

    /// Returns the place of the scope of a logsource.
    pub(crate) fn scope_of(&mut self, program: &Inner, logsource: &Logsource) -> u32 {
        if let Some(id) = self.scope_ids.get(logsource) {
            return *id;
        }
        let id = u32::try_from(self.scopes.len()).unwrap_or(EVERYTHING);
        self.scopes.push(Scope::new(&program.groups, Some(logsource)));
        self.scope_ids.insert(logsource.clone(), id);
        id
    }

    /// Hangs the lists of a column's values on the rows whose rules want them.
    fn hang(&mut self, program: &Inner, column: &Column, field: FieldId) {
        // Scopes of other batches keep what they had: no row of this one asks for them.
        self.in_play.resize(self.scopes.len(), false);
        let mut is_wanted = false;
        for scope in &self.batch_scopes {
            if let (Some(slot), Some(scope)) = (self.in_play.get_mut(*scope as usize), self.scopes.get(*scope as usize))
            {
                *slot = scope.wants(field);
                is_wanted |= *slot;
            }
        }
        if !is_wanted {
            return;
        }
        self.resolve(program, column, field);
        for Cell { row, code } in column.cells() {
            let scope = self.row_scopes.get(usize::from(*row)).copied().unwrap_or(EVERYTHING);
            if !self.in_play.get(scope as usize).copied().unwrap_or(false) {
                continue;
            }
            let Some(memo) = self.memo.get_mut(usize::from(*code)) else { continue };
            if memo.list == ListId::default() {
                continue;
            }
            if memo.scope != scope {
                memo.scope = scope;
                let witnessed = self.memory.listed(memo.list).witnessed;
                let scope = self.scopes.get(scope as usize);
                memo.is_witness = scope.is_some_and(|scope| witnessed.iter().any(|rule| scope.has_rule(*rule)));
            }
            self.hung.hang(*row, memo.list, memo.is_witness);
        }
    }

    /// Finds the list of each value of a column that a row in play has.
    fn resolve(&mut self, program: &Inner, column: &Column, field: FieldId) {
        self.memo.clear();
        self.memo.resize(column.value_count(), UNKNOWN);
        self.questions.clear();
        for Cell { row, code } in column.cells() {
            let scope = self.row_scopes.get(usize::from(*row)).copied().unwrap_or(EVERYTHING);
            let Some(memo) = self.memo.get_mut(usize::from(*code)).filter(|memo| !memo.is_resolved) else { continue };
            if !self.in_play.get(scope as usize).copied().unwrap_or(false) {
                continue;
            }
            memo.is_resolved = true;
            match column.value(*code).filter(|value| !value.is_null()).map(|value| value.text) {
                Some(text) if Memory::remembers(program, field, text) => {
                    self.questions.push(self.memory.question(field, Form::Plain, text, (u32::from(*code), 0)));
                }
                value => memo.list = self.memory.look_at(program, field, value),
            }
        }
        let code = |question: &Question| u16::try_from(question.of.0).unwrap_or(u16::MAX);
        let text_of = |question: &Question| column.value(code(question)).map_or("", |value| value.text);
        self.memory.answer(program, &mut self.questions, text_of, |_, _| {});
        for question in &self.questions {
            if let Some(memo) = self.memo.get_mut(usize::from(code(question))) {
                memo.list = question.answer;
            }
        }
    }

    /// Looks at the rows on which a witness hangs, or whose logsource has rules without any.
    fn judge(&mut self, program: &Inner, batch: &EventBatch, hits: &mut Vec<Hit>) {
        for (row, scope) in (0_u16..).zip(&self.row_scopes) {
            let Some(scope) = self.scopes.get(*scope as usize) else { continue };
            if !self.hung.is_candidate(row) && scope.always().is_empty() {
                continue;
            }
            self.lists.clear();
            self.lists.extend(self.hung.of(row));
            let (columns, folded) = (&self.pair_columns, &mut self.folded);
            let pair = |pair: u32| match program.pairs.get(pair as usize) {
                Some(pair) => pair_holds(pair, batch, columns, row, folded),
                None => false,
            };
            self.verdict.reach(program, scope, &self.memory, &self.lists, pair);
            hits.extend(self.verdict.rules.iter().map(|rule| Hit { row, rule: RuleIndex(*rule) }));
        }
    }

    /// Finds the columns of the fields that are compared with each other.
    fn find_pair_columns(&mut self, program: &Inner, batch: &EventBatch) {
        self.pair_columns.clear();
        if program.pairs.is_empty() {
            return;
        }
        self.pair_columns.resize(program.fields.len(), None);
        for pair in &program.pairs {
            for field in [pair.target, pair.other] {
                let Some(slot) = self.pair_columns.get_mut(field.0 as usize) else { continue };
                let Some(name) = program.field_name(field).filter(|_| slot.is_none()) else { continue };
                let place = batch.columns().iter().position(|column| column.name() == name);
                *slot = place.and_then(|place| u16::try_from(place).ok());
            }
        }
    }
}

/// Returns whether some value of one field stands as asked to some value of the other.
fn pair_holds(
    pair: &Pair,
    batch: &EventBatch,
    columns: &[Option<u16>],
    row: u16,
    folded: &mut (String, String),
) -> bool {
    let column = |field: FieldId| {
        let place = columns.get(field.0 as usize).copied().flatten()?;
        batch.columns().get(usize::from(place))
    };
    let (Some(target), Some(other)) = (column(pair.target), column(pair.other)) else { return false };
    values_of(target, row).any(|value| values_of(other, row).any(|other| stands(pair, value, other, folded)))
}

fn values_of(column: &Column, row: u16) -> impl Iterator<Item = Value<'_>> {
    let values = column.cells_of(row).iter().filter_map(|cell| column.value(cell.code));
    values.filter(|value| !value.is_null())
}

impl Hung {
    fn begin(&mut self, rows: usize) {
        self.links.clear();
        self.last.clear();
        self.last.resize(rows, NONE);
        self.is_candidate.clear();
        self.is_candidate.resize(rows, false);
    }

    fn hang(&mut self, row: u16, list: ListId, is_witness: bool) {
        let (Some(last), Some(is_candidate)) =
            (self.last.get_mut(usize::from(row)), self.is_candidate.get_mut(usize::from(row)))
        else {
            return;
        };
        let link = u32::try_from(self.links.len()).unwrap_or(NONE);
        self.links.push((list, *last));
        *last = link;
        *is_candidate |= is_witness;
    }

    fn is_candidate(&self, row: u16) -> bool {
        self.is_candidate.get(usize::from(row)).copied().unwrap_or(false)
    }

    fn of(&self, row: u16) -> impl Iterator<Item = ListId> {
        let mut at = self.last.get(usize::from(row)).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let (list, before) = self.links.get(at as usize).copied()?;
            at = before;
            Some(list)
        })
    }
}
