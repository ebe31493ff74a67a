//! The command line: nouns, verbs and flags, as `canh --help` shows them.
//!
//! Words that name incidents or ask for some are taken here as they are; `targets.rs` and
//! `query.rs` make sense of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use canh_incident::Verdict;

use crate::eval::arguments::{EVAL_EXAMPLES, EvalArguments};
use crate::loss::arguments::{LOSS_EXAMPLES, LossArguments};
use crate::rules::verbs::RulesVerb;
use crate::style::ColorChoice;

const EXAMPLES: &str = "\
Examples:
  canh ls 'sev>=high' owner=none        open incidents from high up that nobody has
  canh show 17                          one incident: why, what, evidence
  canh ls -o ids rule=ssh-* | canh ack - -m 'on it'";

const EXITS: &str = "\
Exit codes: 0 done, 1 internal error, 2 wrong usage, 3 not found (or findings about rules), 4 not allowed,
5 conflict or step the life cycle does not allow, 6 daemon unreachable (try again), 7 partly done,
8 something does not add up, 130 interrupted. A reader that goes away (`| head`) is no error.";

const QUERY_HELP: &str = "\
QUERY words, all of which must hold:
  state=new,ack,investigating,contained,closed (comma: or)   state=open   state=all
  sev>=high   owner=NAME|me|none   agency=NAME   rule=ID   rule=ssh-*
  ip=10.0.0.7   user=root   host=web-01      something the incident is about
Without a state word or --all, closed incidents are left out.";

const TARGETS_HELP: &str = "\
INCIDENT is INC-26-000017, 17 for short, `-` for ids from stdin, or QUERY words
(see `canh list --help`). More than 20 at once are asked about first, or need --yes.";

/// Works the incidents of a Canh correlator from a terminal.
#[derive(Debug, Parser)]
#[command(name = "canh", version, before_help = EXAMPLES, after_help = EXITS, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The correlator's Unix socket; CANH_SOCKET says it for all commands of a shell
    /// [default: /run/canh/correlator.sock]
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(crate) server: Option<PathBuf>,
    /// How the answer is written [default: table on a terminal, tsv into a pipe]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// Time zone of what people read: local, utc or a name such as Asia/Ho_Chi_Minh
    #[arg(long, global = true, value_name = "ZONE", default_value = "local")]
    pub(crate) tz: String,
    /// How long to wait for the correlator, e.g. 10s, 500ms, 1m
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_span)]
    pub(crate) timeout: Duration,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Do not ask before touching many incidents
    #[arg(long, global = true)]
    pub(crate) yes: bool,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people, or one incident as a page.
    Table,
    /// Tab-separated, no heading, no colour.
    Tsv,
    /// One JSON document.
    // A Navigator layer is the JSON of `rules coverage`; the word is taken everywhere so that it works there.
    #[value(alias = "navigator")]
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated with a heading; cells that a spreadsheet would run are disarmed.
    Csv,
    /// One id a line.
    Ids,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Incidents: list, show, ack, assign, comment, state, close, reopen
    #[command(subcommand, visible_alias = "inc")]
    Incident(Verb),
    #[command(flatten)]
    Short(Verb),
    /// How the correlator is doing
    Status,
    /// Rules: check, list, show, explain, test, coverage, armed
    #[command(subcommand, visible_alias = "rule")]
    Rules(RulesVerb),
    /// Every loss accounted for: produced = journalled + spooled + dropped, and each gap
    #[command(after_help = LOSS_EXAMPLES)]
    Loss(LossArguments),
    /// Match rules against files of events, without a correlator
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(EvalArguments),
}

