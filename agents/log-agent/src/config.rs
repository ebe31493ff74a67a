//! The agent's configuration: the table of keys, and what the rest of the agent is made with.

use std::path::Path;
use std::time::Duration;

use canh_service::config::{ConfigFault, ConfigFaults, Key, Kind, Schema, Settings, joined};
use canh_ship::{BatchLimits, Priority, SHIP_KEY_COUNT, ShipKeyTexts, batch_limits, ship_keys};

use crate::glob::Glob;
use crate::room::TailLimits;
use crate::watch::FileSpec;

const FORMATS: &[&str] = &["auto", "syslog", "json", "access", "raw"];

/// No place on Earth is further from UTC than 14 hours.
const MAX_OFFSET_MINUTES: i32 = 14 * 60;

/// Longest host name a record carries, in bytes.
const MAX_HOST_BYTES: usize = 255;

const FILE_KEYS: &[Key] = &[
    Key::required(
        "path",
        Kind::Text,
        "/var/log/auth.log",
        "An absolute path. `*` stands for any characters of a name and `?` for one; compressed files are left out then. \
         Name the live file of a log that is rotated by copytruncate, not its copies: they would be read as files of their own.",
    ),
    Key::with_default(
        "format",
        Kind::Choice(FORMATS),
        "auto",
        "How its lines are written; `auto` is told from each line.",
    ),
    Key::optional(
        "utc_offset",
        Kind::Text,
        "+07:00",
        "The zone of times that state none. Without it: the zone of this host.",
    ),
    Key::with_default(
        "priority",
        Kind::Choice(Priority::WORDS),
        "normal",
        "How much its lines matter when the spool is full: those of `low` are dropped first, oldest first, and show as a \
         gap; then ship.when_full says what happens, to `high` last.",
    ),
    Key::with_default(
        "start",
        Kind::Choice(&["beginning", "end"]),
        "beginning",
        "Where a file is begun that is there when the agent runs for the first time. Later files are always read whole.",
    ),
];

const OWN_KEYS: &[Key] = &[
    Key::with_default(
        "metrics.address",
        Kind::Address,
        "127.0.0.1:9604",
        "Where metrics are served. They hold no log content, but belong on loopback or a management network.",
    ),
    Key::optional("host.name", Kind::Text, "web-01", "This host's name in records. Without it: what the kernel says."),
    Key::with_default(
        "tail.rotated_wait",
        Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(24 * 3_600) },
        "60s",
        "How long a rotated file is read on after its last growth, since its writer may not have noticed. \
         A deleted one is let go after 5s at most.",
    ),
    Key::with_default(
        "tail.max_open_files",
        Kind::Integer { min: 1, max: 1_000_000 },
        "4096",
        "Files held open. Past it, files that are read to their end are closed until they grow.",
    )
    .unit("files"),
    Key::with_default(
        "tail.max_files",
        Kind::Integer { min: 1, max: 1_000_000 },
        "10000",
        "Paths watched at a time; more are counted and left out.",
    )
    .unit("files"),
    Key::required("file", Kind::Tables(FILE_KEYS), "", "Files to read. Where several match, the first counts.")
        .reloadable(),
];

const KEYS: &[Key] = &joined::<{ OWN_KEYS.len() + SHIP_KEY_COUNT }>(
    OWN_KEYS,
    &ship_keys(ShipKeyTexts {
        spool_dir: "/var/lib/canh/log-agent/spool",
        when_full: "Room the spool may take. When it is full, lines of low priority are dropped, and then ship.when_full \
                    says whether the agent waits, with the log files themselves as the buffer.",
        when_full_default: "wait",
        ca: "/var/lib/canh/log-agent/identity/ca.pem",
        certificate: "/var/lib/canh/log-agent/identity/agent.pem",
        key: "/var/lib/canh/log-agent/identity/agent.pem",
    }),
);

/// The table of keys.
pub(crate) const SCHEMA: Schema = Schema::new("canh-log-agent", KEYS);

/// What the agent is made with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The values as they were checked, for what hands them on.
    pub(crate) settings: Settings,
    pub(crate) specs: Vec<FileSpec>,
    pub(crate) batch: BatchLimits,
    pub(crate) tail: TailLimits,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Every fault of the file.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigFaults> {
        Self::check(path, SCHEMA.load(path)?)
    }

    /// Checks what the table of keys cannot say.
    fn check(path: &Path, settings: Settings) -> Result<Self, ConfigFaults> {
        let mut faults = Vec::new();
        let mut specs = Vec::new();
        for table in settings.tables("file") {
            match file_spec(table) {
                Ok(spec) => specs.push(spec),
                Err(found) => faults.extend(found),
            }
        }
        if settings.list("ship.collectors").is_empty() {
            faults.push(settings.fault("ship.collectors", "must name at least one collector"));
        }
        if settings.has("host.name") && settings.text("host.name").len() > MAX_HOST_BYTES {
            faults.push(settings.fault("host.name", "must have at most 255 bytes"));
        }
        if !faults.is_empty() {
            return Err(ConfigFaults::new(path, faults));
        }
        let batch = batch_limits(&settings);
        let tail = TailLimits {
            rotated_wait: settings.duration("tail.rotated_wait"),
            open_files: settings.count("tail.max_open_files"),
        };
        Ok(Self { settings, specs, batch, tail })
    }
}

