//! What the correlator is told by its configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_correlate::Limits;
use canh_service::config::{ConfigFaults, Key, Kind, Schema, Settings};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: Duration = Duration::from_secs(86_400);

/// Most threads that match rules.
const MAX_THREADS: i64 = 64;

const KEYS: &[Key] = &[
    Key::with_default(
        "state_dir",
        Kind::Path,
        "/var/lib/canh/correlator",
        "Where the incident ledger, its view and the correlator's snapshot are kept. Made if it is not there.",
    ),
    Key::with_default(
        "journal.dir",
        Kind::Path,
        "/var/lib/canh/collector/journal",
        "The collector's journal. It is only read; until it is there the correlator waits for it.",
    ),
    Key::with_default(
        "rules.paths",
        Kind::List(&Kind::Path),
        "[\"/usr/share/canh/rules\", \"/etc/canh/rules\"]",
        "Folders and files of Sigma rules. A path that is not there is said and passed over.",
    )
    .reloadable(),
    Key::with_default(
        "match.threads",
        Kind::Integer { min: 0, max: MAX_THREADS },
        "1",
        "Threads that match rules; 0 is one for each processor. The incidents are the same for any number.",
    )
    .unit("threads"),
    Key::with_default(
        "correlate.lateness",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        "5m",
        "How far behind the newest event of its own source an event may be and still be correlated.",
    ),
    Key::with_default(
        "correlate.max_ahead",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        "5m",
        "How far ahead of the moment it was read an event may say it is; past that the moment it was read stands in.",
    ),
    Key::with_default(
        "correlate.repeat_span",
        Kind::Duration { min: Duration::from_secs(1), max: DAY },
        "10m",
        "Repetitions of a detection rule about the same things are one detection while no longer than this apart.",
    ),
    Key::with_default(
        "correlate.groups_per_rule",
        Kind::Integer { min: 1, max: 100_000_000 },
        "1000000",
        "Groups one rule may hold; past it the rule's oldest group is dropped and counted.",
    )
    .unit("groups"),
    Key::with_default(
        "correlate.values_per_group",
        Kind::Integer { min: 1, max: 10_000_000 },
        "65536",
        "Distinct values counted in one group; past it the oldest value goes.",
    )
    .unit("values"),
    Key::with_default(
        "correlate.memory",
        Kind::Bytes { min: MIB, max: 64 * GIB },
        "256MiB",
        "Memory for the groups of all rules together, roughly; past it the growing rule's oldest group goes.",
    ),
    Key::with_default(
        "correlate.evidence_memory",
        Kind::Bytes { min: 0, max: 4 * GIB },
        "8MiB",
        "Memory for recent events that may become evidence; a snapshot holds them too.",
    ),
    Key::with_default(
        "snapshot.every_records",
        Kind::Integer { min: 1, max: 10_000_000 },
        "20000",
        "Journal records after which the state is saved: a restart reads at most so many again.",
    )
    .unit("journal records"),
    Key::with_default(
        "snapshot.every",
        Kind::Duration { min: Duration::from_secs(1), max: DAY },
        "1m",
        "Time after which the state is saved if anything was read since.",
    ),
    Key::with_default(
        "api.socket",
        Kind::Path,
        "/run/canh/correlator.sock",
        "The Unix socket analysts use, mode 0660. Whoever may open it may work incidents.",
    ),
    Key::optional(
        "api.group",
        Kind::Label,
        "canh",
        "The group that may use the socket; the daemon's user has to be a member. Without it the daemon's own group.",
    ),
    Key::with_default("metrics.address", Kind::Address, "127.0.0.1:9602", "Where Prometheus reads metrics."),
];

/// The table of keys.
pub(crate) const SCHEMA: Schema = Schema::new("canh-correlator", KEYS);

/// When the state is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotPolicy {
    pub(crate) every_records: u64,
    pub(crate) every: Duration,
}

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) state_dir: PathBuf,
    pub(crate) journal_dir: PathBuf,
    pub(crate) rules: Vec<PathBuf>,
    pub(crate) threads: usize,
    /// The secret of the group hashes is drawn later, it is no configuration.
    pub(crate) limits: Limits,
    pub(crate) snapshot: SnapshotPolicy,
    pub(crate) socket: PathBuf,
    pub(crate) group: Option<String>,
    pub(crate) metrics: SocketAddr,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigFaults`], all at once.
    pub(crate) fn load(path: &Path) -> Result<(Self, Settings), ConfigFaults> {
        let settings = SCHEMA.load(path)?;
        Ok((Self::new(path, &settings)?, settings))
    }

    fn new(path: &Path, settings: &Settings) -> Result<Self, ConfigFaults> {
        let bytes = |key| usize::try_from(settings.bytes(key)).unwrap_or(usize::MAX);
        let limits = Limits {
            lateness: settings.duration("correlate.lateness"),
            max_ahead: settings.duration("correlate.max_ahead"),
            repeat_span: settings.duration("correlate.repeat_span"),
            groups_per_rule: settings.count("correlate.groups_per_rule"),
            values_per_group: settings.count("correlate.values_per_group"),
            state_bytes: bytes("correlate.memory"),
            evidence_bytes: bytes("correlate.evidence_memory"),
            ..Limits::default()
        };
        let config = Self {
            state_dir: settings.path("state_dir").to_owned(),
            journal_dir: settings.path("journal.dir").to_owned(),
            rules: settings.paths("rules.paths").into_iter().map(Path::to_owned).collect(),
            threads: threads(settings.count("match.threads")),
            limits,
            snapshot: SnapshotPolicy {
                every_records: u64::try_from(settings.count("snapshot.every_records")).unwrap_or(u64::MAX),
                every: settings.duration("snapshot.every"),
            },
            socket: settings.path("api.socket").to_owned(),
            group: settings.has("api.group").then(|| settings.text("api.group").to_owned()),
            metrics: settings.address("metrics.address"),
        };
        let mut faults = Vec::new();
        if config.rules.is_empty() {
            faults.push(settings.fault("rules.paths", "must name at least one folder: without rules nothing is found"));
        }
        if config.state_dir.starts_with(&config.journal_dir) {
            faults.push(settings.fault("state_dir", "must not be inside journal.dir, which belongs to the collector"));
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigFaults::new(path, faults)) }
    }
}

fn threads(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigFaults> {
        let path = Path::new("correlator.toml");
        SCHEMA.parse(path, text).and_then(|settings| Config::new(path, &settings))
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        let config = read("").unwrap();
        assert_eq!((config.threads, config.group, config.limits), (1, None, Limits::default()));
        assert_eq!(config.snapshot.every, Duration::from_secs(60));
    }

    #[test]
    fn the_shipped_example_is_read() {
        assert!(read(&SCHEMA.example_toml()).is_ok());
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let faults = read("state_dir = 7\nstat_dir = \"/x\"\n[match]\nthreads = -1\n").unwrap_err().to_string();
        for part in ["state_dir", "stat_dir", "match.threads"] {
            assert!(faults.contains(part), "{faults}");
        }
        let faults = read("state_dir = \"/j/x\"\n[journal]\ndir = \"/j\"\n[rules]\npaths = []\n").unwrap_err();
        assert_eq!(faults.faults().len(), 2, "{faults}");
    }

    #[test]
    fn reference_page_and_example_are_in_step() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let stale = SCHEMA.stale_files(&root).unwrap();
        assert!(stale.is_empty(), "{stale:?} differ from the table of keys; UPDATE_GOLDEN=1 writes them");
    }
}
