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
use tokio::sync::{Semaphore, watch};

use crate::budget::Budget;
use crate::compress;
use crate::config::Config;
use crate::descriptors::raise_limit;
use crate::folder::{self, Folder};
use crate::gate;
use crate::issuing::{Issuing, now};
use crate::journal::{self, Kept, OpenJournal};
use crate::keeper::Keeper;
use crate::listener::Listener;
use crate::metrics::Metrics;
use crate::normalise::{Normalisers, Onward, Running};
use crate::quota::Quotas;
use crate::revocation;
use crate::session::Shared;
use crate::streams::Streams;
use crate::throttle::Throttle;
use crate::tls_plan::{Plan, Tls};

/// Threads of the runtime: connections cost little, what costs has threads of its own.
const RUNTIME_THREADS: usize = 2;
/// How often an idle normaliser shows that it lives, and gauges are set.
const BEAT: Duration = Duration::from_secs(2);

/// How often the CA's folder is looked at for new certificates.
const FOLDER_LOOK: Duration = Duration::from_secs(1);
/// Looks from one thought about the collector's own certificate to the next: it has days.
const ROUNDS_TO_RENEWAL: u32 = 30;

/// Runs the collector until it is told to stop.
///
/// # Errors
/// It cannot start, or its journal failed.
pub(crate) fn run(path: &Path) -> anyhow::Result<()> {
    let (config, settings) = Config::load(path)?;
    raise_limit(config.limits.connections + config.limits.handshakes);
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
    plan_of(&config).build()?;
    Ok(())
}

/// Everything behind the connections, to be ended in order.
struct Rooms {
    journal: JoinHandle<CommitOutcome>,
    keeper: JoinHandle<()>,
    keeper_stop: std::sync::mpsc::Sender<()>,
    compressor: JoinHandle<()>,
    compressor_stop: std::sync::mpsc::Sender<()>,
    running: Running,
    onward: Onward,
}

