//! What the collector is told by its configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_journal::{Compression, Retention};
use canh_service::config::{ConfigFaults, Key, Kind, Schema, Settings};

use crate::quota::{QuotaLimits, Rate};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DAY: u64 = 86_400;
const HOUR: Duration = Duration::from_secs(3_600);
const CENTURY: Duration = Duration::from_secs(36_500 * 24 * 3_600);

/// Most threads that make events of records.
const MAX_THREADS: i64 = 64;

const KEYS: &[Key] = &[
    Key::with_default(
        "state_dir",
        Kind::Path,
        "/var/lib/canh/collector",
        "Where the journal and the collector's place in it are kept. Made if it is not there.",
    ),
    Key::with_default("listen.address", Kind::Address, "0.0.0.0:7600", "Where agents connect, over TLS 1.3."),
    Key::optional(
        "listen.ca",
        Kind::ExistingFile,
        "/etc/canh/tls/ca.pem",
        "CAs whose certificates are let in beside those of `identity.dir`; several while one replaces the other.",
    )
    .reloadable(),
    Key::optional(
        "listen.certificate",
        Kind::ExistingFile,
        "/etc/canh/tls/collector.pem",
        "The collector's own certificate. Without it: the one in `identity.dir`, which renews itself.",
    )
    .reloadable(),
    Key::optional(
        "listen.key",
        Kind::SecretFile,
        "/etc/canh/tls/collector.key",
        "The key of the certificate in `listen.certificate`.",
    )
    .reloadable(),
    Key::optional(
        "identity.dir",
        Kind::Path,
        "/var/lib/canh/collector/identity",
        "Where the CA, tokens, agents and revocations are kept. Without it: `identity` in `state_dir`.",
    ),
    Key::with_default(
        "identity.certificate_life",
        Kind::Duration { min: Duration::from_secs(10), max: Duration::from_secs(365 * DAY) },
        "7d",
        "How long certificates of agents hold. Agents renew theirs after two thirds of it, while connected.",
    ),
    Key::with_default(
        "journal.max_bytes",
        Kind::Bytes { min: 64 * MIB, max: 64 * TIB },
        "20GiB",
        "How long the journal may grow before its oldest segments are dropped. Hunting and replay reach as far back.",
    ),
    Key::with_default(
        "journal.segment_bytes",
        Kind::Bytes { min: MIB, max: GIB },
        "64MiB",
        "Length of one segment, which is the least that is dropped at once.",
    ),
    Key::with_default(
        "journal.max_age",
        Kind::Duration { min: HOUR, max: CENTURY },
        "3650d",
        "How old the journal's records may become before their segments are dropped, counted from when they were stored.",
    ),
    Key::with_default(
        "journal.compression_level",
        Kind::Integer { min: 0, max: 19 },
        "3",
        "zstd level at which segments are compressed once they are full, beside the work; 0 leaves them as they are.",
    )
    .unit("level"),
    Key::with_default(
        "losses.max_bytes",
        Kind::Bytes { min: 16 * MIB, max: TIB },
        "256MiB",
        "How long the journal of losses may grow, which `canh loss` reads: a copy of every gap and account, kept \
         longer than the events around them.",
    ),
    Key::with_default(
        "normalise.threads",
        Kind::Integer { min: 0, max: MAX_THREADS },
        "0",
        "Threads that make events of records; 0 is one for each processor. A stream always stays on one thread.",
    )
    .unit("threads"),
    Key::with_default(
        "limits.connections",
        Kind::Integer { min: 1, max: 1_000_000 },
        "8192",
        "Agents connected at a time. One past it is told to come back later.",
    )
    .unit("connections"),
    Key::with_default(
        "limits.connections_per_agent",
        Kind::Integer { min: 1, max: 64 },
        "4",
        "Connections of one certificate's name at a time: its log and its flow agent, and one of each that has lost its line.",
    )
    .unit("connections"),
    Key::with_default(
        "limits.handshakes",
        Kind::Integer { min: 1, max: 65_536 },
        "512",
        "Connections that have not shown a certificate yet; more wait to be accepted.",
    )
    .unit("connections"),
    Key::with_default(
        "limits.enrolments",
        Kind::Integer { min: 1, max: 64 },
        "4",
        "Certificates made at a time. A host past it is told to come back, an agent waits.",
    )
    .unit("certificates"),
    Key::with_default(
        "limits.window",
        Kind::Bytes { min: 64 * KIB, max: 64 * MIB },
        "4MiB",
        "Unpacked bytes that one connection may have under way unacknowledged.",
    ),
    Key::with_default(
        "limits.memory",
        Kind::Bytes { min: 64 * MIB, max: TIB },
        "256MiB",
        "Memory for batches under way, all connections together. Without room, connections are not read from.",
    ),
    Key::with_default(
        "limits.idle_timeout",
        Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(3_600) },
        "90s",
        "How long an agent may be silent before the collector hangs up; agents are told to ping three times as often.",
    ),
    Key::with_default(
        "quota.agent_bytes",
        Kind::Bytes { min: 0, max: TIB },
        "8MiB",
        "Unpacked bytes a second that one agent may send in the long run; 0 is no limit. Past it the agent is given no \
         credit, and its records wait in its spool.",
    )
    .unit("bytes a second"),
    Key::with_default(
        "quota.agent_records",
        Kind::Integer { min: 0, max: 1_000_000_000 },
        "20000",
        "Records a second that one agent may send in the long run; 0 is no limit. A busy server writes some hundreds.",
    )
    .unit("records a second"),
    Key::with_default(
        "quota.agency_bytes",
        Kind::Bytes { min: 0, max: TIB },
        "32MiB",
        "Unpacked bytes a second that all agents of one agency may send together in the long run; 0 is no limit.",
    )
    .unit("bytes a second"),
    Key::with_default(
        "quota.agency_records",
        Kind::Integer { min: 0, max: 1_000_000_000 },
        "80000",
        "Records a second that all agents of one agency may send together in the long run; 0 is no limit.",
    )
    .unit("records a second"),
    Key::with_default(
        "quota.burst",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(86_400) },
        "1h",
        "How long a sender's rate may have been saved up: after an outage an agent sends so much of its backlog as \
         fast as it can.",
    ),
    Key::with_default(
        "stop.deadline",
        Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(300) },
        "10s",
        "How long a stop may take to finish and acknowledge what is under way.",
    ),
    Key::with_default("metrics.address", Kind::Address, "127.0.0.1:9601", "Where Prometheus reads metrics."),
];

