//! The words of `canh rules`: its verbs and their arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  canh rules explain ssh.yml 'Nov 24 10:07:03 web-01 sshd[812]: Failed password for root ...' --format syslog
  canh rules explain 8e0bb260 event.json -r /usr/share/canh/rules
  tail -1 events.ndjson | canh rules explain rule.yml -";

const TEST_EXAMPLES: &str = "\
A case is a folder with case.toml, input.FORMAT and expected.ndjson, as test-corpus/README.md describes:
the rules must raise what expected.ndjson says and nothing else.
Exit codes: 0 all cases hold, 3 a case does not hold or a rule is refused.";

/// What can be done with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesVerb {
    /// Load rules and say which are refused, where and why
    Check(RuleFolders),
    /// List rules: the correlator's, or those in folders
    #[command(visible_alias = "ls")]
    List {
        /// Folders or files; without any, the running correlator is asked
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Show one rule
    Show {
        /// Its id, its name, or the beginning of its id
        rule: String,
        /// Folders or files; without any, the running correlator is asked
        #[arg(short = 'r', long = "rules", value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Say step by step why a rule fits an event or does not
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArguments),
    /// Run the cases kept beside rules
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArguments),
    /// Count rules by ATT&CK tactic; with `-o navigator`, write a layer for the ATT&CK Navigator
    Coverage(RuleFolders),
    /// List rules that nothing can feed, and what is missing
    Armed(ArmedArguments),
}

/// Rules in folders.
#[derive(Debug, Args)]
pub(crate) struct RuleFolders {
    /// Folders or files
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: PlaceholderFile,
}

/// Values of placeholders.
#[derive(Debug, Args)]
pub(crate) struct PlaceholderFile {
    /// Values for `%placeholders%` of `expand`: a YAML map of names to values
    #[arg(long, value_name = "FILE")]
    pub(crate) placeholders: Option<PathBuf>,
}

/// One rule and one event.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A rule file, or with -r a rule's id, name or the beginning of its id
    #[arg(value_name = "RULE")]
    pub(crate) rule: String,
    /// A file that holds the event, `-` for stdin, or the log line itself
    #[arg(value_name = "EVENT")]
    pub(crate) event: String,
    /// Folders or files: where ids are looked up, and filters come from
    #[arg(short = 'r', long = "rules", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: PlaceholderFile,
    /// How the event is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: EventFormat,
    /// Which line of the file is the event
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) line: Option<u32>,
    /// What the log is called; a web server's name is told by it
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Leave the logsource out of account
    #[arg(long)]
    pub(crate) no_routing: bool,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// JSON, syslog or access log, whichever it looks like
    Auto,
    /// A line of syslog
    Syslog,
    /// A line of a web server's access log
    Access,
    /// A flow record, as the flow agent writes it
    Flow,
    /// A JSON object
    Json,
    /// A line of any text
    Raw,
}

/// Rules and their cases.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Folders or files with rules
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// The folder of case folders [default: the folder `tests` within each PATH]
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: PlaceholderFile,
}

/// Rules and what feeds them.
#[derive(Debug, Args)]
pub(crate) struct ArmedArguments {
    #[command(flatten)]
    pub(crate) rules: RuleFolders,
    /// What is fed, as TOML [default: what Canh's own parsers make]
    #[arg(long, value_name = "FILE")]
    pub(crate) sources: Option<PathBuf>,
    /// List rules of which only a part can work, too
    #[arg(long)]
    pub(crate) partial: bool,
}

impl EventFormat {
    /// Returns the word a source is described with.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Syslog => "syslog",
            Self::Access => "access",
            Self::Flow => "flow",
            Self::Json => "json",
            Self::Raw => "raw",
        }
    }
}
