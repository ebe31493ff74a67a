//! What systemd is told: ready, reloading, stopping, a line of status, and that the daemon lives.
//!
//! Outside systemd (`NOTIFY_SOCKET` unset) every call does nothing. A message that cannot be sent is
//! logged and forgotten: a daemon does not fail because its overseer does not listen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

use crate::signals::Shutdown;

/// Says that the daemon is ready: what depends on it may start.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Shows one line in `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// Says that a reload has begun; [`ready`] ends it, whether the new configuration was taken or not.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
    }
}

/// Says that the daemon is on its way out.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Shows that a loop still turns: each turn beats it, the watchdog looks at the last beat.
#[derive(Clone, Debug)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds from `begun` to the last beat.
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// Returns a pulse that has just beaten.
    pub fn new() -> Self {
        Self { begun: Instant::now(), last: Arc::new(AtomicU64::new(0)) }
    }

    /// Says that the loop turns.
    pub fn beat(&self) {
        self.last.store(millis(self.begun.elapsed()), Ordering::Relaxed);
    }

    /// Returns whether the last beat is not older than `span`.
    pub fn is_alive(&self, span: Duration) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.begun.elapsed().saturating_sub(last) <= span
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

/// Feeds systemd's watchdog twice in each of its periods for as long as every pulse has beaten
/// within one period. Without a watchdog (`WATCHDOG_USEC` unset, or meant for another process)
/// nothing is spawned.
///
/// That the task runs shows that the runtime turns; the pulses show that threads beside it do.
pub fn watchdog(pulses: Vec<Pulse>, shutdown: Shutdown) -> Option<JoinHandle<()>> {
    let period = sd_notify::watchdog_enabled()?;
    tracing::info!(period_ms = millis(period), "watchdog on");
    Some(tokio::spawn(feed(period, pulses, shutdown)))
}

async fn feed(period: Duration, pulses: Vec<Pulse>, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_alive = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // A daemon that drains at its end still lives: it is fed until the runtime ends.
            () = shutdown.wait(), if !pulses.is_empty() => return feed_without_pulses(ticks).await,
        }
        let is_alive = pulses.iter().all(|pulse| pulse.is_alive(period));
        if is_alive {
            send(&[NotifyState::Watchdog]);
        } else if was_alive {
            tracing::error!("a loop of this daemon stands still, the watchdog is no longer fed");
        }
        was_alive = is_alive;
    }
}

async fn feed_without_pulses(mut ticks: tokio::time::Interval) {
    loop {
        ticks.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd was not told");
    }
}

/// A line feed in a status would begin a message of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
