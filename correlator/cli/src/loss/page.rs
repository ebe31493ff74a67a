//! The loss ledger as text: tables for people, documents and lines for scripts.
//!
//! Names of sources come from hosts, so they are escaped for where they go.

use std::collections::BTreeMap;

use canh_incident::{escape_for_csv, escape_for_terminal};
use serde::Serialize;

use crate::arguments::Format;
use crate::exit::Failure;
use crate::json;
use crate::loss::balance::{GapRow, LossReport, SourceBalance, StreamBalance};
use crate::output::View;
use crate::style::Paint;
use crate::table::{Cell, Table};

/// Names of the columns of `-o csv`, and the order of those of `-o tsv`. Columns are only added, at the end.
const COLUMNS: [&str; 17] = [
    "kind",
    "agent",
    "agency",
    "stream",
    "epoch",
    "source",
    "from",
    "to",
    "produced",
    "journalled",
    "spooled",
    "dropped",
    "reasons",
    "first",
    "last",
    "received",
    "balances",
];

/// One line of `-o ndjson`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Line<'a> {
    Stream(&'a StreamBalance),
    Gap(&'a GapRow),
}

/// Writes the report in a format.
pub(crate) fn render(report: &LossReport, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json => json::document(report, &mut out)?,
        Format::Ndjson => {
            for stream in &report.streams {
                json::line(&Line::Stream(stream), &mut out)?;
            }
            for gap in &report.gaps {
                json::line(&Line::Gap(gap), &mut out)?;
            }
        }
        Format::Table => tables(report, view, &mut out),
        Format::Csv => {
            line(COLUMNS.map(str::to_owned), ',', &mut out);
            rows(report).into_iter().for_each(|row| line(row.map(|cell| escape_for_csv(&cell)), ',', &mut out));
        }
        Format::Tsv => rows(report)
            .into_iter()
            .for_each(|row| line(row.map(|cell| escape_for_terminal(&cell).into_owned()), '\t', &mut out)),
        Format::Ids => {
            return Err(Failure::usage("losses have no ids").hint("use -o table, tsv, csv, json or ndjson"));
        }
    }
    Ok(out)
}

fn line<const N: usize>(cells: [String; N], separator: char, out: &mut String) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        out.push_str(cell);
    }
    out.push('\n');
}

fn rows(report: &LossReport) -> Vec<[String; COLUMNS.len()]> {
    let mut rows = Vec::new();
    for stream in &report.streams {
        rows.push(stream_row(stream));
        rows.extend(stream.sources.iter().map(|source| source_row(stream, source)));
    }
    rows.extend(report.gaps.iter().map(gap_row));
    rows
}

fn stream_row(stream: &StreamBalance) -> [String; COLUMNS.len()] {
    [
        "stream".to_owned(),
        stream.agent.clone(),
        stream.agency.clone(),
        stream.stream.clone(),
        stream.epoch.clone(),
        String::new(),
        String::new(),
        stream.position.to_string(),
        stream.produced.to_string(),
        stream.journalled.to_string(),
        stream.spooled.to_string(),
        sum(&stream.dropped).to_string(),
        reasons(&stream.dropped),
        String::new(),
        stream.stated.to_string(),
        stream.received.to_string(),
        stream.balances.to_string(),
    ]
}

fn source_row(stream: &StreamBalance, source: &SourceBalance) -> [String; COLUMNS.len()] {
    [
        "source".to_owned(),
        stream.agent.clone(),
        stream.agency.clone(),
        stream.stream.clone(),
        stream.epoch.clone(),
        source.source.clone(),
        String::new(),
        source.position.to_string(),
        source.produced.to_string(),
        source.journalled.to_string(),
        String::new(),
        sum(&source.dropped).to_string(),
        reasons(&source.dropped),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]
}

fn gap_row(gap: &GapRow) -> [String; COLUMNS.len()] {
    let first = gap.sources.iter().map(|source| source.first).min();
    let last = gap.sources.iter().map(|source| source.last).max();
    let sources: Vec<&str> = gap.sources.iter().map(|source| source.source.as_str()).collect();
    [
        "gap".to_owned(),
        gap.agent.clone(),
        gap.agency.clone().unwrap_or_default(),
        gap.stream.clone(),
        gap.epoch.clone(),
        sources.join(";"),
        gap.from.to_string(),
        gap.to.to_string(),
        String::new(),
        String::new(),
        String::new(),
        gap.count.to_string(),
        gap.reason.to_owned(),
        first.map_or_else(String::new, |time| time.to_string()),
        last.map_or_else(String::new, |time| time.to_string()),
        gap.received.to_string(),
        String::new(),
    ]
}

fn tables(report: &LossReport, view: &View, out: &mut String) {
    let heading = ["AGENT", "STREAM", "PRODUCED", "JOURNALLED", "SPOOLED", "DROPPED", "BALANCE", "AS OF", "SOURCE"];
    let mut table = Table::new(&heading);
    for stream in &report.streams {
        table.push(stream_cells(stream, view));
        for source in &stream.sources {
            table.push(source_cells(source));
        }
    }
    if !report.streams.is_empty() {
        table.render(view.style, view.width, out);
    }
    for stream in &report.streams {
        if let Some(disagreement) = &stream.disagreement {
            let told = format!("!! {} {}: {}", stream.agent, stream.stream, escape_for_terminal(disagreement));
            view.style.paint(Paint::Alarm, &told, out);
            out.push('\n');
        }
    }
    if report.gaps.is_empty() {
        return;
    }
    if !report.streams.is_empty() {
        out.push('\n');
    }
    let mut table = Table::new(&["HEARD", "AGENT", "STREAM", "RECORDS", "COUNT", "REASON", "SOURCE"]);
    report.gaps.iter().for_each(|gap| table.push(gap_cells(gap, view)));
    table.render(view.style, view.width, out);
}

