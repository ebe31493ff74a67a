//! What the agent is told by its configuration file, and by `--read`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_event::SourceName;
use canh_flow::MeterLimits;
use canh_service::config::{ConfigFault, ConfigFaults, Key, Kind, Schema, Settings, joined};
use canh_ship::{BatchLimits, SHIP_KEY_COUNT, ShipConfig, ShipKeyTexts, WhenFull, batch_limits, ship_keys};

use crate::capture::{CaptureConfig, CaptureFrom, check_filter};
use crate::ship::config_of;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// Longest host name a record carries, in bytes.
const MAX_HOST_BYTES: usize = 255;

const MIN_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

const OWN_KEYS: &[Key] = &[
    Key::optional(
        "capture.interface",
        Kind::Text,
        "eth0",
        "The interface whose packets are metered; any is all of them. Either this or capture.file is needed.",
    ),
    Key::optional(
        "capture.file",
        Kind::ExistingFile,
        "/var/lib/canh/capture.pcap",
        "A capture file, pcap or pcapng, that is metered once; then the agent ends. The --read option overrides both.",
    ),
    Key::optional(
        "capture.filter",
        Kind::Text,
        "not port 7600",
        "Which packets are metered, in the language of tcpdump; all if it is left out.",
    ),
    Key::with_default(
        "capture.snaplen",
        Kind::Integer { min: 64, max: 65_535 },
        "128",
        "How much of each packet is looked at: addresses and ports are in the first 128 bytes even after VLAN tags \
         and extension headers.",
    )
    .unit("bytes"),
    Key::with_default(
        "capture.buffer",
        Kind::Bytes { min: 64 * KIB, max: GIB },
        "16MiB",
        "The kernel's buffer: what arrives while the agent is not running on any processor waits here or is dropped.",
    ),
    Key::with_default(
        "capture.promiscuous",
        Kind::Bool,
        "false",
        "Whether packets between other hosts are captured too, as on the mirror port of a switch.",
    ),
    Key::with_default(
        "flow.idle_timeout",
        Kind::Duration { min: MIN_TIMEOUT, max: MAX_TIMEOUT },
        "30s",
        "A flow without a packet for so long is over; open TCP connections have a timeout of their own.",
    ),
    Key::with_default(
        "flow.open_timeout",
        Kind::Duration { min: MIN_TIMEOUT, max: MAX_TIMEOUT },
        "5m",
        "An open TCP connection without a packet for so long is over. Shorter than servers keep connections alive, \
         and what comes after is taken for a connection of its own.",
    ),
    Key::with_default(
        "flow.active_timeout",
        Kind::Duration { min: MIN_TIMEOUT, max: Duration::from_secs(86_400) },
        "5m",
        "A flow that goes on is recorded in pieces of this length.",
    ),
    Key::with_default(
        "flow.max_flows",
        Kind::Integer { min: 1, max: 16_777_216 },
        "262144",
        "Most flows at a time, 151 bytes each at most. Past it the flow nearest to its timeout is recorded early and \
         counted.",
    )
    .unit("flows"),
    Key::optional("host.name", Kind::Text, "web-01", "This host's name in records. Without it: what the kernel says."),
    Key::with_default(
        "metrics.address",
        Kind::Address,
        "127.0.0.1:9603",
        "Where metrics are served. They hold no addresses of flows, but belong on loopback or a management network.",
    ),
];

const KEYS: &[Key] = &joined::<{ OWN_KEYS.len() + SHIP_KEY_COUNT }>(
    OWN_KEYS,
    &ship_keys(ShipKeyTexts {
        spool_dir: "/var/lib/canh/flow-agent/spool",
        when_full: "Room the spool may take. When it is full, ship.when_full says what becomes of flows; what is dropped \
                    is counted and shows as a gap at the collector.",
        when_full_default: "drop",
        ca: "/var/lib/canh/flow-agent/identity/ca.pem",
        certificate: "/var/lib/canh/flow-agent/identity/agent.pem",
        key: "/var/lib/canh/flow-agent/identity/agent.pem",
    }),
);

/// The table of keys.
pub(crate) const SCHEMA: Schema = Schema::new("canh-flow-agent", KEYS);

