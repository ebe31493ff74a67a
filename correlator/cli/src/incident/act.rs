//! The verbs that change incidents: one request for all targets, one line of answer for each.

use std::io::Read;

use canh_incident::api::{ActionOutcome, ActionRequest, ActionResult, OutcomeKind};
use canh_incident::{Action, SCHEMA_VERSION, escape_for_csv, escape_for_terminal};

use crate::arguments::{Format, Targets};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::style::Paint;
use crate::table::{Cell, Table};
use crate::targets;

/// How many incidents go in one request: what the daemon takes at most.
const CHUNK: usize = 500;

/// What is to be done, but for the incidents.
#[derive(Debug)]
pub(crate) struct Order {
    request: ActionRequest,
    is_agreed: bool,
}

impl Order {
    /// Returns an order to do something and say nothing with it.
    pub(crate) fn new(action: Action, is_agreed: bool) -> Self {
        let request = ActionRequest { ids: Vec::new(), action, note: None, verdict: None, to: None, if_version: None };
        Self { request, is_agreed }
    }

    /// Adds a note.
    pub(crate) fn note(mut self, note: Option<String>) -> Self {
        self.request.note = note;
        self
    }

    /// Adds a new owner; `none` is nobody.
    pub(crate) fn to(mut self, owner: &str) -> Self {
        self.request.to = (owner != "none").then(|| owner.to_owned());
        self
    }

    /// Adds a verdict.
    pub(crate) fn verdict(mut self, verdict: canh_incident::Verdict) -> Self {
        self.request.verdict = Some(verdict);
        self
    }

    /// Does it to each target and says what became of each.
    pub(crate) fn run(
        mut self,
        client: &Client,
        words: &Targets,
        stdin: &mut dyn Read,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let found = targets::find(client, &words.words, stdin)?;
        if words.if_version.is_some() && found.len() > 1 {
            let what = format!("--if-version is for one incident, {} were given", found.len());
            return Err(Failure::usage(what));
        }
        let (numbers, missing) = targets::numbers(client, &found)?;
        targets::confirm(self.request.action.as_str(), numbers.len(), self.is_agreed)?;
        self.request.if_version = words.if_version;
        let mut outcomes: Vec<ActionOutcome> = Vec::with_capacity(numbers.len());
        for chunk in numbers.chunks(CHUNK) {
            self.request.ids = chunk.to_vec();
            let result: ActionResult = client.post("/v1/incidents/actions", &self.request).inspect_err(|_| {
                output.talk(&format!("{} incidents had been dealt with before", outcomes.len()));
            })?;
            outcomes.extend(result.results);
        }
        if !outcomes.is_empty() {
            output.data(&render(&outcomes, output.list_format(), output.view())?)?;
        }
        missing
            .iter()
            .chain(&outcomes.iter().filter_map(failure).collect::<Vec<_>>())
            .for_each(|it| output.complain(it));
        let missing = missing.iter().map(Failure::exit);
        Ok(exit(missing.chain(outcomes.iter().map(|outcome| exit_of(outcome.outcome)))))
    }
}

/// Writes what became of each incident; `-o ids` only those that now are as asked.
fn render(outcomes: &[ActionOutcome], format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json => {
            let result = ActionResult { schema_version: SCHEMA_VERSION, results: outcomes.to_vec() };
            json::document(&result, &mut out)?;
        }
        Format::Ndjson => outcomes.iter().try_for_each(|outcome| json::line(outcome, &mut out))?,
        Format::Ids => {
            let done = outcomes.iter().filter(|outcome| exit_of(outcome.outcome) == Exit::Done);
            done.for_each(|outcome| out.push_str(&format!("{}\n", outcome.number)));
        }
        Format::Csv => {
            out.push_str("number,outcome,state,version,message\n");
            outcomes.iter().for_each(|outcome| out.push_str(&(cells(outcome, escape_for_csv).join(",") + "\n")));
        }
        Format::Tsv => {
            let escape = |text: &str| escape_for_terminal(text).into_owned();
            outcomes.iter().for_each(|outcome| out.push_str(&(cells(outcome, escape).join("\t") + "\n")));
        }
        Format::Table => table(outcomes, view, &mut out),
    }
    Ok(out)
}

fn cells(outcome: &ActionOutcome, escape: impl Fn(&str) -> String) -> [String; 5] {
    [
        outcome.number.to_string(),
        word(outcome.outcome).to_owned(),
        outcome.state.map(|state| state.to_string()).unwrap_or_default(),
        outcome.version.map(|version| version.to_string()).unwrap_or_default(),
        escape(outcome.message.as_deref().unwrap_or_default()),
    ]
}

