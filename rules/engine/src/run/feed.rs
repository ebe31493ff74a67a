//! One event, value by value: for a reader that finds an event's fields one after another and need
//! not put them into a batch first.
//!
//! ```text
//! let mut feed = matcher.begin(&logsource, Routing::ByLogsource);
//! feed.read_from(json)                                       if the record is JSON text
//! for each field of the record that feed.wants(field): feed.value(field, value)
//! feed.finish(&mut rules)
//! ```

use canh_event::{Logsource, Value};

use crate::fold::fold_into;
use crate::program::FieldId;
use crate::rule::RuleIndex;
use crate::run::hit::Routing;
use crate::run::matcher::{EVERYTHING, Matcher};
use crate::run::memory::ListId;

/// An event under way. Dropped without [`Feed::finish`], it is forgotten.
#[derive(Debug)]
#[must_use = "an event that is not finished is forgotten"]
pub struct Feed<'a> {
    matcher: &'a mut Matcher,
    scope: u32,
    is_candidate: bool,
    /// Whether values are looked at for keywords.
    seeks_keywords: bool,
}

impl Matcher {
    /// Begins an event that comes value by value.
    pub fn begin(&mut self, logsource: &Logsource, routing: Routing) -> Feed<'_> {
        self.memory.begin_batch();
        self.make_room_for_scopes(1);
        let program = self.program.clone();
        let scope = match routing {
            Routing::ByLogsource => self.scope_of(&program.inner, logsource),
            Routing::Everything => EVERYTHING,
        };
        self.lists.clear();
        self.fed.clear();
        let is_candidate = self.scopes.get(scope as usize).is_some_and(|scope| !scope.always().is_empty());
        let mut feed = Feed { matcher: self, scope, is_candidate, seeks_keywords: true };
        feed.seeks_keywords = feed.has_keywords();
        feed
    }
}

impl Feed<'_> {
    /// Returns whether a rule in play looks at a field; others need not be fed.
    pub fn wants(&self, field: FieldId) -> bool {
        self.matcher.scopes.get(self.scope as usize).is_some_and(|scope| scope.wants(field))
    }

    /// Returns whether a rule in play looks for keywords, so that every value must be fed.
    pub fn wants_everything(&self) -> bool {
        self.seeks_keywords
    }

    /// Tells that every value to be fed is read from this JSON text. If no keyword can stand in it,
    /// values are not looked at for keywords.
    ///
    /// # Contract
    /// Each value fed is a string or number of `json`, its escapes undone.
    pub fn read_from(&mut self, json: &str) {
        if !self.seeks_keywords {
            return;
        }
        let Matcher { program, scopes, folded, .. } = &mut *self.matcher;
        let Some(scope) = scopes.get(self.scope as usize) else { return };
        let record = &mut folded.0;
        record.clear();
        fold_into(json, record);
        let program = &*program.inner;
        let mut in_play = program.keywords.iter().filter(|field| scope.wants(**field));
        self.seeks_keywords = in_play.any(|field| {
            let guard = program.fields.get(field.0 as usize).and_then(|index| index.raw_guard.as_ref());
            guard.is_none_or(|guard| guard.may_hold(json, record))
        });
    }

    fn has_keywords(&self) -> bool {
        self.matcher.program.inner.keywords.iter().any(|field| self.wants(*field))
    }

    /// Adds a value of a field; `None` is a field that no rule names.
    pub fn value(&mut self, field: Option<FieldId>, value: Value<'_>) {
        let text = if value.is_null() { None } else { Some(value.text) };
        let Matcher { program, memory, lists, scopes, fed, .. } = &mut *self.matcher;
        let program = &*program.inner;
        let Some(scope) = scopes.get(self.scope as usize) else { return };
        let keywords: &[FieldId] = if self.seeks_keywords { &program.keywords } else { &[] };
        for field in field.iter().chain(keywords).filter(|field| scope.wants(**field)) {
            let list = memory.resolve(program, *field, text);
            if list != ListId::default() {
                lists.push(list);
                let witnessed = memory.listed(list).witnessed;
                self.is_candidate |= witnessed.iter().any(|rule| scope.has_rule(*rule));
            }
        }
        if let (Some(field), Some(text)) = (field, text)
            && program.is_paired(field)
        {
            fed.keep(field, text);
        }
    }

    /// Appends the rules that fit the event, in order.
    pub fn finish(self, rules: &mut Vec<RuleIndex>) {
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
}
