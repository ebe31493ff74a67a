//! The door: what an agent submits to, asks for its cursors, drains and stops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use canh_event::{RecordBatch, SourceName};
use canh_journal::{DiskFs, Fs};
use canh_service::metrics::{Metrics, MetricsError};
use canh_service::signals::Shutdown;
use canh_wire::{DEFAULT_LEVEL, PackError, Packer};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::config::ShipConfig;
use crate::connect::{Credentials, CredentialsError};
use crate::metrics::ShipMetrics;
use crate::parts::pack;
use crate::sender::Sender;
use crate::shared::{Shared, run_blocking};
use crate::spool::{Appended, Prepared, Spool, SpoolError, SpoolOptions};
use crate::submission::Submission;

/// How often a full disk is asked again.
const ROOM_RETRY: Duration = Duration::from_secs(1);

/// A shipper that cannot start, or a batch that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShipError {
    /// No collector is configured.
    #[error("no collector to ship to")]
    NoCollector,
    /// Certificates cannot be read or used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The spool cannot be opened or written.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The batch cannot be packed.
    #[error("the batch cannot be packed")]
    Pack(#[from] PackError),
    /// A metric cannot be registered.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The spool is full and the agent is stopping: the batch was not taken, and its source must
    /// be read again from the last cursors.
    #[error("the spool is full and the agent is stopping")]
    Stopping,
}

/// Not everything was acknowledged in time; it stays in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{records} records are not acknowledged, they stay in the spool")]
pub struct NotDrained {
    /// How many.
    pub records: u64,
}

/// Ships one stream: keeps what is submitted in the spool, and sends it until it is acknowledged.
#[derive(Debug)]
pub struct Shipper {
    submitter: Submitter,
    stop: watch::Sender<bool>,
    sender: Option<JoinHandle<()>>,
}

/// Submits batches to a shipper. Clones submit to the same one.
#[derive(Clone, Debug)]
pub struct Submitter {
    shared: Arc<Shared>,
    /// Batches get their places in the stream in the order in which their submitters came here.
    turn: Arc<tokio::sync::Mutex<()>>,
    packer: Arc<Mutex<Packer>>,
    shutdown: Shutdown,
}

impl Shipper {
    /// Opens the spool and begins to send. `shutdown` ends the waits of [`Submitter::submit`] for
    /// room; it does not end the sending, [`Shipper::stop`] does.
    ///
    /// # Errors
    /// [`ShipError`]: the certificates or the spool cannot be used. An unreachable collector is no
    /// error, it is tried again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(config: ShipConfig, metrics: &Metrics, shutdown: Shutdown) -> Result<Self, ShipError> {
        if config.collectors.is_empty() {
            return Err(ShipError::NoCollector);
        }
        let ship_metrics = ShipMetrics::new(metrics)?;
        let opening = config.clone();
        let opened = run_blocking(move || {
            let credentials = Credentials::new(&opening)?;
            let (spool, recovery) = {
                let options = SpoolOptions { max_bytes: opening.spool_max_bytes, when_full: opening.when_full };
                Spool::open(&opening.spool_dir, options)?
            };
            if !recovery.is_whole() {
                error!(spool = %opening.spool_dir.display(), "spool is damaged, what is lost is reported as a gap");
            }
            Ok::<_, ShipError>((credentials, spool, seed()))
        });
        let (credentials, spool, seed) = opened.await?;
        let shared = Arc::new(Shared::new(spool, ship_metrics));
        let (stop, stopping) = watch::channel(false);
        let sender = Sender::new(Arc::clone(&shared), config, credentials, seed, stopping);
        let submitter = Submitter {
            shared,
            turn: Arc::default(),
            packer: Arc::new(Mutex::new(Packer::try_new(DEFAULT_LEVEL)?)),
            shutdown,
        };
        Ok(Self { submitter, stop, sender: Some(tokio::spawn(sender.run())) })
    }

    /// Returns the cursors of all sources as of the last batch that is durable: where to read on.
    pub fn cursors(&self) -> BTreeMap<SourceName, Vec<u8>> {
        self.submitter.shared.look(|spool| spool.cursors().clone())
    }

    /// Returns a handle to submit with.
    pub fn submitter(&self) -> Submitter {
        self.submitter.clone()
    }

    /// Submits a batch; as [`Submitter::submit`].
    ///
    /// # Errors
    /// As [`Submitter::submit`].
    pub async fn submit(&self, batch: RecordBatch, cursors: Vec<(SourceName, Vec<u8>)>) -> Result<(), ShipError> {
        self.submitter.submit(batch, cursors).await
    }

    /// Submits a batch and all that belongs to it; as [`Submitter::submit_all`].
    ///
    /// # Errors
    /// As [`Submitter::submit_all`].
    pub async fn submit_all(&self, submission: Submission) -> Result<(), ShipError> {
        self.submitter.submit_all(submission).await
    }

    /// Waits until everything spooled is acknowledged, at most for `patience`.
    ///
    /// # Errors
    /// [`NotDrained`] with what is left; it stays in the spool.
    pub async fn drain(&self, patience: Duration) -> Result<(), NotDrained> {
        let Shared { spooled, acknowledged, .. } = &*self.submitter.shared;
        let mut settled = acknowledged.subscribe();
        let all = settled.wait_for(|settled| *settled >= *spooled.borrow());
        match timeout(patience, all).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NotDrained { records: spooled.borrow().0.saturating_sub(acknowledged.borrow().0) }),
        }
    }

    /// Says goodbye to the collector and ends the sending. What is not acknowledged stays in the
    /// spool for the next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(sender) = self.sender.take()
            && let Err(error) = sender.await
        {
            error!(%error, "the sending task failed");
        }
    }
}