fn table(outcomes: &[ActionOutcome], view: &View, out: &mut String) {
    let mut table = Table::new(&["ID", "OUTCOME", "STATE", "VERSION"]);
    for outcome in outcomes {
        let is_well = exit_of(outcome.outcome) == Exit::Done;
        let paint = if is_well { Paint::Plain } else { Paint::Alarm };
        let [number, word, state, version, _] = cells(outcome, str::to_owned);
        table.push(vec![
            Cell::painted(number, Paint::Strong),
            Cell::painted(word, paint),
            state.into(),
            version.into(),
        ]);
    }
    table.render(view.style, view.width, out);
}

const fn word(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Done => "done",
        OutcomeKind::Unchanged => "unchanged",
        OutcomeKind::NotFound => "not_found",
        OutcomeKind::Conflict => "conflict",
        OutcomeKind::Illegal => "illegal",
        OutcomeKind::Invalid => "invalid",
        OutcomeKind::Denied => "denied",
        OutcomeKind::Failed => "failed",
    }
}

const fn exit_of(outcome: OutcomeKind) -> Exit {
    match outcome {
        OutcomeKind::Done | OutcomeKind::Unchanged => Exit::Done,
        OutcomeKind::NotFound => Exit::NotFound,
        OutcomeKind::Conflict | OutcomeKind::Illegal => Exit::Conflict,
        OutcomeKind::Invalid => Exit::Usage,
        OutcomeKind::Denied => Exit::Permission,
        OutcomeKind::Failed => Exit::Internal,
    }
}

/// Returns what to say about an incident that is not as asked.
fn failure(outcome: &ActionOutcome) -> Option<Failure> {
    let exit = exit_of(outcome.outcome);
    if exit == Exit::Done {
        return None;
    }
    let number = outcome.number;
    let hint = match outcome.outcome {
        OutcomeKind::NotFound => "see what there is: canh list --all".to_owned(),
        OutcomeKind::Conflict => format!("look at it again, then repeat with its present version: canh show {number}"),
        OutcomeKind::Illegal => format!("see where it stands: canh show {number}"),
        OutcomeKind::Invalid => "see the verb's --help".to_owned(),
        OutcomeKind::Denied => "ask a lead, or an administrator".to_owned(),
        _ => "see `journalctl -u canh-correlator`".to_owned(),
    };
    let what = format!("{number}: {}", word(outcome.outcome));
    let failure = Failure::new(exit, what).hint(hint);
    Some(match &outcome.message {
        Some(message) => failure.why(message),
        None => failure,
    })
}

/// All well: 0. None well: what kept the first one. Some well: partly done.
fn exit(exits: impl Iterator<Item = Exit>) -> Exit {
    let (well, bad): (Vec<Exit>, Vec<Exit>) = exits.partition(|exit| *exit == Exit::Done);
    match bad.first() {
        None => Exit::Done,
        Some(first) if well.is_empty() => *first,
        Some(_) => Exit::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(kinds: &[OutcomeKind]) -> Vec<ActionOutcome> {
        let outcome = |outcome| ActionOutcome {
            number: "INC-26-000017".parse().unwrap(),
            outcome,
            version: Some(3),
            state: Some(canh_incident::IncidentState::Acknowledged),
            message: Some("=bad\x1b[2J".to_owned()),
        };
        kinds.iter().copied().map(outcome).collect()
    }

    #[test]
    fn exit_says_whether_all_some_or_none_went_well() {
        use OutcomeKind::{Conflict, Denied, Done, Failed, Illegal, Invalid, NotFound, Unchanged};
        for (kinds, code) in [
            (&[Done, Unchanged][..], 0),
            (&[Failed], 1),
            (&[Invalid], 2),
            (&[NotFound, Illegal], 3),
            (&[Denied], 4),
            (&[Conflict], 5),
            (&[Illegal], 5),
            (&[Done, NotFound], 7),
        ] {
            assert_eq!(exit(kinds.iter().map(|kind| exit_of(*kind))).code(), code, "{kinds:?}");
        }
    }

    #[test]
    fn every_format_is_free_of_hostile_text() {
        let view = View::plain_utc();
        let outcomes = outcomes(&[OutcomeKind::Done, OutcomeKind::Illegal]);
        for format in [Format::Table, Format::Tsv, Format::Csv, Format::Json, Format::Ndjson, Format::Ids] {
            let shown = render(&outcomes, format, &view).unwrap();
            assert!(!shown.contains('\x1b'), "{format:?}: {shown:?}");
            assert!(!shown.contains(",=bad"), "{format:?}: {shown:?}");
        }
        assert_eq!(render(&outcomes, Format::Ids, &view).unwrap(), "INC-26-000017\n");
        assert_eq!(
            render(&outcomes, Format::Table, &view).unwrap(),
            "ID             OUTCOME  STATE         VERSION\n\
             INC-26-000017  done     acknowledged  3\n\
             INC-26-000017  illegal  acknowledged  3\n"
        );
    }
}
