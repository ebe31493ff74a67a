//! The assembly, top to bottom the walk of the data, and the end in the same order.
//!
//! ```text
//! start:  store (ledger, view) ─► snapshot ─► correlator ─► rooms ─► socket ─► ready
//! replay: records up to the store's position change the state and write nothing: they are in the ledger
//! stop:   follow ends ─► detect ─► decide, which saves the state ─► requests under way ─► persist
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use canh_event::Timestamp;
use canh_service::config::Settings;
use canh_service::exit::Exit;
use canh_service::metrics::{Health, Metrics as Registry};
use canh_service::notify::{self, Pulse};
use canh_service::signals::{Shutdown, ShutdownTrigger, Signals};
use tokio::sync::{mpsc, watch};

use crate::api::listen::Listener;
use crate::api::routes::{Desk, router};
use crate::command::{MAX_FINDINGS, MAX_REQUESTS, Request};
use crate::config::{Config, SCHEMA};
use crate::decide::{Decide, Met};
use crate::detect;
use crate::follow::Follow;
use crate::metrics::Metrics;
use crate::passage::Progress;
use crate::persist::Persist;
use crate::reload;
use crate::rooms::{Channels, Rooms};
use crate::rules::Rules;
use crate::state::State;

/// Checks configuration and rules, and says what is wrong. A refused rule is no fault of the
/// daemon's configuration: it runs without it.
pub(crate) fn check(path: &Path) -> anyhow::Result<Exit> {
    let (config, _) = Config::load(path)?;
    canh_service::log::init(SCHEMA.daemon());
    Rules::load(&config.rules, 1).context("while loading rules")?.say();
    Ok(Exit::Done)
}

/// Runs the correlator until it is told to stop, or cannot go on.
pub(crate) fn run(path: &Path) -> anyhow::Result<Exit> {
    let (config, settings) = Config::load(path)?;
    canh_service::log::init(SCHEMA.daemon());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("while starting")?;
    runtime.block_on(serve(path, config, settings))?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// What the rooms have in common.
struct Common {
    config: Config,
    rules: watch::Receiver<Arc<Rules>>,
    metrics: Metrics,
    progress: Arc<Progress>,
    shutdown: Shutdown,
}

async fn serve(path: &Path, config: Config, settings: Settings) -> anyhow::Result<()> {
    let Signals { shutdown, trigger, reloads } = Signals::listen().context("while listening for signals")?;
    let registry = Registry::new(SCHEMA.daemon(), env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::register(&registry)?;
    let health = Health::starting();
    let exposed = canh_service::metrics::serve(config.metrics, registry, health.clone(), shutdown.clone()).await?;

    let rules = Rules::load(&config.rules, 1).context("while loading rules")?;
    reload::show(&rules, &metrics);
    let state = State::open(&config, &rules)?;
    let position = state.position;
    // The state's lock is held: whoever had the socket before is gone.
    let listener = Listener::bind(&config.socket, config.group.as_deref())?;

    let (rules_in, rules) = watch::channel(Arc::new(rules));
    let progress = Arc::new(Progress::at(position));
    let common = Common { config, rules, metrics, progress, shutdown: shutdown.clone() };
    let (requests, asked) = mpsc::channel(MAX_REQUESTS);
    let (rooms, pulses) = start(&common, state, asked, trigger)?;
    let Common { config, rules, metrics, progress, .. } = common;
    let desk = Desk { requests, rules, progress, metrics: metrics.clone(), started: now() };
    let api = tokio::spawn(listener.serve(router(desk), shutdown.clone()));
    let watchdog = notify::watchdog(pulses, shutdown.clone());

    health.set_ready();
    notify::ready(&reload::status_line(&rules_in.borrow()));
    tracing::info!(position, socket = %config.socket.display(), "ready");
    reload::answer(path, &settings, &rules_in, &metrics, reloads, &shutdown).await;

    notify::stopping();
    health.set_failed("stopping");
    api.await.context("while serving the API")?;
    let ended = tokio::task::spawn_blocking(move || rooms.join()).await.context("while stopping")?;
    exposed.join().await;
    if let Some(task) = watchdog {
        task.abort();
    }
    ended
}

/// Starts the rooms, the last one first, so that each finds its successor waiting. Returns them,
/// and the pulses that show whether they turn: one that hangs stops one of the two.
fn start(
    common: &Common,
    state: State,
    asked: mpsc::Receiver<Request>,
    trigger: ShutdownTrigger,
) -> anyhow::Result<(Rooms, Vec<Pulse>)> {
    let mut rooms = Rooms::new(SCHEMA.daemon(), trigger);
    let (findings, found) = mpsc::channel(MAX_FINDINGS);
    let persist = Persist::new(state.store, common.metrics.clone(), Arc::clone(&common.progress));
    rooms.spawn("persist", move || persist.run(found, asked).context("while keeping incidents"))?;

    let channels = Channels::new(common.config.threads);
    let (pulse_of_follow, pulse_of_decide) = (Pulse::new(), Pulse::new());
    let decide = Decide {
        matchers: channels.matched_out,
        met: Met::of(&state.correlator),
        correlator: state.correlator,
        rules: Arc::clone(&common.rules.borrow()),
        limits: state.limits,
        policy: common.config.snapshot,
        findings,
        metrics: common.metrics.clone(),
        progress: Arc::clone(&common.progress),
        pulse: pulse_of_decide.clone(),
    };
    rooms.spawn("decide", move || {
        decide.run();
        Ok(())
    })?;
    for (index, (incoming, outgoing)) in channels.read_out.into_iter().zip(channels.matched_in).enumerate() {
        let metrics = common.metrics.clone();
        rooms.spawn(&format!("detect-{index}"), move || {
            detect::run(&incoming, &outgoing, &metrics);
            Ok(())
        })?;
    }
    let follow = Follow {
        journal: common.config.journal_dir.clone(),
        from: state.position + 1,
        rules: common.rules.clone(),
        matchers: channels.read_in,
        metrics: common.metrics.clone(),
        progress: Arc::clone(&common.progress),
        pulse: pulse_of_follow.clone(),
        shutdown: common.shutdown.clone(),
    };
    rooms.spawn("follow", move || follow.run().context("while reading the journal"))?;
    Ok((rooms, vec![pulse_of_follow, pulse_of_decide]))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
