//! Reloads: configuration and rules are read again, and taken over whole or not at all.
//!
//! Only the rules, and where they are, change while running; a changed key that needs a restart is
//! named. Correlations whose rule did not change go on where they stood.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use canh_service::config::Settings;
use canh_service::notify;
use canh_service::signals::{Reloads, Shutdown};
use tokio::sync::watch;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::passage::gauge;
use crate::rules::Rules;

/// Reloads whenever it is asked for, until the shutdown.
pub(crate) async fn answer(
    path: &Path,
    settings: &Settings,
    rules: &watch::Sender<Arc<Rules>>,
    metrics: &Metrics,
    mut reloads: Reloads,
    shutdown: &Shutdown,
) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = reloads.next() => {}
        }
        notify::reloading();
        let result = match load(path, settings, rules).await {
            Ok(fresh) => {
                show(&fresh, metrics);
                rules.send_replace(fresh);
                "taken"
            }
            Err(error) => {
                tracing::error!(error = ?format!("{error:#}"), "reload refused, the old rules stay in force");
                "refused"
            }
        };
        metrics.reloads.with_label_values(&[result]).inc();
        notify::ready(&status_line(&rules.borrow()));
    }
}

/// Says which rules are in force and which are refused.
pub(crate) fn show(rules: &Rules, metrics: &Metrics) {
    rules.say();
    metrics.rules.set(gauge(rules.len() as u64));
    metrics.rules_refused.set(gauge(rules.refused.len() as u64));
}

/// Returns the line for `systemctl status`.
pub(crate) fn status_line(rules: &Rules) -> String {
    format!("{} rules in force, {} refused", rules.len(), rules.refused.len())
}

async fn load(path: &Path, settings: &Settings, rules: &watch::Sender<Arc<Rules>>) -> anyhow::Result<Arc<Rules>> {
    let (config, fresh) = Config::load(path)?;
    for change in settings.changes(&fresh).into_iter().filter(|change| !change.reloadable) {
        tracing::warn!(key = change.path, "this key takes effect at a restart only");
    }
    let old = Arc::clone(&rules.borrow());
    let load = move || Rules::load(&config.rules, old.generation + 1).map(|fresh| fresh.count_on_from(&old));
    let loaded = tokio::task::spawn_blocking(load).await.context("while loading rules")?;
    loaded.map(Arc::new).context("while loading rules")
}