fn file_spec(table: &Settings) -> Result<FileSpec, Vec<ConfigFault>> {
    let glob = Glob::parse(table.text("path")).map_err(|error| table.fault("path", &error.to_string()));
    let format = table.text("format").parse().map_err(|_| table.fault("format", "must name a format"));
    let offset = match table.has("utc_offset") {
        true => parse_offset(table.text("utc_offset"))
            .map(Some)
            .ok_or_else(|| table.fault("utc_offset", "must be an offset like \"+07:00\", at most 14 hours from UTC")),
        false => Ok(None),
    };
    match (glob, format, offset) {
        (Ok(glob), Ok(format), Ok(utc_offset_secs)) => {
            let priority = Priority::from_word(table.text("priority"));
            Ok(FileSpec { glob, format, utc_offset_secs, priority, starts_at_end: table.text("start") == "end" })
        }
        (glob, format, offset) => Err([glob.err(), format.err(), offset.err()].into_iter().flatten().collect()),
    }
}

/// Returns seconds east of UTC of `+07:00` or `-0330`; `Z` is UTC itself.
fn parse_offset(text: &str) -> Option<i32> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(hours) || !is_number(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= MAX_OFFSET_MINUTES).then_some(sign * total * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, ConfigFaults> {
        let path = Path::new("t.toml");
        Config::check(path, SCHEMA.parse(path, text)?)
    }

    fn with_keys(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::write(dir.path().join(name), "").unwrap();
            dir.path().join(name)
        };
        let key = file("key");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let tls = format!("[tls]\nca = {:?}\ncertificate = {:?}\nkey = {key:?}\n", file("ca"), file("cert"));
        (dir, format!("{text}\n{tls}"))
    }

    #[test]
    fn good_file_is_understood() {
        let text = "[ship]\ncollectors = [\"[::1]:7600\"]\n[[file]]\npath = \"/var/log/*.log\"\nutc_offset = \"-03:30\"\nstart = \"end\"\n";
        let (_dir, text) = with_keys(text);
        let config = check(&text).unwrap();
        assert_eq!(config.specs[0].utc_offset_secs, Some(-12_600));
        assert!(config.specs[0].starts_at_end);
        assert_eq!((config.batch.records, config.batch.bytes), (1_024, 512 << 10));
    }

    #[test]
    fn what_the_table_cannot_say_is_checked_too_and_all_at_once() {
        let text = "[ship]\ncollectors = []\n[[file]]\npath = \"var/log/x\"\nutc_offset = \"7\"\n";
        let (_dir, text) = with_keys(text);
        let faults = check(&text).unwrap_err().to_string();
        for fault in [
            "t.toml:2: `ship.collectors` must name at least one collector",
            "t.toml:4: `file[1].path` must be an absolute path, beginning with /",
            "t.toml:5: `file[1].utc_offset` must be an offset like \"+07:00\", at most 14 hours from UTC",
        ] {
            assert!(faults.contains(fault), "{faults}");
        }
    }

    #[test]
    fn offsets_are_read_strictly() {
        for (text, seconds) in [("+07:00", 25_200), ("-0330", -12_600), ("Z", 0), ("+14:00", 50_400)] {
            assert_eq!(parse_offset(text), Some(seconds), "{text}");
        }
        for text in ["", "+", "7", "+7:00", "+07:60", "+15:00", "+07:0", "+07:000", "+0é0", "07:00", "++7:00", "UTC"] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }

    #[test]
    fn reference_and_example_are_in_step() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let stale = SCHEMA.stale_files(&root).unwrap();
        assert!(stale.is_empty(), "run with UPDATE_GOLDEN=1 to write {stale:?}");
    }

    #[test]
    fn shipped_example_has_no_fault_but_the_keys_that_enrolment_makes() {
        let faults = check(&SCHEMA.example_toml()).unwrap_err();
        assert!(faults.faults().iter().all(|it| matches!(it, ConfigFault::MissingFile { .. })), "{faults}");
    }
}
