//! The one place that speaks with the shipper: what it is told, what it is given, how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use canh_event::SourceName;
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
use canh_ship::{ShipConfig, ShipError, Shipper, ship_config};

use crate::batch::Filled;
use crate::config::{Config, SCHEMA};

/// Whether a batch is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Kept {
    /// It is in the spool, with its cursors.
    Durable,
    /// The spool is full and the agent stops: the lines stay in their files.
    Stopping,
}

/// The spool and the one who sends from it.
#[derive(Debug)]
pub(crate) struct Spool {
    shipper: Shipper,
}

impl Spool {
    /// Opens the spool and begins to send what is in it.
    pub(crate) async fn start(config: &Config, metrics: &Metrics, shutdown: Shutdown) -> anyhow::Result<Self> {
        let shipper = Shipper::start(config_of(config)?, metrics, shutdown).await?;
        Ok(Self { shipper })
    }

    /// Returns how far each source had been read with the last durable batch.
    pub(crate) fn cursors(&self) -> BTreeMap<SourceName, Vec<u8>> {
        self.shipper.cursors()
    }

    /// Makes a batch durable with its cursors, the highest priority first; waits while the spool is full.
    pub(crate) async fn submit(&self, filled: Filled) -> anyhow::Result<Kept> {
        for submission in filled.submissions {
            match self.shipper.submit_all(submission).await {
                Ok(()) => {}
                Err(ShipError::Stopping) => return Ok(Kept::Stopping),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Kept::Durable)
    }

    /// Goes on sending for a while, and stops. What is not acknowledged stays in the spool.
    pub(crate) async fn stop(self, drain_wait: Duration) {
        if let Err(left) = self.shipper.drain(drain_wait).await {
            tracing::info!(
                records = left.records,
                "stopping with records in the spool, they are sent after the next start"
            );
        }
        self.shipper.stop().await;
    }
}

fn config_of(config: &Config) -> anyhow::Result<ShipConfig> {
    let stream = "log".parse().context("while naming the stream")?;
    let software = format!("{} {}", SCHEMA.daemon(), env!("CARGO_PKG_VERSION"));
    Ok(ship_config(&config.settings, stream, software))
}