/// The table of keys.
pub(crate) const SCHEMA: Schema = Schema::new("canh-collector", KEYS);

/// The files of a TLS end that do not come from the folder of the CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// What everything is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_agent: usize,
    pub(crate) handshakes: usize,
    pub(crate) enrolments: usize,
    pub(crate) window_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) idle_timeout: Duration,
}

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) state_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) tls: TlsFiles,
    pub(crate) identity_dir: PathBuf,
    pub(crate) certificate_life: Duration,
    pub(crate) retention: Retention,
    pub(crate) compression: Compression,
    pub(crate) segment_bytes: u64,
    pub(crate) losses_max_bytes: u64,
    pub(crate) quotas: QuotaLimits,
    pub(crate) threads: usize,
    pub(crate) limits: Limits,
    pub(crate) stop_deadline: Duration,
    pub(crate) metrics: SocketAddr,
}

impl Config {
    /// Takes the values out of checked settings, and holds them against each other.
    ///
    /// # Errors
    /// [`ConfigFaults`], all at once.
    pub(crate) fn new(path: &Path, settings: &Settings) -> Result<Self, ConfigFaults> {
        let path_if_set = |key: &str| settings.has(key).then(|| settings.path(key).to_owned());
        let tls = TlsFiles {
            ca: path_if_set("listen.ca"),
            certificate: path_if_set("listen.certificate"),
            key: path_if_set("listen.key"),
        };
        let limits = Limits {
            connections: settings.count("limits.connections"),
            connections_per_agent: settings.count("limits.connections_per_agent"),
            handshakes: settings.count("limits.handshakes"),
            enrolments: settings.count("limits.enrolments"),
            window_bytes: settings.bytes("limits.window"),
            memory_bytes: settings.bytes("limits.memory"),
            idle_timeout: settings.duration("limits.idle_timeout"),
        };
        let config = Self {
            state_dir: settings.path("state_dir").to_owned(),
            listen: settings.address("listen.address"),
            tls,
            identity_dir: path_if_set("identity.dir").unwrap_or_else(|| settings.path("state_dir").join("identity")),
            certificate_life: settings.duration("identity.certificate_life"),
            retention: Retention {
                max_bytes: Some(settings.bytes("journal.max_bytes")),
                max_age: Some(settings.duration("journal.max_age")),
            },
            compression: match i32::try_from(settings.integer("journal.compression_level")) {
                Ok(level) if level > 0 => Compression::Zstd { level },
                _ => Compression::None,
            },
            segment_bytes: settings.bytes("journal.segment_bytes"),
            losses_max_bytes: settings.bytes("losses.max_bytes"),
            quotas: QuotaLimits {
                agent: rate(settings, "quota.agent_bytes", "quota.agent_records"),
                agency: rate(settings, "quota.agency_bytes", "quota.agency_records"),
                burst: settings.duration("quota.burst"),
            },
            threads: settings.count("normalise.threads"),
            limits,
            stop_deadline: settings.duration("stop.deadline"),
            metrics: settings.address("metrics.address"),
        };
        let mut faults = Vec::new();
        if settings.bytes("journal.max_bytes") < 2 * config.segment_bytes {
            let problem = "must hold at least two segments: raise it, or lower journal.segment_bytes";
            faults.push(settings.fault("journal.max_bytes", problem));
        }
        if config.limits.memory_bytes < 4 * config.limits.window_bytes {
            let problem = "must be at least four times limits.window: raise it, or lower limits.window";
            faults.push(settings.fault("limits.memory", problem));
        }
        if config.tls.certificate.is_some() != config.tls.key.is_some() {
            let problem = "and listen.key belong together: name both, or neither";
            faults.push(settings.fault("listen.certificate", problem));
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigFaults::new(path, faults)) }
    }

    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigFaults`], all at once.
    pub(crate) fn load(path: &Path) -> Result<(Self, Settings), ConfigFaults> {
        let settings = SCHEMA.load(path)?;
        Ok((Self::new(path, &settings)?, settings))
    }

    /// Returns where the journal is.
    pub(crate) fn journal_dir(&self) -> PathBuf {
        self.state_dir.join("journal")
    }
}

fn rate(settings: &Settings, bytes: &str, records: &str) -> Rate {
    Rate { bytes_per_second: settings.bytes(bytes), records_per_second: settings.count(records) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn faults_of(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| dir.path().join(name));
        for file in [&ca, &certificate, &key] {
            std::fs::write(file, "").unwrap();
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let tls = format!("ca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n");
        let text = text.replace("[listen]\n", &format!("[listen]\n{tls}"));
        let result = SCHEMA.parse(&path, &text).and_then(|settings| Config::new(&path, &settings));
        result.map_or_else(|faults| faults.to_string(), |_| String::new())
    }

    #[test]
    fn reference_page_and_example_are_in_step() {
        let stale = SCHEMA.stale_files(&workspace()).unwrap();
        assert!(stale.is_empty(), "run the tests with UPDATE_GOLDEN=1 to write {stale:?}");
    }

    #[test]
    fn defaults_fit_each_other() {
        assert_eq!(faults_of("[listen]\n"), "");
    }

    #[test]
    fn values_that_do_not_fit_each_other_are_refused_together() {
        let faults = faults_of(
            "[listen]\n[journal]\nmax_bytes = \"64MiB\"\nsegment_bytes = \"64MiB\"\n\
             [limits]\nwindow = \"64MiB\"\nmemory = \"64MiB\"\n",
        );
        assert!(faults.contains("journal.max_bytes") && faults.contains("limits.memory"), "{faults}");
    }
}
