//! Writes hits as lines: one JSON object a hit.
//!
//! The parts that come again, a rule and a file, are made once; what stands in an event is escaped so
//! that an eye may see it.

use std::io::{self, Write};
use std::path::PathBuf;

use canh_sigma::RuleSet;
use serde::Serialize;

use crate::eval::block::{FoundHit, Judged};
use crate::exit::Failure;
use crate::json;

/// A rule, as a hit and a count name it.
#[derive(Debug, Serialize)]
pub(super) struct RuleName<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) level: &'a str,
}

/// Writes hits in the order they are given.
#[derive(Debug)]
pub(super) struct Report {
    /// Each rule as JSON, by its place.
    rules: Vec<String>,
    /// Each file's name as JSON.
    files: Vec<String>,
    line: String,
}

impl Report {
    /// Returns a report on these rules and files.
    pub(super) fn new(rules: &RuleSet, files: &[PathBuf]) -> Result<Self, Failure> {
        let name = |path: &PathBuf| one_line(&path.to_string_lossy());
        Ok(Self {
            rules: rules.rules().iter().map(|rule| one_line(&RuleName::of(rule))).collect::<Result<_, _>>()?,
            files: files.iter().map(name).collect::<Result<_, _>>()?,
            line: String::new(),
        })
    }

    /// Writes a block's hits; `first` is the place of its first record in the file.
    pub(super) fn write(&mut self, judged: &Judged, first: u64, out: &mut dyn Write) -> Result<(), Failure> {
        for hit in &judged.hits {
            self.make_line(judged, hit, first)?;
            out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn make_line(&mut self, judged: &Judged, hit: &FoundHit, first: u64) -> Result<(), Failure> {
        let rule = usize::try_from(hit.rule.0).ok().and_then(|index| self.rules.get(index));
        let (rule, file) =
            (rule.map_or("null", String::as_str), self.files.get(judged.file).map_or("null", String::as_str));
        let line = &mut self.line;
        line.clear();
        for part in ["{\"rule\":", rule, ",\"event\":{\"file\":", file, ",\"index\":"] {
            line.push_str(part);
        }
        line.push_str(&(first + hit.index).to_string());
        if let Some(number) = hit.number {
            line.push_str(&format!(",\"record\":{number}"));
        }
        let (start, end) = hit.time;
        if let Some(time) = judged.times.get(start..end).filter(|time| !time.is_empty()) {
            line.push_str(",\"time\":");
            json::line(&time, line)?;
            line.pop();
        }
        line.push_str("}}\n");
        Ok(())
    }
}

impl<'a> RuleName<'a> {
    /// Returns how a rule is named.
    pub(super) fn of(rule: &'a canh_sigma::Rule) -> Self {
        Self { id: &rule.id, title: &rule.title, level: rule.level.as_str() }
    }
}

fn one_line(value: &(impl Serialize + ?Sized)) -> Result<String, Failure> {
    let mut out = String::new();
    json::line(&value, &mut out)?;
    out.pop();
    Ok(out)
}

/// Returns stdout, to be written in large pieces.
pub(super) fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(64 << 10, io::stdout().lock())
}
