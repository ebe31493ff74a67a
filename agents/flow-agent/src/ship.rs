//! The way to the collector: the only room that says `canh_ship`.

use std::time::Duration;

use anyhow::Context;
use canh_event::SourceName;
use canh_service::config::Settings;
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
use canh_ship::{ShipConfig, ShipError, Shipper, Submission, Submitter, ship_config};

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
pub(crate) fn config_of(settings: &Settings) -> ShipConfig {
    let stream = "flow".parse().expect("flow is a valid name");
    ship_config(settings, stream, format!("canh-flow-agent {}", env!("CARGO_PKG_VERSION")))
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

    async fn submit(&mut self, submission: Submission) -> Result<Taken, ShipError> {
        match self.0.submit_all(submission).await {
            Ok(()) => Ok(Taken::Durable),
            Err(ShipError::Stopping) => Ok(Taken::NoRoom),
            Err(error) => Err(error),
        }
    }
}