fn stream_cells(stream: &StreamBalance, view: &View) -> Vec<Cell> {
    let dropped = sum(&stream.dropped);
    let paint = if dropped > 0 { Paint::Warning } else { Paint::Plain };
    let balance = if stream.balances { Cell::from("ok") } else { Cell::painted("!! NO", Paint::Alarm) };
    vec![
        Cell::painted(stream.agent.as_str(), Paint::Strong),
        stream.stream.as_str().into(),
        stream.produced.to_string().into(),
        stream.journalled.to_string().into(),
        stream.spooled.to_string().into(),
        Cell::painted(with_reasons(&stream.dropped), paint),
        balance,
        view.clock.show(stream.received).into(),
        "all".into(),
    ]
}

fn source_cells(source: &SourceBalance) -> Vec<Cell> {
    let figures: String = source.figures.iter().map(|(figure, count)| format!(" ({figure} {count})")).collect();
    vec![
        "".into(),
        "".into(),
        source.produced.to_string().into(),
        source.journalled.to_string().into(),
        "".into(),
        with_reasons(&source.dropped).into(),
        "".into(),
        "".into(),
        format!("{}{figures}", escape_for_terminal(&source.source)).into(),
    ]
}

fn gap_cells(gap: &GapRow, view: &View) -> Vec<Cell> {
    let sources: Vec<String> = gap
        .sources
        .iter()
        .map(|source| {
            let (name, first) = (escape_for_terminal(&source.source), view.clock.show(source.first));
            let last = view.clock.show(source.last);
            format!("{name} {} read {first} to {last}", source.count)
        })
        .collect();
    let sources = if sources.is_empty() { "unknown".to_owned() } else { sources.join(", ") };
    vec![
        view.clock.show(gap.received).into(),
        gap.agent.as_str().into(),
        gap.stream.as_str().into(),
        format!("{}-{}", gap.from, gap.to).into(),
        gap.count.to_string().into(),
        gap.reason.into(),
        sources.into(),
    ]
}

fn sum(counts: &BTreeMap<&'static str, u64>) -> u64 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

fn reasons(counts: &BTreeMap<&'static str, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    counts.join(";")
}

fn with_reasons(counts: &BTreeMap<&'static str, u64>) -> String {
    match sum(counts) {
        0 => "0".to_owned(),
        sum => format!("{sum} {}", reasons(counts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::balance::tests::report;

    fn shown(format: Format) -> String {
        render(&report(), format, &View::plain_utc()).unwrap()
    }

    #[test]
    fn table_shows_the_balance_and_then_the_gaps_and_nothing_hostile() {
        let table = shown(Format::Table);
        let golden = "\
AGENT   STREAM  PRODUCED  JOURNALLED  SPOOLED  DROPPED         BALANCE  AS OF                   SOURCE
web-01  log     15        7           5        3 spool_full=3  ok       2026-11-24 03:07:04+00  all
                7         4                    3 spool_full=3                                   =cmd|'/c calc'!A1\\u{202e} (kernel_packets 70)
web-02  log     15        10          5        0               !! NO    2026-11-24 03:07:04+00  all
                9         10                   0                                                /a (kernel_packets 70)
!! web-02 log: /a: 9 produced, 10 accounted for

HEARD                   AGENT   STREAM  RECORDS  COUNT  REASON      SOURCE
2026-11-24 03:06:40+00  web-01  log     4-6      3      spool_full  =cmd|'/c calc'!A1\\u{202e} 3 read 2026-11-24 03:06:31+00 to 2026-11-24 03:06:38+00
";
        assert_eq!(table, golden);
    }

    #[test]
    fn json_has_its_version_and_the_same_figures() {
        let json: serde_json::Value = serde_json::from_str(&shown(Format::Json)).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["streams"][0]["dropped"]["spool_full"], 3);
        assert_eq!(json["streams"][0]["sources"][0]["figures"]["kernel_packets"], 70);
        assert_eq!(json["gaps"][0]["sources"][0]["first"], "2026-11-24T03:06:31Z");
        assert_eq!((&json["balances"], &json["gaps_total"]), (&false.into(), &1.into()));
        let lines = shown(Format::Ndjson);
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.starts_with("{\"kind\":\"stream\""), "{lines}");
    }

    #[test]
    fn spreadsheets_and_terminals_are_not_made_to_run_anything() {
        let csv = shown(Format::Csv);
        assert_eq!(csv.lines().next(), Some(COLUMNS.join(",").as_str()));
        assert!(!csv.contains(",=cmd"), "{csv}");
        for format in [Format::Csv, Format::Tsv, Format::Table, Format::Json, Format::Ndjson] {
            assert!(!shown(format).contains('\u{202e}'), "{format:?}");
        }
        assert!(render(&report(), Format::Ids, &View::plain_utc()).is_err());
    }
}
