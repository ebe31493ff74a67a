//! One event, value by value: for a reader that finds an event's fields one after another and need
//! not put them into a batch first.
//!
//! ```text
//! let mut feed = matcher.begin(Written { text, logsource, ... }, Routing::ByLogsource);
//! for each field of the record that feed.wants(field): feed.value(field, place, form)
//! feed.finish(&mut rules)
//! ```
//! Values are only noted while they come; [`Feed::finish`] asks the memory about all of them at once.

use std::ops::Range;

use canh_event::Logsource;

use crate::program::FieldId;
use crate::rule::RuleIndex;
use crate::run::hit::Routing;
use crate::run::lists::ListId;
use crate::run::matcher::{EVERYTHING, Matcher};
use crate::run::memory::{Form, Memory, Undo};

/// An event as its record writes it.
#[derive(Clone, Copy, Debug)]
pub struct Written<'t> {
    /// The record; every value is a part of it.
    pub text: &'t str,
    /// Appends to a text what another, which has escapes, means.
    pub undo: Undo,
    /// The event's logsource.
    pub logsource: &'t Logsource,
    /// A small number that always means this logsource, if there is one: which rules are in play is
    /// then found without comparing names.
    pub class: Option<usize>,
    /// Whether the record is JSON text, which says how a keyword can stand in it.
    pub is_json: bool,
}

/// An event under way. Dropped without [`Feed::finish`], it is forgotten.
#[derive(Debug)]
#[must_use = "an event that is not finished is forgotten"]
pub struct Feed<'m, 't> {
    matcher: &'m mut Matcher,
    written: Written<'t>,
    scope: u32,
    is_candidate: bool,
    /// Whether values are looked at for keywords.
    seeks_keywords: bool,
}

impl Matcher {
    /// Begins an event that comes value by value.
    pub fn begin<'t>(&mut self, written: Written<'t>, routing: Routing) -> Feed<'_, 't> {
        self.memory.begin_batch();
        self.make_room_for_scopes(1);
        let scope = match routing {
            Routing::ByLogsource => self.scope_of_class(written.logsource, written.class),
            Routing::Everything => EVERYTHING,
        };
        self.lists.clear();
        self.questions.clear();
        self.fed.clear();
        let is_candidate = self.scopes.get(scope as usize).is_some_and(|scope| !scope.always().is_empty());
        let seeks_keywords = self.may_hold_keywords(scope, &written);
        Feed { matcher: self, written, scope, is_candidate, seeks_keywords }
    }

    /// Returns whether a rule in play looks for keywords that may stand in a record.
    fn may_hold_keywords(&mut self, scope: u32, written: &Written<'_>) -> bool {
        let Self { program, scopes, softened, .. } = self;
        let program = &*program.inner;
        let Some(scope) = scopes.get(scope as usize) else { return false };
        let mut is_softened = false;
        program.keywords.iter().filter(|field| scope.wants(**field)).any(|field| {
            let guard = program.fields.get(field.0 as usize).and_then(|index| index.raw_guard.as_ref());
            let Some(guard) = guard.filter(|_| written.is_json) else { return true };
            if !is_softened {
                softened.soften(written.text);
                is_softened = true;
            }
            guard.may_hold(written.text, softened)
        })
    }
}

impl Feed<'_, '_> {
    /// Returns whether a rule in play looks at a field; others need not be fed.
    #[inline]
    pub fn wants(&self, field: FieldId) -> bool {
        self.matcher.scopes.get(self.scope as usize).is_some_and(|scope| scope.wants(field))
    }

    /// Returns whether a rule in play looks for keywords, so that every value must be fed.
    #[inline]
    pub fn wants_everything(&self) -> bool {
        self.seeks_keywords
    }

    /// Adds a value of a field, by its place in the record; `None` is a field that no rule names.
    #[inline]
    pub fn value(&mut self, field: Option<FieldId>, place: Range<u32>, form: Form) {
        if let Some(field) = field.filter(|field| self.wants(*field)) {
            let Matcher { program, memory, questions, .. } = &mut *self.matcher;
            let text = part(self.written.text, (place.start, place.end));
            if form == Form::Nothing || !Memory::remembers(&program.inner, field, text) {
                self.look_at(field, text, form);
            } else {
                questions.push(memory.question(field, form, text, (place.start, place.end)));
            }
            if self.matcher.program.inner.is_paired(field) && form != Form::Nothing {
                self.keep(field, text, form);
            }
        }
        if self.seeks_keywords {
            self.look_for_keywords(part(self.written.text, (place.start, place.end)), form);
        }
    }

    /// Appends the rules that fit the event, in order.
    pub fn finish(mut self, rules: &mut Vec<RuleIndex>) {
        let mut questions = std::mem::take(&mut self.matcher.questions);
        let Matcher { program, memory, .. } = &mut *self.matcher;
        let text = self.written.text;
        memory.answer(&program.inner, &mut questions, |question| part(text, question.of), self.written.undo);
        for question in &questions {
            self.note(question.answer);
        }
        self.matcher.questions = questions;
        if !self.is_candidate {
            return;
        }
        let Matcher { program, memory, verdict, scopes, lists, fed, folded, .. } = self.matcher;
        let Some(scope) = scopes.get(self.scope as usize) else { return };
        let pair = |pair: u32| match program.inner.pairs.get(pair as usize) {
            Some(pair) => fed.holds(pair, folded),
            None => false,
        };
        verdict.reach(&program.inner, scope, memory, lists, pair);
        rules.extend(verdict.rules.iter().map(|rule| RuleIndex(*rule)));
    }

    #[inline]
    fn note(&mut self, list: ListId) {
        if list == ListId::default() {
            return;
        }
        let Matcher { memory, scopes, lists, .. } = &mut *self.matcher;
        let Some(scope) = scopes.get(self.scope as usize) else { return };
        lists.push(list);
        self.is_candidate |= memory.listed(list).witnessed.iter().any(|rule| scope.has_rule(*rule));
    }

    /// Looks at a value that is not remembered.
    fn look_at(&mut self, field: FieldId, text: &str, form: Form) {
        let Matcher { program, memory, undone, .. } = &mut *self.matcher;
        let value = (form != Form::Nothing).then(|| plain(text, form, self.written.undo, undone));
        let list = memory.look_at(&program.inner, field, value);
        self.note(list);
    }

    fn look_for_keywords(&mut self, text: &str, form: Form) {
        let program = self.matcher.program.clone();
        for field in &program.inner.keywords {
            if self.wants(*field) {
                self.look_at(*field, text, form);
            }
        }
    }

    /// Keeps a value that is compared with another.
    fn keep(&mut self, field: FieldId, text: &str, form: Form) {
        let Matcher { fed, undone, .. } = &mut *self.matcher;
        fed.keep(field, plain(text, form, self.written.undo, undone));
    }
}

fn part(text: &str, (start, end): (u32, u32)) -> &str {
    text.get(start as usize..end as usize).unwrap_or_default()
}

/// Returns what a text means.
fn plain<'a>(text: &'a str, form: Form, undo: Undo, undone: &'a mut String) -> &'a str {
    if form != Form::Escaped {
        return text;
    }
    undone.clear();
    undo(text, undone);
    undone
}
