//! The assembly, in the order the data goes: capture, meter, queue, batches, spool, collector.

use anyhow::Context;
use canh_event::Source;
use canh_flow::FlowRecord;
use canh_service::exit::Exit;
use canh_service::metrics::{Health, Metrics, serve};
use canh_service::notify;
use canh_service::signals::{Reloads, Shutdown, Signals};
use canh_ship::Submission;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use crate::capture::{Capture, CaptureFrom};
use crate::config::{Config, SCHEMA};
use crate::forward::{Forwarder, Outlet, now};
use crate::losses::FlowLosses;
use crate::metering::Metering;
use crate::metrics::{AgentMetrics, FlowDrop};
use crate::progress::FileProgress;
use crate::ship::{Shipping, SpoolOutlet};

/// Most finished flows between the capture's thread and the spool: some seconds of a busy host, a
/// few megabytes.
const QUEUE_FLOWS: usize = 32_768;

/// How long a stop may take to bring the live flows to the spool: a quarter million of them take a
/// second or two, and a full spool no longer makes anybody wait by then.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the agent until it is stopped, or until a file's flows are acknowledged.
pub(crate) fn run(config: Config) -> anyhow::Result<Exit> {
    canh_service::log::init(SCHEMA.daemon());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("while starting the runtime")?;
    runtime.block_on(assemble(config))
}

async fn assemble(config: Config) -> anyhow::Result<Exit> {
    let registry = Metrics::new(SCHEMA.daemon(), env!("CARGO_PKG_VERSION"))?;
    let metrics = AgentMetrics::register(&registry)?;
    let Signals { shutdown, trigger, reloads } = Signals::listen().context("while registering for signals")?;
    let health = Health::starting();
    let server = serve(config.metrics, registry.clone(), health.clone(), shutdown.clone()).await?;

    let capture = Capture::open(&config.capture)?;
    let shipping = Shipping::start(config.ship.clone(), &registry, shutdown.clone()).await?;
    let file = file_progress(&config, &shipping)?;
    let (sender, flows) = mpsc::channel(QUEUE_FLOWS);
    let (losses, name) = (FlowLosses::default(), config.source.clone());
    let metering =
        Metering::new(capture, config.limits, name, sender, metrics.clone(), losses.clone(), shutdown.clone());
    let watchdog = notify::watchdog(metering.pulse().into_iter().collect(), shutdown.clone());
    let captured = metering.spawn().context("while starting the capture thread")?;
    let forwarder =
        Forwarder::new(shipping.outlet(), source(&config)?, config.batch, metrics.clone(), losses.clone(), file);

    health.set_ready();
    notify::ready(&format!("capturing {}, metrics on {}", config.source, server.address()));
    tracing::info!(source = %config.source, metrics = %server.address(), "capturing");
    let refusing = tokio::spawn(refuse_reloads(reloads));

    let forwarded = forward(forwarder, flows, &shutdown, &metrics, &losses).await;
    if forwarded.is_err() {
        // Nobody reads the queue any more: the capture has nowhere to go.
        trigger.request();
    }
    let captured = captured.await.context("while joining the capture thread")?.context("while capturing");
    tell_last_losses(&shipping, &config, &losses).await;
    if let Err(error) = forwarded.as_ref().and(captured.as_ref()) {
        health.set_failed(&error.to_string());
    }
    if !config.capture.from.is_live() && forwarded.is_ok() && captured.is_ok() {
        wait_for_acknowledgement(&shipping, &shutdown).await;
    }
    notify::stopping();
    trigger.request();
    shipping.stop(config.drain_wait).await;
    server.join().await;
    refusing.abort();
    if let Some(task) = watchdog {
        task.abort();
    }
    forwarded.and(captured).map(|()| Exit::Done)
}

/// Forwards flows until there are no more; after a stop was asked for, not for long.
async fn forward(
    forwarder: Forwarder<SpoolOutlet>,
    mut flows: mpsc::Receiver<FlowRecord>,
    shutdown: &Shutdown,
    metrics: &AgentMetrics,
    losses: &FlowLosses,
) -> anyhow::Result<()> {
    let past_deadline = async {
        shutdown.wait().await;
        sleep(FLUSH_DEADLINE).await;
    };
    let result = tokio::select! {
        result = forwarder.run(&mut flows) => result.context("while handing flows to the spool"),
        () = past_deadline => Err(anyhow::anyhow!("stopped before all flows were in the spool; is its disk too slow?")),
    };
    flows.close();
    while flows.try_recv().is_ok() {
        metrics.drop_flows(FlowDrop::Stopped, 1);
        losses.note(FlowDrop::Stopped, 1, now());
    }
    result
}

/// Puts what was lost at the very end into the spool: the collector is told after the next start, if not now.
async fn tell_last_losses(shipping: &Shipping, config: &Config, losses: &FlowLosses) {
    // A file's flows are not lost: another run reads them again.
    if !config.capture.from.is_live() {
        return;
    }
    let (losses, figures) = losses.take(&config.source);
    let told = shipping.outlet().submit(Submission { losses, figures, ..Submission::default() }).await;
    if let Err(error) = told {
        tracing::error!(%error, "flows were dropped, and the spool does not take it");
    }
}

/// Waits until the collector has acknowledged a file's flows, or until a stop is asked for.
async fn wait_for_acknowledgement(shipping: &Shipping, shutdown: &Shutdown) {
    tracing::info!("the file is metered, waiting for the collector to acknowledge its flows");
    tokio::select! {
        () = shipping.drain() => tracing::info!("all flows of the file are acknowledged"),
        () = shutdown.wait() => {}
    }
}

async fn refuse_reloads(mut reloads: Reloads) {
    loop {
        reloads.next().await;
        tracing::warn!("asked to reload, but no key of this agent can be taken over without a restart");
    }
}

fn source(config: &Config) -> anyhow::Result<Source> {
    let kernel_name = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host = config.host.clone().unwrap_or_else(kernel_name);
    let format = "flow".parse().context("while naming the format")?;
    Ok(Source { name: config.source.clone(), host: host.into_boxed_str(), format, utc_offset_secs: 0 })
}

fn file_progress(config: &Config, shipping: &Shipping) -> anyhow::Result<Option<FileProgress>> {
    let CaptureFrom::File(path) = &config.capture.from else { return Ok(None) };
    let begin = FileProgress::of(path, config.capture.filter.as_deref(), &config.limits)
        .with_context(|| format!("while looking at {}", path.display()))?;
    let progress = shipping.cursor(&config.source).map_or(begin, |cursor| begin.resume(&cursor));
    if progress.spooled() > 0 {
        let records = progress.spooled();
        tracing::info!(records, "an earlier run has spooled flows of this file, going on after them");
    }
    Ok(Some(progress))
}
