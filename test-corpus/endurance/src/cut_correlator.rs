//! The power of the correlator is cut: every incident its API has shown and every acknowledgement it
//! has confirmed must be there, and no incident twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::api::{Api, Incidents};
use crate::attacks::Attacks;
use crate::chance::Chance;
use crate::daemon::POLL;
use crate::image::Image;
use crate::oracle::Oracle;
use crate::stage::{Stage, start_collector};
use crate::view::View;
use crate::witness::Witness;

const IMAGE_BYTES: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the API has confirmed.
#[derive(Debug, Default)]
struct Confirmed {
    /// The address each incident is about.
    shown: BTreeMap<String, String>,
    acknowledged: Vec<String>,
}

/// Cuts so often; returns what was shown.
///
/// # Errors
/// Something confirmed is lost, or an incident is doubled.
pub(crate) fn run(stage: &Stage, cuts: u64, chance: &mut Chance) -> anyhow::Result<String> {
    let mut image = Image::make(&stage.path("correlator.img"), IMAGE_BYTES)?;
    let state = stage.path("state/collector-of-correlator");
    let collector = start_collector(&stage.collector(&state, "")?)?;
    let journal = state.join("journal");
    let program = stage.correlator("correlator", &image.path("correlator"), &journal)?;
    let api = Api::new(&stage.path("correlator.sock"));
    let oracle: Arc<Mutex<Oracle>> = Arc::default();
    let mut witness = Witness::new(stage.address, stage.certify("witness")?, chance.next(), Arc::clone(&oracle))?;
    let (mut attacks, mut confirmed) = (Attacks::default(), Confirmed::default());
    let mut daemon = program.start()?;
    for cut in 1..=cuts {
        attack(&mut witness, &mut attacks, &mut lock(&oracle), chance);
        witness.drain(PATIENCE)?;
        let known = confirmed.shown.len();
        confirmed.wait_for_more(&api, known)?;
        if chance.once_in(2) {
            confirmed.act(&api, chance)?;
        }
        daemon.freeze()?;
        image = image.cut(|| daemon.kill())?;
        daemon = program.start()?;
        confirmed.check(&answered(&api)?).with_context(|| format!("cut {cut} of the correlator"))?;
    }
    witness.drain(PATIENCE)?;
    api.correlated(View::of(&journal)?.last_batch(), PATIENCE)?;
    let incidents = api.incidents()?;
    attacks.check(&incidents)?;
    confirmed.check(&incidents)?;
    daemon.stop()?;
    collector.stop()?;
    Ok(format!(
        "{cuts} cuts of the correlator's ledger and view, {} attacks are one incident each, {} acknowledgements confirmed and kept",
        attacks.len(),
        confirmed.acknowledged.len()
    ))
}

fn attack(witness: &mut Witness, attacks: &mut Attacks, oracle: &mut Oracle, chance: &mut Chance) {
    for _ in 0..chance.between(2, 12) {
        for (id, line) in attacks.next("witness", oracle, chance) {
            witness.hold(id, line);
        }
    }
}

/// Returns the incidents once the correlator answers.
fn answered(api: &Api) -> anyhow::Result<Incidents> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match api.incidents() {
            Ok(incidents) => return Ok(incidents),
            Err(error) => ensure!(Instant::now() < deadline, "the correlator does not answer: {error:#}"),
        }
        sleep(POLL);
    }
}

impl Confirmed {
    /// Waits until the API shows an incident more than before, and notes all it shows.
    fn wait_for_more(&mut self, api: &Api, before: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.shown.len() <= before {
            ensure!(Instant::now() < deadline, "an attack becomes no incident");
            if let Ok(incidents) = api.incidents() {
                self.shown.extend(incidents.into_iter().map(|(number, incident)| (number, incident.address)));
            }
        }
        Ok(())
    }

    fn act(&mut self, api: &Api, chance: &mut Chance) -> anyhow::Result<()> {
        let numbers: Vec<String> = self.shown.keys().cloned().collect();
        for _ in 0..chance.between(1, 3) {
            let number = chance.pick(&numbers).context("an incident is shown")?;
            api.acknowledge(number)?;
            self.acknowledged.push(number.clone());
        }
        Ok(())
    }

    fn check(&self, incidents: &Incidents) -> anyhow::Result<()> {
        for (number, address) in &self.shown {
            let incident = incidents.get(number).with_context(|| format!("{number} was shown and is gone"))?;
            ensure!(incident.address == *address, "{number} was about {address}, is about {}", incident.address);
        }
        for number in &self.acknowledged {
            let kept = incidents.get(number).is_some_and(|incident| incident.is_acknowledged);
            ensure!(kept, "the acknowledgement of {number} was confirmed and is gone");
        }
        let mut addresses: Vec<&String> = incidents.values().map(|incident| &incident.address).collect();
        addresses.sort_unstable();
        ensure!(addresses.windows(2).all(|pair| pair.first() != pair.last()), "two incidents are the same");
        Ok(())
    }
}

fn lock(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}
