//! The one place that speaks with the shipper: what it is told, what it is given, how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use canh_event::SourceName;
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
use canh_ship::{PackedBatch, ShipConfig, ShipError, Shipper, Submitter, ship_config};

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
    submitter: Submitter,
}

/// A batch on its way from the reader to the spool, packed.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The highest priority first.
    batches: Vec<PackedBatch>,
    pub(crate) cut_lines: u64,
}

impl Packed {
    /// Returns how many lines there are.
    pub(crate) fn lines(&self) -> u64 {
        self.batches.iter().map(PackedBatch::records).sum()
    }

    /// Returns how many bytes the lines have.
    pub(crate) fn bytes(&self) -> u64 {
        self.batches.iter().map(PackedBatch::bytes).sum()
    }
}

impl Spool {
    /// Opens the spool and begins to send what is in it.
    pub(crate) async fn start(config: &Config, metrics: &Metrics, shutdown: Shutdown) -> anyhow::Result<Self> {
        let shipper = Shipper::start(config_of(config)?, metrics, shutdown).await?;
        Ok(Self { submitter: shipper.submitter(), shipper })
    }

    /// Returns how far each source had been read with the last durable batch.
    pub(crate) fn cursors(&self) -> BTreeMap<SourceName, Vec<u8>> {
        self.shipper.cursors()
    }

    /// Packs a batch.
    pub(crate) async fn pack(&self, filled: Filled) -> anyhow::Result<Packed> {
        let mut batches = Vec::with_capacity(filled.submissions.len());
        for submission in filled.submissions {
            batches.push(self.submitter.pack(submission).await.context("while packing a batch")?);
        }
        Ok(Packed { batches, cut_lines: filled.cut_lines })
    }

    /// Makes a batch durable with its cursors, the highest priority first; waits while the spool is full.
    pub(crate) async fn submit(&self, packed: Packed) -> anyhow::Result<Kept> {
        for batch in packed.batches {
            match self.submitter.submit_packed(batch).await {
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
