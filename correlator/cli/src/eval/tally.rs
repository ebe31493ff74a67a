//! What was read and found, counted.

use std::time::Duration;

use canh_incident::{escape_for_csv, escape_for_terminal};
use canh_sigma::{Rule, RuleSet};
use serde::Serialize;

use crate::arguments::Format;
use crate::eval::block::Judged;
use crate::eval::report::RuleName;
use crate::exit::Failure;
use crate::json;
use crate::output::View;
use crate::style::{Paint, severity};
use crate::table::{Cell, Table};

/// Counts of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) hits: u64,
    pub(super) refused: u64,
    /// Hits of each rule, by its place.
    of_rules: Vec<u64>,
}

/// What `--stats` says.
#[derive(Debug, Serialize)]
struct Stats {
    events: u64,
    bytes: u64,
    hits: u64,
    refused: u64,
    rules: usize,
    threads: usize,
    load_seconds: f64,
    seconds: f64,
    events_per_second: f64,
    megabytes_per_second: f64,
    peak_rss_bytes: u64,
}

/// A rule and how often it fired.
#[derive(Debug, Serialize)]
struct Count<'a> {
    rule: RuleName<'a>,
    count: u64,
}

/// How long a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Took {
    /// Reading and compiling the rules.
    pub(super) loading: Duration,
    /// Everything after.
    pub(super) judging: Duration,
    pub(super) threads: usize,
}

impl Tally {
    /// Adds a block's counts.
    pub(super) fn add(&mut self, judged: &Judged) {
        self.events += judged.events;
        self.bytes += judged.bytes;
        self.refused += judged.refused;
        self.hits += judged.hits.len() as u64;
        for hit in &judged.hits {
            let index = hit.rule.0 as usize;
            if self.of_rules.len() <= index {
                self.of_rules.resize(index + 1, 0);
            }
            if let Some(count) = self.of_rules.get_mut(index) {
                *count += 1;
            }
        }
    }

    /// Returns what `--stats` says, in one line.
    pub(super) fn stats(&self, rules: usize, took: Took) -> Result<String, Failure> {
        // Figures for people: what a f64 cannot hold is far past what anybody reads here.
        #[expect(clippy::cast_precision_loss, reason = "rates are rounded anyway")]
        let rate = |count: u64| round(count as f64 / took.judging.as_secs_f64().max(1e-9));
        let stats = Stats {
            events: self.events,
            bytes: self.bytes,
            hits: self.hits,
            refused: self.refused,
            rules,
            threads: took.threads,
            load_seconds: round(took.loading.as_secs_f64()),
            seconds: round(took.judging.as_secs_f64()),
            events_per_second: rate(self.events).round(),
            megabytes_per_second: round(rate(self.bytes) / 1e6),
            peak_rss_bytes: peak_rss_bytes(),
        };
        let mut line = String::new();
        json::line(&stats, &mut line)?;
        line.pop();
        Ok(line)
    }

    /// Returns the rules that fired, the most frequent first.
    pub(super) fn counts(&self, rules: &RuleSet, format: Format, view: &View) -> Result<String, Failure> {
        let fired = rules.rules().iter().zip(self.of_rules.iter().copied()).filter(|(_, count)| *count > 0);
        let mut fired: Vec<(&Rule, u64)> = fired.collect();
        fired.sort_by(|one, two| (two.1, &one.0.id).cmp(&(one.1, &two.0.id)));
        let counts = fired.iter().map(|(rule, count)| Count { rule: RuleName::of(rule), count: *count });
        let mut out = String::new();
        match format {
            Format::Json => json::document(&counts.collect::<Vec<_>>(), &mut out)?,
            Format::Ndjson => counts.into_iter().try_for_each(|count| json::line(&count, &mut out))?,
            Format::Ids => fired.iter().for_each(|(rule, _)| out.push_str(&(clean(&rule.id) + "\n"))),
            Format::Tsv => fired.iter().for_each(|row| out.push_str(&(cells(row, clean).join("\t") + "\n"))),
            Format::Csv => {
                out.push_str("count,level,id,title\n");
                fired.iter().for_each(|row| out.push_str(&(cells(row, escape_for_csv).join(",") + "\n")));
            }
            Format::Table => {
                let mut table = Table::new(&["COUNT", "LEVEL", "ID", "TITLE"]);
                for (rule, count) in &fired {
                    // The words of both are Sigma's.
                    let (word, paint) = severity(rule.level.as_str().parse().unwrap_or_default());
                    table.push(vec![
                        Cell::painted(count.to_string(), Paint::Strong),
                        Cell::painted(word, paint),
                        clean(&rule.id).into(),
                        clean(&rule.title).into(),
                    ]);
                }
                table.render(view.style, view.width, &mut out);
            }
        }
        Ok(out)
    }
}

fn cells((rule, count): &(&Rule, u64), escape: impl Fn(&str) -> String) -> [String; 4] {
    [count.to_string(), rule.level.as_str().to_owned(), escape(&rule.id), escape(&rule.title)]
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}

fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// Returns the most memory the process ever had, or 0 where the kernel does not say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}