/// A shipper that is dropped sends no more, as if the process had been killed.
impl Drop for Shipper {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
    }
}

/// A batch that is packed and not yet in the spool.
#[derive(Debug)]
pub struct PackedBatch {
    prepared: Prepared,
    records: u64,
    bytes: u64,
    is_empty: bool,
}

impl PackedBatch {
    /// Returns how many records there are.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns how many bytes the records have.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Submitter {
    /// Puts a batch into the spool together with the cursors its sources have reached; on return
    /// both are durable. An empty cursor forgets its source. Waits while the spool is full.
    ///
    /// # Errors
    /// As [`Submitter::submit_all`].
    ///
    /// # Contract
    /// The future is run to its end: dropped half way it may or may not have spooled the batch.
    pub async fn submit(&self, batch: RecordBatch, cursors: Vec<(SourceName, Vec<u8>)>) -> Result<(), ShipError> {
        self.submit_all(Submission { records: batch, cursors, ..Submission::default() }).await
    }

    /// Puts a batch and all that belongs to it into the spool; on return it is durable. While the spool
    /// is full, records of low priority are lost and said to be; others wait, or make room as
    /// [`crate::WhenFull`] says.
    ///
    /// # Errors
    /// [`ShipError::Stopping`] if the agent stops while the spool is full; [`ShipError::Spool`],
    /// after which the spool must be opened anew, so the agent should end; [`ShipError::Pack`].
    ///
    /// # Contract
    /// The future is run to its end: dropped half way it may or may not have spooled the batch.
    pub async fn submit_all(&self, submission: Submission) -> Result<(), ShipError> {
        if submission.is_empty() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let packed = self.pack(submission).await?;
        self.spool(packed).await
    }

    /// Packs a batch for [`Submitter::submit_packed`]: the next one can be packed while the disk takes
    /// this one.
    ///
    /// # Errors
    /// [`ShipError::Pack`].
    pub async fn pack(&self, submission: Submission) -> Result<PackedBatch, ShipError> {
        let is_empty = submission.is_empty();
        let (records, bytes) = (submission.count(), submission.records.byte_len() as u64);
        let packer = Arc::clone(&self.packer);
        let packed = run_blocking(move || {
            let parts = pack(&mut packer.lock().unwrap_or_else(PoisonError::into_inner), &submission.records)?;
            Ok::<_, PackError>(submission.prepare(parts))
        });
        Ok(PackedBatch { prepared: packed.await?, records, bytes, is_empty })
    }

    /// Does with a batch that is packed what [`Submitter::submit_all`] does with one that is not.
    ///
    /// # Errors
    /// As [`Submitter::submit_all`].
    ///
    /// # Contract
    /// As [`Submitter::submit_all`]. Batches are packed and submitted in one order.
    pub async fn submit_packed(&self, batch: PackedBatch) -> Result<(), ShipError> {
        if batch.is_empty {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        self.spool(batch).await
    }

    /// Appends a batch to the spool, in its turn.
    async fn spool(&self, batch: PackedBatch) -> Result<(), ShipError> {
        let PackedBatch { mut prepared, records, bytes, .. } = batch;
        let metrics = &self.shared.metrics;
        metrics.produced.inc_by(records);
        for news in &prepared.news {
            metrics.count_source_produced(&news.source, news.count);
        }
        let mut wait = None;
        loop {
            let mut room = self.shared.room.subscribe();
            match self.shared.with_spool(move |spool| spool.append(prepared)).await? {
                Appended::Durable(last) => {
                    metrics.spooled.inc_by(records);
                    metrics.spooled_bytes.inc_by(bytes);
                    self.shared.note_spooled(last);
                    return Ok(());
                }
                Appended::Dropped(last) => {
                    metrics.spooled.inc_by(records);
                    metrics.spool_drops.inc_by(records);
                    self.shared.note_spooled(last);
                    return Ok(());
                }
                Appended::Full(given_back) => prepared = given_back,
            }
            wait.get_or_insert_with(|| self.begin_wait());
            tokio::select! {
                _ = room.changed() => {}
                () = sleep(ROOM_RETRY) => {}
                () = self.shutdown.wait() => return Err(ShipError::Stopping),
            }
        }
    }

    fn begin_wait(&self) -> Waiting {
        let metrics = &self.shared.metrics;
        metrics.spool_waits.inc();
        metrics.spool_waiting.inc();
        warn!("spool is full, waiting for acknowledgements or for room on disk");
        Waiting(metrics.spool_waiting.clone())
    }
}

/// A batch that waits; it is counted for as long as this lives.
struct Waiting(IntGauge);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Returns what keeps this agent's waits apart from other agents'.
fn seed() -> u64 {
    let bytes = DiskFs.random().unwrap_or_default();
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
