//! Signals as values: a token that every task of a daemon can wait for, and a stream of requests to
//! reload.
//!
//! SIGTERM and SIGINT ask for an end, SIGHUP for a reload. What else ends a daemon (a journal that
//! cannot be synced) uses the same token through [`ShutdownTrigger`].

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a daemon hears from its host.
#[derive(Debug)]
pub struct Signals {
    /// Waits for the end.
    pub shutdown: Shutdown,
    /// Brings the end about from inside.
    pub trigger: ShutdownTrigger,
    /// The requests to reload.
    pub reloads: Reloads,
}

/// The token that says whether the daemon shall end. Clones are cheap and wait for the same end.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Brings about the end of everything that waits for its [`Shutdown`].
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// The requests to reload, in order; several that come close together are one.
#[derive(Debug)]
pub struct Reloads(Signal);

impl Signals {
    /// Begins to listen. From here on SIGTERM and SIGINT no longer end the process by themselves.
    ///
    /// # Errors
    /// The signals cannot be registered.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let (trigger, shutdown) = Shutdown::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let reloads = Reloads(signal(SignalKind::hangup())?);
        let requester = trigger.clone();
        // Ends with the first signal or with the runtime; it owns nothing that must be put away.
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "asked to stop");
            requester.request();
        });
        Ok(Self { shutdown, trigger, reloads })
    }
}

impl Shutdown {
    /// Returns a token and its trigger, without any signal: for tests and for parts of a daemon.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Returns whether the end has been asked for: for loops of threads.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until the end is asked for, or until every trigger is gone. Safe to cancel.
    pub async fn wait(&self) {
        // An error says that every trigger is gone: then nobody is left who could ask.
        let _ = self.0.clone().wait_for(|is_requested| *is_requested).await;
    }
}

impl ShutdownTrigger {
    /// Asks for the end. Asking twice is asking once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Reloads {
    /// Waits for the next request to reload. Safe to cancel.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn every_clone_sees_the_end_before_and_after_it_was_asked_for() {
        block_on(async {
            let (trigger, shutdown) = Shutdown::new();
            assert!(!shutdown.is_requested());
            let early = tokio::spawn({
                let shutdown = shutdown.clone();
                async move { shutdown.wait().await }
            });
            tokio::task::yield_now().await;
            assert!(!early.is_finished());
            trigger.request();
            early.await.unwrap();
            shutdown.wait().await;
            assert!(shutdown.is_requested());
        });
    }

    #[test]
    fn the_end_comes_when_nobody_is_left_to_ask_for_it() {
        block_on(async {
            let (trigger, shutdown) = Shutdown::new();
            drop(trigger);
            shutdown.wait().await;
            assert!(shutdown.is_requested());
        });
    }

    #[test]
    fn a_real_signal_asks_for_a_reload_and_another_for_the_end() {
        let kill = |name: &str| {
            let pid = std::process::id().to_string();
            assert!(
                std::process::Command::new("/bin/sh")
                    .args(["-c", &format!("kill -{name} {pid}")])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        block_on(async {
            let mut signals = Signals::listen().unwrap();
            kill("HUP");
            signals.reloads.next().await;
            assert!(!signals.shutdown.is_requested());
            kill("TERM");
            signals.shutdown.wait().await;
        });
    }
}
