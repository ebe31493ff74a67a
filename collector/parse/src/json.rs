//! JSON lines: one object a line, flattened.
//!
//! ```text
//! {"a":{"b":[1,"x"]},"c":null,"d":[{"e":1.10},{"e":2}]}
//! a.b = 1, "x"    c = (no value)    d.e = 1.10, 2
//! ```
//! Comes in: text. Goes out: fields, names joined by dots, numbers with the digits they had, a list
//! as several values, and what is empty (`null`, `[]`, `{}`) as a field without a value. The time is
//! that of the first known name that holds one; the logsource is what `product`, `service` and
//! `category` say, or channel and event id of a Windows event. The reading itself is `json_events`'.

use canh_event::{Logsource, ValueKind};

use crate::fields::Fields;
use crate::json_events::JsonEvents;
use crate::time::{FoundTime, TimeContext, parse_epoch, parse_iso};

/// Where a time is looked for, the surest name first.
const TIME_NAMES: [&str; 6] = ["@timestamp", "timestamp", "time", "TimeCreated", "UtcTime", "EventTime"];
/// The one of them that is in UTC without saying so (Sysmon).
const UTC_NAME: &str = "UtcTime";

/// Fills rows from JSON lines; keeps its buffers from line to line.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    events: JsonEvents,
    text: String,
}

impl JsonLines {
    /// Fills the row if the text is one JSON object.
    pub(crate) fn fill(&mut self, text: &str, context: TimeContext, fields: &mut Fields<'_, '_>) -> bool {
        if self.events.read(text).is_err() {
            return false;
        }
        let mut time = None;
        for token in self.events.tokens() {
            let name = self.events.name(token.path());
            let value = token.value(text, &mut self.text);
            if matches!(value.kind, ValueKind::Text | ValueKind::Number) {
                note_time(&mut time, name, value.text, context);
            }
            fields.value(name, value);
            for (new, _) in self.events.also().iter().filter(|(_, old)| **old == *name) {
                fields.value(new, value);
            }
        }
        if let Some((_, time)) = time {
            fields.time(time);
        }
        if self.events.logsource() != &Logsource::unknown() {
            fields.logsource(self.events.logsource());
        }
        true
    }
}

/// Keeps the time that the surest name holds.
fn note_time(kept: &mut Option<(usize, FoundTime)>, name: &str, text: &str, context: TimeContext) {
    let Some(rank) = TIME_NAMES.iter().position(|known| *known == name) else { return };
    if kept.is_some_and(|(known, _)| known <= rank) {
        return;
    }
    let context = if name == UTC_NAME { context.in_utc() } else { context };
    let iso = parse_iso(text, context).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time);
    *kept = iso.or_else(|| parse_epoch(text)).map(|time| (rank, time)).or(*kept);
}

#[cfg(test)]
mod tests;
