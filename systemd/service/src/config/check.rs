//! A TOML document against a table of keys: every value checked, every fault gathered.
//!
//! Comes in: the text of a file. Goes out: values by key, and faults with their lines. The walk
//! never stops at a fault, so that an operator is not sent round once for each.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::convert::{self, Refusal};
use crate::config::fault::ConfigFault;
use crate::config::key::{Key, Kind, Presence};
use crate::config::nearest::nearest;
use crate::config::settings::{Entry, Settings, Value};

/// Checks the text of a file against a table of keys.
pub(crate) fn check(keys: &'static [Key], text: &str) -> (Settings, Vec<ConfigFault>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk { text, faults: Vec::new(), is_whole: errors.is_empty() };
    for error in &errors {
        let line = walk.line(error.span().unwrap_or_default());
        walk.faults.push(ConfigFault::Syntax { line, message: error.message().trim().to_owned() });
    }
    let broken: Vec<_> = walk.faults.iter().filter_map(ConfigFault::line).collect();
    let settings = walk.settings(keys, String::new(), None, document.get_ref());
    let mut faults = walk.faults;
    // What else there is to say of a line that could not be read says nothing.
    faults.retain(|fault| {
        matches!(fault, ConfigFault::Syntax { .. }) || fault.line().is_none_or(|line| !broken.contains(&line))
    });
    (settings, faults)
}

/// Returns a default or an example as the file would hold it.
pub(crate) fn literal(kind: &Kind, plain: &str) -> String {
    if kind.is_quoted() { format!("{plain:?}") } else { plain.to_owned() }
}

struct Walk<'t> {
    text: &'t str,
    faults: Vec<ConfigFault>,
    /// Whether the text is valid TOML; if not, what seems to be missing may only be unreadable.
    is_whole: bool,
}

