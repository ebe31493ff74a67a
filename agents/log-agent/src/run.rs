//! The assembly: files are read into batches, batches are made durable in the spool, and the shipper
//! sends what is there.
//!
//! ```text
//!  watch ──► batch ──(one in the queue)──► pack ──(one packed)──► spool ──► shipper ──► collector
//!  (thread "read")                                                durable with its cursors
//! ```
//!
//! While the disk takes one batch the next one is packed and the one after it read.

use std::path::Path;

use anyhow::Context;
use canh_service::exit::Exit;
use canh_service::metrics::{self, Health, Metrics, MetricsServer};
use canh_service::notify;
use canh_service::signals::{Reloads, Shutdown, Signals};
use tokio::sync::mpsc::Receiver;

use crate::batch::{Filled, Moment};
use crate::config::{Config, SCHEMA};
use crate::metrics::AgentMetrics;
use crate::reader::Reader;
use crate::ship::{Kept, Packed, Spool};
use crate::watch::{Watch, WatchOptions};

/// Runs the agent until it is asked to stop.
///
/// # Errors
/// The configuration has faults, or what the agent cannot do without fails: it then ends, and goes
/// on after a restart exactly where its spool says.
pub(crate) async fn run(path: &Path) -> anyhow::Result<Exit> {
    let config = Config::load(path)?;
    let signals = Signals::listen().context("while registering for signals")?;
    let metrics = Metrics::new(SCHEMA.daemon(), env!("CARGO_PKG_VERSION"))?;
    let agent_metrics = AgentMetrics::new(&metrics)?;
    let health = Health::starting();
    let server = serve(&config, &metrics, &health, &signals.shutdown).await?;
    let spool = Spool::start(&config, &metrics, signals.shutdown.clone()).await.context("while opening the spool")?;
    let watch = Watch::new(options(&config), spool.cursors(), agent_metrics.clone(), Moment::now())
        .context("while resuming from the spool")?;
    let (reader, filled) =
        Reader::spawn(watch, config.batch, signals.shutdown.clone()).context("while starting the reading thread")?;
    let watchdog = notify::watchdog(vec![reader.pulse()], signals.shutdown.clone());
    health.set_ready();
    let status = format!("reading {} patterns, metrics on {}", config.specs.len(), server.address());
    notify::ready(&status);

    let drain_wait = config.settings.duration("ship.drain_wait");
    let mut assembly = Assembly { config, path, reader, reloads: signals.reloads, metrics: agent_metrics, status };
    let outcome = assembly.pump(filled, &spool).await;
    notify::stopping();
    if let Err(error) = &outcome {
        health.set_failed(&error.to_string());
    }
    signals.trigger.request();
    let ended = assembly.reader.join();
    spool.stop(drain_wait).await;
    server.join().await;
    if let Some(task) = watchdog {
        task.abort();
    }
    outcome?;
    ended?;
    Ok(Exit::Done)
}

struct Assembly<'p> {
    config: Config,
    path: &'p Path,
    reader: Reader,
    reloads: Reloads,
    metrics: AgentMetrics,
    status: String,
}

impl Assembly<'_> {
    /// Makes batches durable until the reader ends.
    async fn pump(&mut self, mut filled: Receiver<Filled>, spool: &Spool) -> anyhow::Result<()> {
        let mut packed = None;
        loop {
            let keeping = keep(packed.take(), spool, &self.metrics);
            let (kept, next) = tokio::try_join!(keeping, next(&mut filled, &mut self.reloads, spool))?;
            if kept == Kept::Stopping {
                return Ok(());
            }
            match next {
                Next::Packed(next) => packed = Some(next),
                Next::Reload => self.reload(),
                Next::End => return Ok(()),
            }
        }
    }

    /// Takes over what can be taken over; a configuration with faults changes nothing.
    fn reload(&mut self) {
        notify::reloading();
        match Config::load(self.path) {
            Ok(newer) => {
                let changes = self.config.settings.changes(&newer.settings);
                let later: Vec<_> = changes.iter().filter(|it| !it.reloadable).map(|it| it.path).collect();
                if !later.is_empty() {
                    tracing::warn!(keys = later.join(", "), "changed keys need a restart, their old values stay");
                }
                tracing::info!(patterns = newer.specs.len(), "configuration reloaded");
                self.reader.set_specs(newer.specs.clone());
                self.config = newer;
                notify::ready(&self.status);
            }
            Err(faults) => {
                for fault in faults.to_string().lines() {
                    tracing::error!(fault, "configuration not reloaded, the old one stays");
                }
                notify::ready("configuration not reloaded, it has faults; the old one stays");
            }
        }
    }
}

/// What comes after the batch that is being kept.
enum Next {
    Packed(Packed),
    Reload,
    End,
}

async fn next(filled: &mut Receiver<Filled>, reloads: &mut Reloads, spool: &Spool) -> anyhow::Result<Next> {
    tokio::select! {
        next = filled.recv() => match next {
            Some(next) => Ok(Next::Packed(spool.pack(next).await?)),
            None => Ok(Next::End),
        },
        () = reloads.next() => Ok(Next::Reload),
    }
}

/// Makes a batch durable, if there is one.
async fn keep(packed: Option<Packed>, spool: &Spool, metrics: &AgentMetrics) -> anyhow::Result<Kept> {
    let Some(packed) = packed else { return Ok(Kept::Durable) };
    let (lines, bytes, cut) = (packed.lines(), packed.bytes(), packed.cut_lines);
    if spool.submit(packed).await.context("while writing the spool")? == Kept::Stopping {
        return Ok(Kept::Stopping);
    }
    tracing::debug!(lines, bytes, "batch is durable in the spool");
    metrics.batches.inc();
    metrics.lines.inc_by(lines);
    metrics.bytes.inc_by(bytes);
    metrics.cut_lines.inc_by(cut);
    Ok(Kept::Durable)
}

async fn serve(
    config: &Config,
    metrics: &Metrics,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<MetricsServer> {
    let address = config.settings.address("metrics.address");
    Ok(metrics::serve(address, metrics.clone(), health.clone(), shutdown.clone()).await?)
}

fn options(config: &Config) -> WatchOptions {
    let settings = &config.settings;
    let host = if settings.has("host.name") { settings.text("host.name").to_owned() } else { own_host_name() };
    WatchOptions {
        specs: config.specs.clone(),
        host: host.into_boxed_str(),
        limits: config.tail,
        max_files: settings.count("tail.max_files"),
    }
}

/// The kernel's name of this host; at most 64 bytes.
fn own_host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