/// The checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) capture: CaptureConfig,
    /// What records name as the place they were metered at.
    pub(crate) source: SourceName,
    /// The host's name, if the kernel's is not to be taken.
    pub(crate) host: Option<String>,
    pub(crate) limits: MeterLimits,
    pub(crate) ship: ShipConfig,
    pub(crate) batch: BatchLimits,
    pub(crate) drain_wait: Duration,
    pub(crate) metrics: SocketAddr,
}

impl Config {
    /// Reads and checks the configuration file; `read` is the file of the `--read` option.
    ///
    /// # Errors
    /// Every fault of the file.
    pub(crate) fn load(path: &Path, read: Option<PathBuf>) -> Result<Self, ConfigFaults> {
        Self::from_settings(path, &SCHEMA.load(path)?, read)
    }

    /// Takes the values out of checked settings, and holds them against each other.
    pub(crate) fn from_settings(path: &Path, settings: &Settings, read: Option<PathBuf>) -> Result<Self, ConfigFaults> {
        let filter = settings.has("capture.filter").then(|| settings.text("capture.filter").to_owned());
        let filter_fault = filter.as_deref().and_then(|filter| check_filter(filter).err()).map(|error| {
            let problem = format!("does not compile: {error}");
            settings.fault("capture.filter", &problem)
        });
        let mut faults: Vec<ConfigFault> = filter_fault.into_iter().collect();
        if settings.list("ship.collectors").is_empty() {
            faults.push(settings.fault("ship.collectors", "must name at least one collector"));
        }
        if settings.has("host.name") && settings.text("host.name").len() > MAX_HOST_BYTES {
            faults.push(settings.fault("host.name", "must have at most 255 bytes"));
        }
        let (from, source) = match what_to_capture(settings, read) {
            Ok(found) if faults.is_empty() => found,
            found => {
                faults.extend(found.err());
                return Err(ConfigFaults::new(path, faults));
            }
        };
        let mut ship = config_of(settings);
        if !from.is_live() {
            // A file waits: nothing of it is lost.
            ship.when_full = WhenFull::Wait;
        }
        Ok(Self {
            capture: capture(settings, from, filter),
            source,
            host: settings.has("host.name").then(|| settings.text("host.name").to_owned()),
            limits: limits(settings),
            ship,
            batch: batch_limits(settings),
            drain_wait: settings.duration("ship.drain_wait"),
            metrics: settings.address("metrics.address"),
        })
    }
}

/// Returns what to capture, and what records name it.
fn what_to_capture(settings: &Settings, read: Option<PathBuf>) -> Result<(CaptureFrom, SourceName), ConfigFault> {
    let from = match (read, settings.has("capture.interface"), settings.has("capture.file")) {
        (Some(file), _, _) => CaptureFrom::File(file),
        (None, false, true) => CaptureFrom::File(settings.path("capture.file").to_owned()),
        (None, true, false) => CaptureFrom::Interface(settings.text("capture.interface").to_owned()),
        (None, true, true) => {
            return Err(settings.fault("capture.file", "and `capture.interface` exclude each other; remove one"));
        }
        (None, false, false) => {
            let problem = "is missing, and so is `capture.file`; name what to capture";
            return Err(settings.fault("capture.interface", problem));
        }
    };
    match from.source_name() {
        Ok(source) => Ok((from, source)),
        Err(_) => Err(settings.fault("capture.file", "has no name that a record can hold; rename the file")),
    }
}

fn capture(settings: &Settings, from: CaptureFrom, filter: Option<String>) -> CaptureConfig {
    CaptureConfig {
        from,
        filter,
        snaplen: i32::try_from(settings.integer("capture.snaplen")).unwrap_or(i32::MAX),
        buffer_bytes: i32::try_from(settings.bytes("capture.buffer")).unwrap_or(i32::MAX),
        promiscuous: settings.bool("capture.promiscuous"),
    }
}

fn limits(settings: &Settings) -> MeterLimits {
    MeterLimits {
        max_flows: u32::try_from(settings.integer("flow.max_flows")).unwrap_or(u32::MAX),
        idle_timeout: settings.duration("flow.idle_timeout"),
        open_timeout: settings.duration("flow.open_timeout"),
        active_timeout: settings.duration("flow.active_timeout"),
    }
}

#[cfg(test)]
mod tests;
