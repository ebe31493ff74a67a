//! The words of `canh eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::rules::verbs::PlaceholderFile;

/// What `canh eval --help` says after the flags.
pub(crate) const EVAL_EXAMPLES: &str = "\
A hit is one line: {\"rule\":{\"id\",\"title\",\"level\"},\"event\":{\"file\",\"index\",...}}. `index` is the line of
the file or the record of the event log, counted from 0; `record` is an event log's EventRecordID, `time`
the event's own time as it stands there. Hits come in the order of the input.

Examples:
  canh eval -r rules/ Security.evtx Sysmon.evtx         hits in two event logs
  canh eval -r rules/ --count-only -o table *.ndjson    which rules fire, and how often
  journalctl -o json -f | canh eval -r rules/ --no-routing -

Exit codes: 0 done, 1 no file could be read, 2 wrong usage or no rules, 7 a file could not be read.";

/// Rules, and files of events.
#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    /// Rule folders or files; may be given several times
    #[arg(short = 'r', long = "rules", value_name = "RULES", required = true)]
    pub(crate) rules: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: PlaceholderFile,
    /// What the files are
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: FileFormat,
    /// How many threads match [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Say on stderr how much was read and how fast, as one JSON object
    #[arg(long)]
    pub(crate) stats: bool,
    /// Only count the hits of each rule
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Lay every rule against every event, whatever the logsource
    #[arg(long)]
    pub(crate) no_routing: bool,
    /// Files of events, packed with zstd or not; `-` is stdin
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// What a file of events is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// Each file is what it looks like
    Auto,
    /// One JSON object a line, flat or nested
    Ndjson,
    /// A Windows event log
    Evtx,
}
