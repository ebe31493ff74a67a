//! The power of the collector is cut: everything it acknowledged to the witness must be in its journal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;

use crate::chance::Chance;
use crate::image::Image;
use crate::line::{self, plain};
use crate::oracle::{Demand, Oracle};
use crate::stage::{Stage, start_collector};
use crate::view::View;
use crate::witness::Witness;

const IMAGE_BYTES: u64 = 512 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Cuts so often; returns what was shown.
///
/// # Errors
/// Something acknowledged is lost, doubled or changed.
pub(crate) fn run(stage: &Stage, cuts: u64, chance: &mut Chance) -> anyhow::Result<String> {
    let mut image = Image::make(&stage.path("collector.img"), IMAGE_BYTES)?;
    let state = image.path("collector");
    let program = stage.collector(&state, "[journal]\nsegment_bytes = \"2MiB\"\nmax_bytes = \"400MiB\"\n")?;
    let oracle: Arc<Mutex<Oracle>> = Arc::default();
    let mut witness = Witness::new(stage.address, stage.certify("witness")?, chance.next(), Arc::clone(&oracle))?;
    let mut daemon = start_collector(&program)?;
    let mut under_way = 0;
    for cut in 1..=cuts {
        let goal = lock(&oracle).acknowledged() + chance.between(1, 3_000);
        while lock(&oracle).acknowledged() < goal {
            if witness.held() < 1_000 {
                hold(&mut witness, &oracle, chance);
            }
            witness.connect()?;
            witness.send()?;
            witness.listen(PATIENCE);
        }
        daemon.freeze()?;
        // What was on its way was sent before the cut, so it is promised too.
        while witness.listen(Duration::from_millis(30)) {}
        witness.hang_up();
        under_way += witness.held();
        image = image.cut(|| daemon.kill())?;
        daemon = start_collector(&program).with_context(|| format!("after cut {cut} of the collector"))?;
        let view = View::of(&state.join("journal"))?;
        lock(&oracle).check(&view, Demand::Acknowledged).with_context(|| format!("cut {cut} of the collector"))?;
        witness.connect().with_context(|| format!("cut {cut} of the collector"))?;
    }
    witness.drain(PATIENCE)?;
    daemon.stop()?;
    let oracle = lock(&oracle);
    oracle.check(&View::of(&state.join("journal"))?, Demand::Everything)?;
    Ok(format!(
        "{cuts} cuts of the collector's journal, {} lines acknowledged, {under_way} more under way at a cut",
        oracle.acknowledged()
    ))
}

/// Gives the witness some lines to send.
fn hold(witness: &mut Witness, oracle: &Mutex<Oracle>, chance: &mut Chance) {
    for _ in 0..chance.between(1, 400) {
        let length = chance.between(10, 300);
        let (id, line) = lock(oracle).issue(|id| plain(line::now(), "witness", id, length, chance));
        witness.hold(id, line);
    }
}

fn lock(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}
