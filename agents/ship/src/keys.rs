//! The keys that every agent's configuration has for shipping, declared once, and what is made of
//! them.

use std::time::Duration;

use canh_event::StreamName;
use canh_service::config::{Key, Kind, Settings};

use crate::config::{RetryPolicy, ShipConfig};
use crate::priority::WhenFull;

/// How many keys [`ship_keys`] declares.
pub const SHIP_KEY_COUNT: usize = 14;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// What of the keys differs from agent to agent.
#[derive(Clone, Copy, Debug)]
pub struct ShipKeyTexts {
    /// Where the spool is, if the file does not say.
    pub spool_dir: &'static str,
    /// What happens when the spool is full, as the key's documentation tells it.
    pub when_full: &'static str,
    /// What `ship.when_full` is, if the file does not say: `wait` or `drop`.
    pub when_full_default: &'static str,
    /// The CA's file, if the file does not say.
    pub ca: &'static str,
    /// The certificate's file.
    pub certificate: &'static str,
    /// The key's file.
    pub key: &'static str,
}

/// When a batch is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most records.
    pub records: usize,
    /// Most bytes.
    pub bytes: usize,
    /// Longest time its first record waits for more.
    pub wait: Duration,
}

/// Declares the keys under `[ship]` and `[tls]`.
pub const fn ship_keys(texts: ShipKeyTexts) -> [Key; SHIP_KEY_COUNT] {
    [
        Key::required(
            "ship.collectors",
            Kind::List(&Kind::Endpoint),
            "[\"collector.example.vn:7600\"]",
            "Collectors, in the order they are tried.",
        ),
        Key::optional(
            "ship.server_name",
            Kind::Text,
            "collector.example.vn",
            "The name in the collectors' certificates. Without it: the host of the first collector.",
        ),
        Key::with_default(
            "ship.spool_dir",
            Kind::Path,
            texts.spool_dir,
            "Where records wait until a collector has them, with how far each source has been read.",
        ),
        Key::with_default("ship.spool_max_bytes", Kind::Bytes { min: 16 * MIB, max: TIB }, "1GiB", texts.when_full),
        Key::with_default(
            "ship.when_full",
            Kind::Choice(WhenFull::WORDS),
            texts.when_full_default,
            "What a full spool does with records of normal and high priority: `wait` takes no more, so that the source \
             is the buffer; `drop` lets the oldest go, lower priorities first. Records of low priority are dropped \
             first in any case. Whatever is dropped shows as a gap.",
        ),
        Key::with_default(
            "ship.account_interval",
            Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(3_600) },
            "60s",
            "How often the agent tells the collector how much each source has produced, while there is news. The \
             collector holds its own count against it.",
        ),
        Key::with_default(
            "ship.fail_back",
            Kind::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
            "10m",
            "How often the collectors before the one in use are tried, after it had to be taken instead of them.",
        ),
        Key::with_default(
            "ship.batch_records",
            Kind::Integer { min: 1, max: 4_096 },
            "1024",
            "Most records of a batch. A batch is one sync of the spool's disk.",
        )
        .unit("records"),
        Key::with_default(
            "ship.batch_bytes",
            Kind::Bytes { min: 4 << 10, max: 4 * MIB },
            "512KiB",
            "Most bytes of a batch; a single longer record is a batch of its own.",
        ),
        Key::with_default(
            "ship.batch_wait",
            Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(10) },
            "200ms",
            "Longest time a record waits for others to go with it.",
        ),
        Key::with_default(
            "ship.drain_wait",
            Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(25) },
            "3s",
            "How long a stopping agent goes on sending. What is left stays in the spool.",
        ),
        Key::with_default(
            "tls.ca",
            Kind::ExistingFile,
            texts.ca,
            "The CAs of the collectors' certificates. It and the next two are made by `enrol`.",
        ),
        Key::with_default(
            "tls.certificate",
            Kind::ExistingFile,
            texts.certificate,
            "This agent's certificate. Renewed while connected if it is one file with its key, and only then.",
        ),
        Key::with_default("tls.key", Kind::SecretFile, texts.key, "Its private key."),
    ]
}

/// Takes a shipper's configuration out of settings that were checked against [`ship_keys`].
pub fn ship_config(settings: &Settings, stream: StreamName, software: String) -> ShipConfig {
    let collectors: Vec<String> = settings.list("ship.collectors").into_iter().map(str::to_owned).collect();
    let server_name = if settings.has("ship.server_name") {
        settings.text("ship.server_name").to_owned()
    } else {
        collectors.first().map_or_else(String::new, |first| host_of(first).to_owned())
    };
    ShipConfig {
        stream,
        software,
        spool_dir: settings.path("ship.spool_dir").to_owned(),
        spool_max_bytes: settings.bytes("ship.spool_max_bytes"),
        when_full: WhenFull::from_word(settings.text("ship.when_full")),
        account_interval: settings.duration("ship.account_interval"),
        fail_back: settings.duration("ship.fail_back"),
        collectors,
        server_name,
        ca: settings.path("tls.ca").to_owned(),
        certificate: settings.path("tls.certificate").to_owned(),
        key: settings.path("tls.key").to_owned(),
        retry: RetryPolicy::default(),
    }
}

/// Takes the limits of a batch out of settings that were checked against [`ship_keys`].
pub fn batch_limits(settings: &Settings) -> BatchLimits {
    BatchLimits {
        records: settings.count("ship.batch_records"),
        bytes: usize::try_from(settings.bytes("ship.batch_bytes")).unwrap_or(usize::MAX),
        wait: settings.duration("ship.batch_wait"),
    }
}

/// Returns the host of `host:port`, an IPv6 address without its brackets.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_of_an_endpoint_has_no_port_and_no_brackets() {
        assert_eq!(host_of("collector.example.vn:7600"), "collector.example.vn");
        assert_eq!(host_of("[2001:db8::1]:7600"), "2001:db8::1");
    }
}
