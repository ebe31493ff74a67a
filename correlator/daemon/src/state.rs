//! What the daemon goes on from: the store, and the correlator as of the last snapshot.

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use anyhow::Context;
use canh_correlate::{Correlator, Limits};
use canh_store::{Store, StoreOptions};

use crate::config::Config;
use crate::rules::Rules;
use crate::seed;

/// The state.
pub(crate) struct State {
    /// Ledger and view. As long as it is open no other process has them.
    pub(crate) store: Store,
    /// The correlations under way.
    pub(crate) correlator: Correlator,
    /// The bounds, with the installation's secret.
    pub(crate) limits: Limits,
    /// The last journal position in the correlator's state; never behind it by more than a
    /// snapshot's age, and never ahead of the ledger.
    pub(crate) position: u64,
}

impl State {
    /// Opens the state, or makes one.
    ///
    /// # Errors
    /// The ledger or the secret cannot be used, or another process has them. A snapshot that
    /// cannot be used is none: it is said, and the journal is read from its beginning.
    pub(crate) fn open(config: &Config, rules: &Rules) -> anyhow::Result<Self> {
        let at = || format!("while opening the state in {}", config.state_dir.display());
        fs::DirBuilder::new().recursive(true).mode(0o750).create(&config.state_dir).with_context(at)?;
        let (store, opened) = Store::open(&config.state_dir, StoreOptions::default()).with_context(at)?;
        tracing::info!(incidents = opened.incidents, position = opened.position, view = ?opened.view, "store opened");
        let limits = Limits { seed: seed::load_or_draw(&config.state_dir).with_context(at)?, ..config.limits.clone() };
        let (correlator, position) = correlator(&store, rules, &limits);
        for rule in correlator.unarmed() {
            tracing::warn!(?rule, "correlation cannot run");
        }
        tracing::info!(snapshot = position, "correlations go on from here");
        Ok(Self { store, correlator, limits, position })
    }
}

fn correlator(store: &Store, rules: &Rules, limits: &Limits) -> (Correlator, u64) {
    let anew = || (Correlator::new(&rules.set, limits.clone()), 0);
    let snapshot = match store.load_snapshot() {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return anew(),
        Err(error) => {
            tracing::error!(%error, "snapshot cannot be read, the journal is read from its beginning");
            return anew();
        }
    };
    match Correlator::restore(&rules.set, &snapshot.bytes, limits.clone()) {
        Ok(correlator) => (correlator, snapshot.position),
        Err(error) => {
            tracing::error!(%error, "snapshot cannot be used, the journal is read from its beginning");
            anew()
        }
    }
}
