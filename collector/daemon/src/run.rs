//! The assembly, in the order the data walks: listener, sessions, normalisers, journal. And back, at
//! a stop, in the same order: each room is empty before the next one closes.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};
use canh_journal::CommitOutcome;
use canh_service::metrics::{Health, Metrics as Registry, serve};
use canh_service::notify::{self, Pulse};
use canh_service::signals::{Reloads, Shutdown, Signals};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};

use crate::budget::Budget;
use crate::config::{Config, TlsFiles};
use crate::descriptors::raise_limit;
use crate::journal::{self, OpenJournal};
use crate::keeper::Keeper;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::normalise::{Normalisers, Onward, Running};
use crate::quota::Quotas;
use crate::session::Shared;
use crate::streams::Streams;
use crate::throttle::Throttle;

/// Threads of the runtime: connections cost little, what costs has threads of its own.
const RUNTIME_THREADS: usize = 2;
/// How often an idle normaliser shows that it lives, and gauges are set.
const BEAT: Duration = Duration::from_secs(2);

/// Runs the collector until it is told to stop.
///
/// # Errors
/// It cannot start, or its journal failed.
pub(crate) fn run(path: &Path) -> anyhow::Result<()> {
    let (config, settings) = Config::load(path)?;
    raise_limit(config.limits.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("connections")
        .enable_all()
        .build()
        .context("while starting the runtime")?;
    runtime.block_on(assemble(path, config, settings))
}

/// Reads the configuration and everything it names, and changes nothing.
///
/// # Errors
/// Something is wrong with it.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let (config, _) = Config::load(path)?;
    tls_config(&config.tls)?;
    Ok(())
}

/// Everything behind the connections, to be ended in order.
struct Rooms {
    journal: JoinHandle<CommitOutcome>,
    keeper: JoinHandle<()>,
    keeper_stop: std::sync::mpsc::Sender<()>,
    running: Running,
    onward: Onward,
}

async fn assemble(path: &Path, config: Config, settings: canh_service::config::Settings) -> anyhow::Result<()> {
    let signals = Signals::listen().context("while listening to signals")?;
    let registry = Registry::new("canh-collector", env!("CARGO_PKG_VERSION"))?;
    let (metrics, health) = (Metrics::register(&registry)?, Health::starting());
    let (tls_sender, tls) = watch::channel(tls_config(&config.tls)?);
    let server = serve(config.metrics, registry, health.clone(), signals.shutdown.clone()).await?;

    let streams = Arc::new(Streams::new(config.limits.connections_per_agent));
    let opened = journal::open(&config, &streams, &metrics, signals.trigger.clone())?;
    let store = opened.kept.store;
    let (normalisers, rooms) = start_rooms(&config, opened, &streams, &metrics)?;
    let settled = Arc::clone(&rooms.onward.settled);
    let shared = Arc::new(Shared {
        streams,
        normalisers: normalisers.clone(),
        budget: Budget::new(config.limits.memory_bytes, metrics.memory_bytes.clone()),
        quotas: Quotas::new(config.quotas),
        quota_talk: Throttle::new(Duration::from_secs(1)),
        metrics: metrics.clone(),
        connections: Arc::new(Semaphore::new(config.limits.connections)),
        store,
        window: config.limits.window_bytes,
        idle_timeout: config.limits.idle_timeout,
        stop_deadline: config.stop_deadline,
        shutdown: signals.shutdown.clone(),
    });
    let listener = Listener::bind(config.listen, config.limits.handshakes, tls, Arc::clone(&shared))
        .with_context(|| format!("while binding {}", config.listen))?;
    let address = listener.address().context("while binding")?;

    notify::watchdog(rooms.running.pulses.clone(), signals.shutdown.clone());
    let overseer = Overseer { normalisers, pulses: rooms.running.pulses.clone(), shared: Arc::clone(&shared), health };
    let overseeing = tokio::spawn(overseer.run(rooms.onward.clone(), signals.shutdown.clone()));
    let reloading = tokio::spawn(reload(path.to_owned(), settings, tls_sender, metrics, signals.reloads));
    tracing::info!(%address, "accepting agents");
    notify::ready(&format!("accepting agents on {address}"));

    listener.run(signals.shutdown.clone()).await;
    notify::stopping();
    reloading.abort();
    let _ = overseeing.await;
    server.join().await;
    drop(shared);
    tokio::task::spawn_blocking(move || rooms.end()).await.context("while ending")??;
    match settled.failure() {
        Some(error) => Err(anyhow!(error.clone()).context("the journal failed, nothing more was acknowledged")),
        None => Ok(()),
    }
}

