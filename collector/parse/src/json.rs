//! JSON lines: one object a line, flattened.
//!
//! ```text
//! {"a":{"b":[1,"x"]},"c":null,"d":[{"e":1.10},{"e":2}]}
//! a.b = 1, "x"    c = (no value)    d.e = 1.10, 2
//! ```
//! Comes in: text. Goes out: fields, names joined by dots, numbers with the digits they had, a list
//! as several values, and what is empty (`null`, `[]`, `{}`) as a field without a value. The time is
//! that of the first known name that holds one; the logsource is what `product`, `service` and
//! `category` say. The reading itself is `json_reader`'s.

use canh_event::{Logsource, ValueKind};

use crate::fields::Fields;
use crate::json_reader::JsonReader;
use crate::time::{FoundTime, TimeContext, parse_epoch, parse_iso};

/// Where a time is looked for, the surest name first.
const TIME_NAMES: [&str; 6] = ["@timestamp", "timestamp", "time", "TimeCreated", "UtcTime", "EventTime"];
/// The one of them that is in UTC without saying so (Sysmon).
const UTC_NAME: &str = "UtcTime";

/// Fills rows from JSON lines; keeps its buffers from line to line.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    reader: JsonReader,
    text: String,
    noted: Noted,
    logsource: KeptLogsource,
}

/// What of a line is more than a field.
#[derive(Debug, Default)]
struct Noted {
    time: Option<(usize, FoundTime)>,
    product: String,
    service: String,
    category: String,
}

/// The last logsource made: lines of one source all say the same.
#[derive(Debug, Default)]
struct KeptLogsource {
    names: [String; 3],
    logsource: Logsource,
}

impl JsonLines {
    /// Fills the row if the text is one JSON object.
    pub(crate) fn fill(&mut self, text: &str, context: TimeContext, fields: &mut Fields<'_, '_>) -> bool {
        let count = match self.reader.read(text) {
            Ok(tokens) => tokens.len(),
            Err(_) => return false,
        };
        self.noted.clear();
        for index in 0..count {
            let Some(token) = self.reader.token(index) else { break };
            let name = self.reader.name(token.path());
            let value = token.value(text, &mut self.text);
            match value.kind {
                ValueKind::Text => self.noted.note(name, value.text, context),
                ValueKind::Number => self.noted.note_time(name, value.text, context),
                ValueKind::Bool | ValueKind::Null => {}
            }
            fields.value(name, value);
        }
        if let Some((_, time)) = self.noted.time {
            fields.time(time);
        }
        if let Some(logsource) = self.logsource.of(&self.noted) {
            fields.logsource(logsource);
        }
        true
    }
}

impl Noted {
    fn clear(&mut self) {
        self.time = None;
        self.product.clear();
        self.service.clear();
        self.category.clear();
    }

    /// Looks at a value for a time or a part of the logsource.
    fn note(&mut self, name: &str, text: &str, context: TimeContext) {
        let slot = match name {
            "product" => &mut self.product,
            "service" => &mut self.service,
            "category" => &mut self.category,
            _ => return self.note_time(name, text, context),
        };
        if slot.is_empty() {
            slot.push_str(text);
        }
    }

    fn note_time(&mut self, name: &str, text: &str, context: TimeContext) {
        let Some(rank) = TIME_NAMES.iter().position(|known| *known == name) else { return };
        if self.time.is_some_and(|(known, _)| known <= rank) {
            return;
        }
        let context = if name == UTC_NAME { context.in_utc() } else { context };
        let iso = parse_iso(text, context).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time);
        self.time = iso.or_else(|| parse_epoch(text)).map(|time| (rank, time)).or(self.time);
    }
}

impl KeptLogsource {
    /// Returns the logsource of a line; `None` if it says nothing, or nothing that Sigma could name.
    fn of(&mut self, noted: &Noted) -> Option<&Logsource> {
        let names = [&noted.product, &noted.service, &noted.category];
        if names.iter().all(|name| name.is_empty()) {
            return None;
        }
        let is_same = self.names.iter().zip(names).all(|(kept, name)| kept == name);
        if !is_same {
            // A wrong name costs its own part only.
            let product = valid(&noted.product);
            let (service, category) = (valid(&noted.service), valid(&noted.category));
            self.logsource = Logsource::new(product, &[service], &[category]).unwrap_or_default();
            self.names = names.map(Clone::clone);
        }
        Some(&self.logsource)
    }
}

fn valid(name: &str) -> &str {
    if Logsource::new(name, &[], &[]).is_ok() { name } else { "" }
}

#[cfg(test)]
mod tests;
