//! The way to the collector: the only room that says `canh_ship`.

use std::time::Duration;

use anyhow::Context;
use canh_event::{RecordBatch, SourceName};
use canh_service::config::Settings;
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
pub(crate) use canh_ship::ShipConfig;
use canh_ship::{RetryPolicy, ShipError, Shipper, Submitter};

use crate::forward::{Outlet, Taken};

/// How long to wait for acknowledgements before waiting again: without an end, but with a sign of life.
const DRAIN_TURN: Duration = Duration::from_secs(60);

/// The spool, and what empties it.
#[derive(Debug)]
pub(crate) struct Shipping(Shipper);

/// Puts batches into the spool.
#[derive(Debug)]
pub(crate) struct SpoolOutlet(Submitter);

/// Takes the shipper's configuration out of checked settings.
#[expect(clippy::expect_used, reason = "the stream's name is written here, and valid")]
pub(crate) fn ship_config(settings: &Settings) -> ShipConfig {
    let collectors: Vec<String> = settings.list("ship.collectors").into_iter().map(str::to_owned).collect();
    let server_name = if settings.has("ship.server_name") {
        settings.text("ship.server_name").to_owned()
    } else {
        collectors.first().map_or_else(String::new, |first| host_of(first).to_owned())
    };
    ShipConfig {
        stream: "flow".parse().expect("flow is a valid name"),
        software: format!("canh-flow-agent {}", env!("CARGO_PKG_VERSION")),
        spool_dir: settings.path("ship.spool_dir").to_owned(),
        spool_max_bytes: settings.bytes("ship.spool_max_bytes"),
        collectors,
        server_name,
        ca: settings.path("tls.ca").to_owned(),
        certificate: settings.path("tls.certificate").to_owned(),
        key: settings.path("tls.key").to_owned(),
        retry: RetryPolicy::default(),
    }
}

/// Returns the host of `host:port`, an IPv6 address without its brackets.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Shipping {
    /// Opens the spool and begins to send what is in it.
    pub(crate) async fn start(config: ShipConfig, metrics: &Metrics, shutdown: Shutdown) -> anyhow::Result<Self> {
        Shipper::start(config, metrics, shutdown).await.map(Self).context("while opening the spool")
    }

    /// Returns what was kept with the last record of a source.
    pub(crate) fn cursor(&self, source: &SourceName) -> Option<Vec<u8>> {
        self.0.cursors().remove(source)
    }

    pub(crate) fn outlet(&self) -> SpoolOutlet {
        SpoolOutlet(self.0.submitter())
    }

    /// Waits until everything is acknowledged, however long it takes.
    pub(crate) async fn drain(&self) {
        while let Err(left) = self.0.drain(DRAIN_TURN).await {
            tracing::warn!(records = left.records, "still waiting for the collector to acknowledge");
        }
    }

    /// Waits until everything is acknowledged, at most for `patience`, and ends the sending.
    pub(crate) async fn stop(self, patience: Duration) {
        if let Err(left) = self.0.drain(patience).await {
            tracing::info!(records = left.records, "stopping with records in the spool, the next start sends them");
        }
        self.0.stop().await;
    }
}

impl Outlet for SpoolOutlet {
    type Error = ShipError;

    async fn submit(&mut self, batch: RecordBatch, cursors: Vec<(SourceName, Vec<u8>)>) -> Result<Taken, ShipError> {
        match self.0.submit(batch, cursors).await {
            Ok(()) => Ok(Taken::Durable),
            Err(ShipError::Stopping) => Ok(Taken::NoRoom),
            Err(error) => Err(error),
        }
    }
}
