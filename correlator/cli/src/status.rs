//! `canh status`: how the correlator is doing.

use canh_incident::api::CorrelatorStatus;

use crate::arguments::Format;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};

/// Shows the correlator's status.
pub(crate) fn run(client: &Client, output: &Output) -> Result<Exit, Failure> {
    let status: CorrelatorStatus = client.get("/v1/status")?;
    output.data(&render(&status, output.page_format(), output.view())?)?;
    Ok(Exit::Done)
}

fn render(status: &CorrelatorStatus, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json => json::document(status, &mut out)?,
        Format::Ndjson => json::line(status, &mut out)?,
        Format::Table => {
            rows(status, view).iter().for_each(|(name, value)| out.push_str(&format!("{name:<16}{value}\n")));
        }
        Format::Tsv => rows(status, view).iter().for_each(|(name, value)| out.push_str(&format!("{name}\t{value}\n"))),
        Format::Csv => rows(status, view).iter().for_each(|(name, value)| out.push_str(&format!("{name},{value}\n"))),
        Format::Ids => return Err(Failure::usage("a status has no ids").hint("use -o table, tsv, csv, json or ndjson")),
    }
    Ok(out)
}

fn rows(status: &CorrelatorStatus, view: &View) -> Vec<(&'static str, String)> {
    let event_time = status.event_time.map_or_else(|| "-".to_owned(), |time| view.clock.show(time));
    vec![
        ("release", canh_incident::escape_for_terminal(&status.release).into_owned()),
        ("started", view.clock.show(status.started)),
        ("position", status.position.to_string()),
        ("journal", status.journal_position.to_string()),
        ("behind", status.journal_position.saturating_sub(status.position).to_string()),
        ("event time", event_time),
        ("events", status.events.to_string()),
        ("events late", status.events_late.to_string()),
        ("rules", status.rules.to_string()),
        ("rules refused", status.rules_refused.to_string()),
        ("incidents", status.incidents.to_string()),
        ("incidents open", status.incidents_open.to_string()),
        ("groups", status.groups.to_string()),
        ("groups dropped", status.groups_dropped.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_told_in_words_and_in_data() {
        let status = CorrelatorStatus { position: 7, journal_position: 9, ..CorrelatorStatus::default() };
        let shown = render(&status, Format::Table, &View::plain_utc()).unwrap();
        assert!(shown.contains("behind          2\n"), "{shown}");
        let json = render(&status, Format::Json, &View::plain_utc()).unwrap();
        assert_eq!(serde_json::from_str::<CorrelatorStatus>(&json).unwrap(), status);
    }
}