/// What can be done with incidents; each also works without the word `incident` before it.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List incidents, newest first
    #[command(visible_alias = "ls", after_help = QUERY_HELP)]
    List(ListArguments),
    /// Show incidents in full: why each was opened, what happened to it, its evidence
    #[command(after_help = TARGETS_HELP)]
    Show(ShowArguments),
    /// Acknowledge: somebody is looking
    #[command(after_help = TARGETS_HELP)]
    Ack {
        #[command(flatten)]
        targets: Targets,
        #[command(flatten)]
        note: Note,
    },
    /// Give to somebody, take, or put back
    #[command(after_help = TARGETS_HELP)]
    Assign {
        #[command(flatten)]
        targets: Targets,
        /// A user's name, `me` or `none`
        #[arg(long, value_name = "USER")]
        to: String,
        #[command(flatten)]
        note: Note,
    },
    /// Move on: investigating or contained
    #[command(after_help = TARGETS_HELP)]
    State {
        #[command(flatten)]
        targets: Targets,
        /// The state to move to
        #[arg(value_enum)]
        state: Step,
        #[command(flatten)]
        note: Note,
    },
    /// Write into the record
    #[command(after_help = TARGETS_HELP)]
    Comment {
        #[command(flatten)]
        targets: Targets,
        #[command(flatten)]
        text: CommentText,
    },
    /// Close with a verdict and the reason for it
    #[command(after_help = TARGETS_HELP)]
    Close {
        #[command(flatten)]
        targets: Targets,
        /// tp (an attack), btp (it happened and was meant to), fp (it did not happen), dup, test or undetermined
        #[arg(long)]
        verdict: Verdict,
        /// Why
        #[arg(short, long, value_name = "NOTE")]
        message: String,
    },
    /// Take up again
    #[command(after_help = TARGETS_HELP)]
    Reopen {
        #[command(flatten)]
        targets: Targets,
        /// Why
        #[arg(short, long, value_name = "REASON")]
        message: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Words such as `state=new`, `sev>=high`, `owner=me`
    #[arg(value_name = "QUERY")]
    pub(crate) query: Vec<String>,
    /// Only mine
    #[arg(long, conflicts_with = "unassigned")]
    pub(crate) mine: bool,
    /// Only what nobody has
    #[arg(long)]
    pub(crate) unassigned: bool,
    /// Closed ones too
    #[arg(long)]
    pub(crate) all: bool,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Only how many there are
    #[arg(long)]
    pub(crate) count: bool,
    /// Exit 3 if there is none
    #[arg(long)]
    pub(crate) fail_empty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// At most so many pieces of evidence
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) events: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Ids, `-` or QUERY words
    #[arg(value_name = "INCIDENT", required = true, num_args = 1..)]
    pub(crate) words: Vec<String>,
    /// Only if the incident still has this version (see `show`)
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Note {
    /// A note for the record
    #[arg(short, long, value_name = "NOTE")]
    pub(crate) message: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CommentText {
    /// The comment
    #[arg(short, long, value_name = "NOTE")]
    pub(crate) message: Option<String>,
    /// A file that holds the comment
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// A state an analyst moves an incident to with `canh state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Work has begun.
    Investigating,
    /// It does no more harm.
    Contained,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let refused = || "a time is a number and ms, s or m, from 1ms to 60m".to_owned();
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let count: u64 = digits.parse().map_err(|_| refused())?;
    let millis = match unit {
        "ms" => Some(count),
        "s" | "" => count.checked_mul(1_000),
        "m" => count.checked_mul(60_000),
        _ => None,
    };
    millis.filter(|millis| (1..=3_600_000).contains(millis)).map(Duration::from_millis).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn verbs_work_with_and_without_their_noun() {
        for words in [
            &["canh", "incident", "list"][..],
            &["canh", "inc", "ls", "sev>=high"],
            &["canh", "ls", "-o", "json"],
            &["canh", "show", "17"],
            &["canh", "ack", "1", "2", "-"],
            &["canh", "assign", "1", "--to", "lan"],
            &["canh", "state", "1", "2", "investigating"],
            &["canh", "comment", "1", "-m", "x"],
            &["canh", "close", "1", "--verdict", "fp", "-m", "x"],
            &["canh", "reopen", "1", "-m", "x"],
            &["canh", "status", "--tz", "utc"],
            &["canh", "loss", "--agent", "web-01", "--since", "24h", "-o", "csv"],
            &["canh", "rules", "check", "a", "b"],
        ] {
            Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }

    #[test]
    fn words_that_lack_something_are_refused() {
        for words in [
            &["canh"][..],
            &["canh", "ack"],
            &["canh", "close", "1", "-m", "x"],
            &["canh", "close", "1", "--verdict", "maybe", "-m", "x"],
            &["canh", "reopen", "1"],
            &["canh", "comment", "1"],
            &["canh", "state", "1", "closed"],
            &["canh", "ls", "--timeout", "0s"],
            &["canh", "loss", "--since", "soon"],
            &["canh", "loss", "--agent", "../x"],
            &["canh", "frobnicate"],
        ] {
            assert!(Arguments::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