fn start_rooms(
    config: &Config,
    opened: OpenJournal,
    streams: &Arc<Streams>,
    metrics: &Metrics,
) -> anyhow::Result<(Normalisers, Rooms)> {
    let OpenJournal { commit, thread: journal, settled, losses, kept } = opened;
    let onward = Onward {
        commit: commit.clone(),
        settled: Arc::clone(&settled),
        losses: losses.clone(),
        metrics: metrics.clone(),
    };
    let (normalisers, running) = Normalisers::spawn(thread_count(config.threads), &onward)?;
    let (bound, streams) = (config.journal_max_bytes, Arc::clone(streams));
    let keeper = Keeper::new(commit, settled, losses, kept, bound, streams, metrics.clone());
    let (keeper_stop, stopped) = std::sync::mpsc::channel();
    let keeper = thread::Builder::new().name("journal-keeper".to_owned()).spawn(move || keeper.run(&stopped))?;
    Ok((normalisers, Rooms { journal, keeper, keeper_stop, running, onward }))
}

fn thread_count(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { thread::available_parallelism().map_or(1, std::num::NonZero::get) }
}

impl Rooms {
    /// Ends the rooms in the order of the data. The doors to the normalisers are gone by now.
    fn end(self) -> anyhow::Result<()> {
        for thread in self.running.threads {
            thread.join().map_err(|_| anyhow!("a normaliser panicked"))?;
        }
        drop(self.keeper_stop);
        self.keeper.join().map_err(|_| anyhow!("the journal's keeper panicked"))?;
        self.onward.commit.close();
        drop(self.onward);
        // Why it failed is in `Settled`, and reported by the caller.
        let outcome = self.journal.join().map_err(|_| anyhow!("the journal's committer panicked"))?;
        tracing::info!(durable = outcome.is_ok(), "journal closed");
        Ok(())
    }
}

/// Looks after what nobody else looks after while the daemon runs.
struct Overseer {
    normalisers: Normalisers,
    pulses: Vec<Pulse>,
    shared: Arc<Shared>,
    health: Health,
}

impl Overseer {
    async fn run(self, onward: Onward, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.wait() => return,
            }
            self.normalisers.ask_for_beats();
            self.shared.budget.show();
            if onward.commit.stats().is_waiting_for_space {
                // Waiting for a full disk is no standstill: a restart would not make room.
                self.pulses.iter().for_each(Pulse::beat);
                self.health.set_failed("the journal waits for room on disk");
                notify::status("waiting for room on disk; agents keep their records");
            } else {
                self.health.set_ready();
                notify::status(&format!("{} agents connected", self.shared.metrics.connections.get()));
            }
        }
    }
}

/// Takes certificates over at a reload; what else has changed needs a restart and is said so.
async fn reload(
    path: std::path::PathBuf,
    mut settings: canh_service::config::Settings,
    tls: watch::Sender<Arc<ServerConfig>>,
    metrics: Metrics,
    mut reloads: Reloads,
) {
    loop {
        reloads.next().await;
        notify::reloading();
        let loaded = Config::load(&path).map_err(anyhow::Error::from);
        let result = match loaded.and_then(|(config, newer)| Ok((tls_config(&config.tls)?, newer))) {
            Ok((config, newer)) => {
                for change in settings.changes(&newer).iter().filter(|change| !change.reloadable) {
                    tracing::warn!(key = change.path, "changed, and needs a restart");
                }
                tls.send_replace(config);
                settings = newer;
                tracing::info!("reloaded; connections from now on see the new certificates");
                "done"
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the reload is refused, everything stays as it was");
                "refused"
            }
        };
        metrics.reloads.with_label_values(&[result]).inc();
        notify::ready(if result == "done" { "reloaded" } else { "the last reload was refused, see the log" });
    }
}

fn tls_config(files: &TlsFiles) -> anyhow::Result<Arc<ServerConfig>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("while reading {}", path.display()));
    let (ca, certificate, key) = (read(&files.ca)?, read(&files.certificate)?, read(&files.key)?);
    let config = canh_wire::tls::server_config(&ca, &certificate, &key);
    config.with_context(|| format!("{} with its key and {}", files.certificate.display(), files.ca.display()))
}
