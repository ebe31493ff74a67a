//! R2: the power is cut right after an acknowledgement, in three series: the collector's journal, the
//! agent's spool, the correlator's ledger and view. Each series goes on with what a cut has left, as a
//! machine does.

use std::path::Path;
use std::time::Instant;

use crate::careless::check_method;
use crate::chance::Chance;
use crate::image::missing;
use crate::report::say;
use crate::stage::Stage;
use crate::{cut_agent, cut_collector, cut_correlator};

/// Cuts of a writer with and of one without a sync, to show that the method tells them apart.
const METHOD_CUTS: u64 = 3;

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// There are no file systems in files here; it was said why.
    Skipped,
}

/// Runs R2: half of the cuts for the collector, a quarter each for agent and correlator.
///
/// # Errors
/// A promise is broken, or the stage is.
pub(crate) fn run(bin: &Path, seed: u64, cuts: u64) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let mut chance = Chance::new(seed);
    let stage = Stage::open(bin, "power", &mut chance)?;
    if let Some(why) = missing(&stage.path("state")) {
        say(&format!("power: skipped, {why}"));
        return Ok(Outcome::Skipped);
    }
    check_method(&stage.path("state"), METHOD_CUTS, &mut chance)?;
    let quarter = cuts / 4;
    say(&format!("power: {}", cut_collector::run(&stage, cuts - 2 * quarter, &mut chance)?));
    say(&format!("power: {}", cut_agent::run(&stage, quarter, &mut chance)?));
    say(&format!("power: {}", cut_correlator::run(&stage, quarter, &mut chance)?));
    say(&format!(
        "power: passed in {} s, nothing acknowledged was lost, nothing was doubled",
        begun.elapsed().as_secs()
    ));
    Ok(Outcome::Passed)
}