impl Walk<'_> {
    fn settings(&mut self, keys: &'static [Key], prefix: String, header: Option<u32>, table: &DeTable<'_>) -> Settings {
        let mut settings = Settings { prefix, entries: BTreeMap::new() };
        let mut headers = BTreeMap::from([(String::new(), header)]);
        self.table(keys, "", table, &mut settings, &mut headers);
        for key in keys {
            if !settings.entries.contains_key(key.path) {
                let entry = self.absent(key, &settings.prefix, &headers);
                settings.entries.insert(key.path, entry);
            }
        }
        settings
    }

    fn table(
        &mut self,
        keys: &'static [Key],
        parent: &str,
        table: &DeTable<'_>,
        settings: &mut Settings,
        headers: &mut BTreeMap<String, Option<u32>>,
    ) {
        for (name, value) in table.iter() {
            let path =
                if parent.is_empty() { name.get_ref().to_string() } else { format!("{parent}.{}", name.get_ref()) };
            if let Some(key) = keys.iter().find(|key| key.path == path) {
                let shown = format!("{}{path}", settings.prefix);
                let line = Some(self.line(value.span()));
                let value = self.value(&key.kind, &shown, value);
                settings.entries.insert(key.path, Entry { value, line, reload: key.reload });
                continue;
            }
            let below = format!("{path}.");
            let is_section = keys.iter().any(|key| key.path.starts_with(&below));
            match value.get_ref() {
                DeValue::Table(inner) if is_section => {
                    headers.insert(path.clone(), Some(self.line(name.span())));
                    self.table(keys, &path, inner, settings, headers);
                }
                _ if is_section => self.wrong_section(&format!("{}{path}", settings.prefix), value),
                _ => self.unknown(keys, &settings.prefix, &path, name.span()),
            }
        }
    }

    fn value(&mut self, kind: &Kind, shown: &str, value: &Spanned<DeValue<'_>>) -> Value {
        match (kind, value.get_ref()) {
            (Kind::List(item), DeValue::Array(array)) => {
                let check = |(index, inner)| self.value(item, &format!("{shown}[{}]", index + 1), inner);
                Value::List(array.iter().enumerate().map(check).collect())
            }
            (Kind::Tables(keys), DeValue::Array(array)) => self.tables(keys, kind, shown, array),
            (_, inner) => match convert::scalar(kind, inner) {
                Ok(value) => value,
                Err(refusal) => {
                    self.refused(kind, shown, value, refusal);
                    Value::Absent
                }
            },
        }
    }

    fn tables(&mut self, keys: &'static [Key], kind: &Kind, shown: &str, array: &[Spanned<DeValue<'_>>]) -> Value {
        let mut tables = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let shown = format!("{shown}[{}]", index + 1);
            match item.get_ref() {
                DeValue::Table(table) => {
                    let header = Some(self.line(item.span()));
                    tables.push(self.settings(keys, format!("{shown}."), header, table));
                }
                _ => self.refused(kind, &shown, item, Refusal::Type),
            }
        }
        Value::Tables(tables)
    }

    /// Returns what stands in for a key that the file does not hold.
    fn absent(&mut self, key: &Key, prefix: &str, headers: &BTreeMap<String, Option<u32>>) -> Entry {
        let shown = format!("{prefix}{}", key.path);
        let value = match key.presence {
            Presence::Optional(_) => Value::Absent,
            Presence::Default(plain) => self.default(&key.kind, &shown, plain),
            Presence::Required(example) => {
                if self.is_whole {
                    let section = key.path.rsplit_once('.').map_or("", |(section, _)| section);
                    let line = headers.get(section).copied().flatten();
                    self.faults.push(ConfigFault::MissingKey { line, key: shown, advice: advice(key, example) });
                }
                Value::Absent
            }
        };
        Entry { value, line: None, reload: key.reload }
    }

    /// Checks a default by the same road as a value of the file, and without its line.
    fn default(&mut self, kind: &Kind, shown: &str, plain: &str) -> Value {
        let text = literal(kind, plain);
        let (parsed, errors) = DeValue::parse_recoverable(&text);
        let mut inner = Walk { text: &text, faults: Vec::new(), is_whole: errors.is_empty() };
        let value = inner.value(kind, shown, &parsed);
        for mut fault in inner.faults {
            if let ConfigFault::WrongType { line, .. }
            | ConfigFault::BadValue { line, .. }
            | ConfigFault::MissingFile { line, .. }
            | ConfigFault::ExposedSecret { line, .. } = &mut fault
            {
                *line = None;
            }
            self.faults.push(fault);
        }
        value
    }

    fn refused(&mut self, kind: &Kind, key: &str, value: &Spanned<DeValue<'_>>, refusal: Refusal) {
        let line = Some(self.line(value.span()));
        let key = key.to_owned();
        let (expected, found) = (kind.in_words(), convert::describe(value.get_ref()));
        self.faults.push(match refusal {
            Refusal::Type => ConfigFault::WrongType { line, key, expected, found },
            Refusal::Value => ConfigFault::BadValue { line, key, expected, found },
            Refusal::Missing { wanted, path, source } => ConfigFault::MissingFile { line, key, wanted, path, source },
            Refusal::Exposed { path, mode } => ConfigFault::ExposedSecret { line, key, path, mode },
        });
    }

    fn wrong_section(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        let expected = format!("a table, written [{key}]");
        let found = convert::describe(value.get_ref());
        let line = Some(self.line(value.span()));
        self.faults.push(ConfigFault::WrongType { line, key: key.to_owned(), expected, found });
    }

    fn unknown(&mut self, keys: &'static [Key], prefix: &str, path: &str, span: Range<usize>) {
        let sections = keys.iter().filter_map(|key| key.path.rsplit_once('.').map(|(section, _)| section));
        let known = keys.iter().map(|key| key.path).chain(sections);
        let advice = match nearest(path, known) {
            Some(name) => format!("did you mean `{prefix}{name}`?"),
            None => "remove it, or see the reference page for the known ones".to_owned(),
        };
        let shown: String = path.chars().take(80).flat_map(char::escape_debug).collect();
        self.faults.push(ConfigFault::UnknownKey { line: self.line(span), key: format!("{prefix}{shown}"), advice });
    }

    fn line(&self, span: Range<usize>) -> u32 {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let newlines = before.iter().filter(|byte| **byte == b'\n').count();
        u32::try_from(newlines).unwrap_or(u32::MAX).saturating_add(1)
    }
}

fn advice(key: &Key, example: &str) -> String {
    match key.kind {
        Kind::Tables(_) => format!("at least one [[{}]]", key.path),
        _ => format!("{}, for example {}", key.kind.in_words(), literal(&key.kind, example)),
    }
}