async fn assemble(path: &Path, config: Config, settings: canh_service::config::Settings) -> anyhow::Result<()> {
    let signals = Signals::listen().context("while listening to signals")?;
    let registry = Registry::new("canh-collector", env!("CARGO_PKG_VERSION"))?;
    let (metrics, health) = (Metrics::register(&registry)?, Health::starting());
    let (plan, plans) = watch::channel(open_identity(&config)?);
    let (tls_sender, tls) = watch::channel(built(&plan.borrow(), &metrics)?);
    let server = serve(config.metrics, registry, health.clone(), signals.shutdown.clone()).await?;

    let streams = Arc::new(Streams::new(config.limits.connections_per_agent));
    let opened = journal::open(&config, &streams, &metrics, signals.trigger.clone())?;
    let store = opened.kept.store;
    let (normalisers, rooms) = start_rooms(&config, opened, &streams, &metrics)?;
    let settled = Arc::clone(&rooms.onward.settled);
    let (gate, watcher) = open_gate(&config, &plan.borrow(), &metrics)?;
    let shared = Arc::new(Shared {
        streams,
        gate,
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
    let watching = tokio::spawn(watcher.run(signals.shutdown.clone()));
    let following = tokio::spawn(follow(plans, tls_sender.clone(), metrics.clone()));
    let known = Known { path: path.to_owned(), settings, plan, tls: tls_sender };
    let reloading = tokio::spawn(reload(known, metrics, signals.reloads));
    tracing::info!(%address, "accepting agents");
    notify::ready(&format!("accepting agents on {address}"));

    listener.run(signals.shutdown.clone()).await;
    notify::stopping();
    reloading.abort();
    following.abort();
    let _ = watching.await;
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
    let (compressor, compressor_stop) = start_compressor(&kept, metrics)?;
    let (retention, streams) = (config.retention, Arc::clone(streams));
    let keeper = Keeper::new(commit, settled, losses, kept, retention, streams, metrics.clone());
    let (keeper_stop, stopped) = std::sync::mpsc::channel();
    let keeper = thread::Builder::new().name("journal-keeper".to_owned()).spawn(move || keeper.run(&stopped))?;
    Ok((normalisers, Rooms { journal, keeper, keeper_stop, compressor, compressor_stop, running, onward }))
}

fn start_compressor(kept: &Kept, metrics: &Metrics) -> anyhow::Result<(JoinHandle<()>, std::sync::mpsc::Sender<()>)> {
    let (segments, metrics) = (kept.segments.clone(), metrics.clone());
    let (stop, stopped) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().name("journal-compress".to_owned());
    Ok((thread.spawn(move || compress::run(&segments, &metrics, &stopped))?, stop))
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
        drop(self.compressor_stop);
        self.compressor.join().map_err(|_| anyhow!("the journal's compressor panicked"))?;
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

/// What a reload takes over, and where it is told.
struct Known {
    path: std::path::PathBuf,
    settings: canh_service::config::Settings,
    plan: watch::Sender<Plan>,
    tls: watch::Sender<Tls>,
}

/// Takes certificates over at a reload; what else has changed needs a restart and is said so.
async fn reload(mut known: Known, metrics: Metrics, mut reloads: Reloads) {
    loop {
        reloads.next().await;
        notify::reloading();
        let loaded = Config::load(&known.path).map_err(anyhow::Error::from);
        let result = match loaded.and_then(|(config, newer)| {
            // Where the folder is needs a restart; which files stand beside it does not.
            let wanted = Plan { files: config.tls, folder: known.plan.borrow().folder.clone() };
            built(&wanted, &metrics).map(|tls| (wanted, tls, newer))
        }) {
            Ok((wanted, tls, newer)) => {
                for change in known.settings.changes(&newer).iter().filter(|change| !change.reloadable) {
                    tracing::warn!(key = change.path, "changed, and needs a restart");
                }
                known.tls.send_replace(tls);
                known.plan.send_replace(wanted);
                known.settings = newer;
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

/// Keeps the TLS configurations what the CA's folder says, whenever it changes.
async fn follow(plans: watch::Receiver<Plan>, tls: watch::Sender<Tls>, metrics: Metrics) {
    let (mut stamps, mut rounds) = (plans.borrow().stamps(), 0_u32);
    loop {
        tokio::time::sleep(FOLDER_LOOK).await;
        let plan = plans.borrow().clone();
        let is_renewal_due = rounds.is_multiple_of(ROUNDS_TO_RENEWAL);
        let (before, shown) = (stamps, metrics.clone());
        let looked = tokio::task::spawn_blocking(move || {
            if is_renewal_due {
                renew_own(&plan);
            }
            let stamps = plan.stamps();
            let built = (stamps != before).then(|| built(&plan, &shown));
            (stamps, built)
        });
        let Ok((now, built)) = looked.await else { return };
        rounds = rounds.wrapping_add(1);
        match built {
            None => {}
            Some(Ok(built)) => {
                tls.send_replace(built);
                tracing::info!("certificates taken over; connections from now on see them");
            }
            Some(Err(error)) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the certificates cannot be used, the old ones stay");
            }
        }
        stamps = now;
    }
}

fn renew_own(plan: &Plan) {
    match plan.keep_current(now()) {
        Ok(true) => tracing::info!("the collector's certificate was made anew"),
        Ok(false) => {}
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "the collector's certificate cannot be made anew");
        }
    }
}

fn plan_of(config: &Config) -> Plan {
    Plan { files: config.tls.clone(), folder: Folder::new(&config.identity_dir) }
}

fn built(plan: &Plan, metrics: &Metrics) -> anyhow::Result<Tls> {
    let tls = plan.build()?;
    tls.show(metrics);
    Ok(tls)
}

/// Makes the folder if there is none, with an empty list of revocations. Where there is anything else and
/// no list, somebody has removed it: that is for the gate to say.
fn open_identity(config: &Config) -> anyhow::Result<Plan> {
    let plan = plan_of(config);
    plan.folder.make("")?;
    if plan.folder.names("", 1)?.is_empty() {
        revocation::make_empty(&plan.folder)?;
    } else if plan.folder.has(folder::ISSUER) {
        renew_own(&plan);
    }
    Ok(plan)
}

fn open_gate(config: &Config, plan: &Plan, metrics: &Metrics) -> anyhow::Result<(Arc<gate::Gate>, gate::Watcher)> {
    let (life, turns) = (config.certificate_life, config.limits.enrolments);
    let issuing = Issuing::new(plan.folder.clone(), life, plan.other_authorities()?, turns, metrics.clone());
    Ok(gate::open(&plan.folder, issuing, metrics))
}
