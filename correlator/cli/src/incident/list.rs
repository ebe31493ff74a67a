//! `canh list`: asks for as many pages as it takes and writes them in the format wanted.

use canh_incident::api::{IncidentPage, IncidentSummary, MAX_LIMIT};
use canh_incident::{escape_for_csv, escape_for_terminal};

use crate::arguments::{Format, ListArguments};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::query;
use crate::style::{Paint, severity};
use crate::table::{Cell, Table};

/// Names of the columns of `-o csv`, and the order of those of `-o tsv`. Columns are only added, at the end.
const COLUMNS: [&str; 12] = [
    "number",
    "severity",
    "state",
    "owner",
    "agency",
    "first_seen",
    "last_seen",
    "events",
    "detections",
    "rule_id",
    "title",
    "verdict",
];

/// Lists incidents.
pub(crate) fn run(client: &Client, arguments: &ListArguments, output: &Output) -> Result<Exit, Failure> {
    let page = fetch(client, arguments)?;
    let is_missed = arguments.fail_empty && page.total == 0;
    if arguments.count {
        output.data(&format!("{}\n", page.total))?;
    } else {
        output.data(&render(&page, output.list_format(), output.view())?)?;
        let shown = page.incidents.len();
        if (shown as u64) < page.total {
            output.talk(&format!("{shown} of {} shown; more with --limit {}", page.total, page.total));
        } else if page.total == 0 {
            output.talk("no incident fits");
        }
    }
    Ok(if is_missed { Exit::NotFound } else { Exit::Done })
}

fn fetch(client: &Client, arguments: &ListArguments) -> Result<IncidentPage, Failure> {
    let mut query = query::parse(&arguments.query)?;
    if !arguments.all {
        query::only_open(&mut query);
    }
    match (arguments.mine, arguments.unassigned) {
        (true, _) => query.owner = Some("me".to_owned()),
        (_, true) => query.owner = Some("none".to_owned()),
        _ => {}
    }
    let wanted = if arguments.count { 1 } else { usize::try_from(arguments.limit).unwrap_or(usize::MAX) };
    query.limit = wanted.min(MAX_LIMIT);
    let mut all: IncidentPage = client.get(&query::resource(&query))?;
    while let Some(next) = all.next.filter(|_| all.incidents.len() < wanted) {
        query.after = Some(next);
        query.limit = (wanted - all.incidents.len()).min(MAX_LIMIT);
        let more: IncidentPage = client.get(&query::resource(&query))?;
        // A page that is empty and has a next one would never end.
        all.next = more.next.filter(|_| !more.incidents.is_empty());
        all.incidents.extend(more.incidents);
    }
    Ok(all)
}

/// Writes a page of incidents.
pub(crate) fn render(page: &IncidentPage, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json => json::document(page, &mut out)?,
        Format::Table if page.incidents.is_empty() => {}
        Format::Table => table(&page.incidents, view, &mut out),
        _ => lines(&page.incidents, format, &mut out)?,
    }
    Ok(out)
}

/// Writes incidents one a line: everything but tables and whole documents.
pub(crate) fn lines(incidents: &[IncidentSummary], format: Format, out: &mut String) -> Result<(), Failure> {
    if format == Format::Csv {
        separated(&COLUMNS, ',', out);
    }
    for incident in incidents {
        match format {
            Format::Ids => out.push_str(&format!("{}\n", incident.number)),
            Format::Csv => separated(&cells(incident).map(|cell| escape_for_csv(&cell)), ',', out),
            Format::Tsv => separated(&cells(incident).map(|cell| escape_for_terminal(&cell).into_owned()), '\t', out),
            _ => json::line(incident, out)?,
        }
    }
    Ok(())
}

fn separated<Text: AsRef<str>>(cells: &[Text], separator: char, out: &mut String) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        out.push_str(cell.as_ref());
    }
    out.push('\n');
}

fn cells(incident: &IncidentSummary) -> [String; COLUMNS.len()] {
    [
        incident.number.to_string(),
        incident.severity.to_string(),
        incident.state.to_string(),
        incident.owner.clone().unwrap_or_default(),
        incident.agency.as_ref().map(ToString::to_string).unwrap_or_default(),
        incident.first_seen.to_string(),
        incident.last_seen.to_string(),
        incident.events.to_string(),
        incident.detections.to_string(),
        incident.rule_id.clone(),
        incident.title.clone(),
        incident.verdict.map(|verdict| verdict.to_string()).unwrap_or_default(),
    ]
}

fn table(incidents: &[IncidentSummary], view: &View, out: &mut String) {
    let mut table = Table::new(&["ID", "SEVERITY", "STATE", "OWNER", "AGENCY", "LAST SEEN", "AGO", "EVENTS", "WHAT"]);
    for incident in incidents {
        let (word, paint) = severity(incident.severity);
        let owner =
            incident.owner.as_deref().map_or_else(|| "-".into(), |owner| escape_for_terminal(owner).into_owned());
        let agency = incident.agency.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        table.push(vec![
            Cell::painted(incident.number.to_string(), Paint::Strong),
            Cell::painted(word, paint),
            incident.state.as_str().into(),
            owner.into(),
            agency.into(),
            view.clock.show(incident.last_seen).into(),
            view.clock.age(incident.last_seen).into(),
            incident.events.to_string().into(),
            what(incident).into(),
        ]);
    }
    table.render(view.style, view.width, out);
}

/// Returns the title, and whom or what it is about.
fn what(incident: &IncidentSummary) -> String {
    let mut what = escape_for_terminal(&incident.title).into_owned();
    let values: Vec<_> = incident.entities.iter().map(|entity| escape_for_terminal(&entity.value)).collect();
    if !values.is_empty() {
        what.push_str(&format!(" ({})", values.join(", ")));
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{assert_golden, page};

    const FORMATS: [(Format, &str); 6] = [
        (Format::Table, "list.txt"),
        (Format::Tsv, "list.tsv"),
        (Format::Json, "list.json"),
        (Format::Ndjson, "list.ndjson"),
        (Format::Csv, "list.csv"),
        (Format::Ids, "list.ids"),
    ];

    #[test]
    fn every_format_looks_as_it_always_did() {
        for (format, name) in FORMATS {
            assert_golden(name, &render(&page(), format, &View::plain_utc()).unwrap());
        }
    }

    #[test]
    fn hostile_text_reaches_no_stream() {
        for (format, name) in FORMATS {
            let shown = render(&page(), format, &View::plain_utc()).unwrap();
            let hostile =
                |letter: char| letter != '\n' && letter != '\t' && (letter.is_control() || letter == '\u{202e}');
            assert!(!shown.contains(hostile), "{name}: {shown:?}");
        }
        let csv = render(&page(), Format::Csv, &View::plain_utc()).unwrap();
        assert!(!csv.contains(",=") && !csv.contains("\"="), "{csv}");
        assert_eq!(csv.lines().count(), 3, "a line feed in a title makes no row");
    }

    #[test]
    fn data_is_given_back_whole() {
        let json = render(&page(), Format::Json, &View::plain_utc()).unwrap();
        assert_eq!(serde_json::from_str::<IncidentPage>(&json).unwrap(), page());
    }

    #[test]
    fn no_incident_is_no_heading() {
        let empty = IncidentPage { incidents: Vec::new(), total: 0, next: None, ..page() };
        assert_eq!(render(&empty, Format::Table, &View::plain_utc()).unwrap(), "");
    }
}
