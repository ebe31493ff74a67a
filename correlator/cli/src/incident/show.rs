//! `canh show`: incidents in full.

use std::io::Read;

use canh_incident::api::{IncidentDetail, IncidentSummary};

use crate::arguments::{Format, ShowArguments};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::incident::{list, page};
use crate::json;
use crate::output::{Output, View};
use crate::targets;

/// Shows incidents, one after the other; those that cannot be shown are said on stderr.
pub(crate) fn run(
    client: &Client,
    arguments: &ShowArguments,
    stdin: &mut dyn Read,
    output: &Output,
) -> Result<Exit, Failure> {
    let targets = targets::find(client, &arguments.targets.words, stdin)?;
    let is_single = targets.len() == 1;
    let mut details: Vec<IncidentDetail> = Vec::new();
    let mut first_failure = None;
    for target in targets {
        match client.get::<IncidentDetail>(&target.resource()) {
            Ok(detail) => details.push(detail),
            // One that is missing is no reason to hold back the others; a daemon that is gone is.
            Err(failure) if failure.exit() == Exit::NotFound && !is_single => {
                output.complain(&failure);
                first_failure.get_or_insert(failure.exit());
            }
            Err(failure) => return Err(failure),
        }
    }
    if is_single || !details.is_empty() {
        output.data(&render(&details, is_single, arguments.events, output.page_format(), output.view())?)?;
    }
    Ok(match first_failure {
        None => Exit::Done,
        Some(exit) if details.is_empty() => exit,
        Some(_) => Exit::Partial,
    })
}

/// Writes incidents in full. JSON is one object for one incident asked for, an array for several.
fn render(
    details: &[IncidentDetail],
    is_single: bool,
    most_events: usize,
    format: Format,
    view: &View,
) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Table => {
            for (index, detail) in details.iter().enumerate() {
                if index > 0 {
                    out.push('\n');
                }
                page::render(detail, most_events, view, &mut out);
            }
        }
        Format::Json => match details {
            [detail] if is_single => json::document(detail, &mut out)?,
            _ => json::document(&details, &mut out)?,
        },
        Format::Ndjson => details.iter().try_for_each(|detail| json::line(detail, &mut out))?,
        Format::Ids | Format::Tsv | Format::Csv => {
            let summaries: Vec<_> = details.iter().map(|detail| IncidentSummary::of(&detail.incident)).collect();
            list::lines(&summaries, format, &mut out)?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{HOSTILE, assert_golden, detail};

    fn shown(format: Format, user: &str, title: &str) -> String {
        render(&[detail(user, title)], true, 20, format, &View::plain_utc()).unwrap()
    }

    #[test]
    fn page_reads_as_it_always_did() {
        assert_golden("show.txt", &shown(Format::Table, "Nguyễn", "SSH password guessing"));
        assert_golden("show-hostile.txt", &shown(Format::Table, HOSTILE, HOSTILE));
        assert_golden("show.json", &shown(Format::Json, "Nguyễn", "SSH password guessing"));
    }

    #[test]
    fn hostile_text_reaches_no_stream() {
        for format in [Format::Table, Format::Tsv, Format::Json, Format::Ndjson, Format::Csv, Format::Ids] {
            let shown = shown(format, HOSTILE, HOSTILE);
            let hostile =
                |letter: char| letter != '\n' && letter != '\t' && (letter.is_control() || letter == '\u{202e}');
            assert!(!shown.contains(hostile), "{format:?}: {shown:?}");
        }
    }

    #[test]
    fn evidence_past_the_limit_is_announced() {
        let page = render(&[detail("root", "x")], true, 1, Format::Table, &View::plain_utc()).unwrap();
        assert!(page.contains("3 of 82 events kept, the first 1 shown (--events N)"), "{page}");
    }

    #[test]
    fn one_id_is_an_object_and_several_are_an_array() {
        let one = shown(Format::Json, "root", "x");
        assert!(serde_json::from_str::<IncidentDetail>(&one).is_ok());
        let two = [detail("root", "x"), detail("lan", "y")];
        let several = render(&two, false, 20, Format::Json, &View::plain_utc()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<IncidentDetail>>(&several).unwrap(), two);
    }
}
