//! R1: the agents, the collector and the correlator are killed at random moments, again and again,
//! under load.
//!
//! ```text
//!  load ──► files ──► two log agents ─┐
//!                     (kill -9)       ├─► collector ──► journal ──► correlator ──► incidents
//!  witness, writes down every ACK ────┘   (kill -9)                 (kill -9)
//! ```
//!
//! After every kill of the collector whatever the witness had acknowledged must be in the journal. At
//! the end the faults stop; every line written must be there once and unchanged, a fresh line must
//! arrive, and the incidents must be those a correlator finds that was never killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use crate::api::Api;
use crate::attacks::Attacks;
use crate::chance::Chance;
use crate::daemon::{Daemon, Program};
use crate::line::{self, plain};
use crate::load::{Load, Target, Written};
use crate::oracle::{Demand, Oracle};
use crate::report::say;
use crate::stage::{LogAgent, Stage};
use crate::view::View;
use crate::witness::Witness;

/// Hosts, each with an agent that reads files.
const HOSTS: [&str; 2] = ["web-01", "db-01"];
const FILES_PER_HOST: usize = 3;
/// Longest wait for everything to arrive once the faults have stopped. An agent waits up to 30 s
/// before it connects again.
const DRAIN: Duration = Duration::from_secs(120);
/// Lines the witness has under way at most.
const WITNESS_LINES: usize = 600;

/// One who may be killed.
struct Victim {
    name: &'static str,
    program: Program,
    running: Option<Daemon>,
    /// When it is started again.
    due: Instant,
    kills: u64,
}

/// Everybody, and what is known.
struct Theatre {
    stage: Stage,
    victims: Vec<Victim>,
    oracle: Arc<Mutex<Oracle>>,
    view: View,
    /// Incidents whose acknowledgement the correlator has confirmed.
    acknowledged: BTreeSet<String>,
}

/// Runs R1.
///
/// # Errors
/// A promise is broken, or the stage is.
pub(crate) fn run(bin: &Path, seed: u64, cuts: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut chance = Chance::new(seed);
    let mut theatre = Theatre::open(bin, &mut chance)?;
    let targets = theatre.targets();
    let load = Load::start(&targets, Arc::clone(&theatre.oracle), chance.part())?;
    theatre.start_all()?;
    let witness = WitnessThread::start(&theatre, chance.part())?;
    theatre.cut(cuts, &mut chance)?;
    theatre.start_all()?;
    let written = load.end()?;
    witness.end()?;
    theatre.drain()?;
    theatre.fresh_lines(&targets, &mut chance)?;
    let summary = theatre.judge(&written)?;
    say(&format!("kills: passed in {} s: {summary}", begun.elapsed().as_secs()));
    Ok(())
}

impl Theatre {
    fn open(bin: &Path, chance: &mut Chance) -> anyhow::Result<Self> {
        let stage = Stage::open(bin, "kills", chance)?;
        let (state, journal) = (stage.path("state/collector"), stage.path("state/collector/journal"));
        // Small segments and checkpoints, so that cuts meet their borders.
        let collector = stage.collector(&state, "[journal]\nsegment_bytes = \"4MiB\"\nmax_bytes = \"8GiB\"\n")?;
        let correlator = stage.correlator("correlator", &stage.path("state/correlator"), &journal)?;
        let mut programs = vec![("collector", collector), ("correlator", correlator)];
        for host in HOSTS {
            let files = files_of(&stage, host);
            let spool = stage.path(&format!("state/{host}-spool"));
            let ship = "spool_max_bytes = \"64MiB\"\nbatch_wait = \"50ms\"";
            programs.push(("log agent", stage.log_agent(&LogAgent { name: host, spool, files, ship })?));
        }
        let victim = |(name, program)| Victim { name, program, running: None, due: Instant::now(), kills: 0 };
        let victims = programs.into_iter().map(victim).collect();
        let (oracle, view) = (Arc::default(), View::default());
        Ok(Self { stage, victims, oracle, view, acknowledged: BTreeSet::new() })
    }

    fn targets(&self) -> Vec<Target> {
        let of = |host: &&str| files_of(&self.stage, host).into_iter().map(|path| (host.to_string(), path)).collect();
        let pairs: Vec<Vec<(String, PathBuf)>> = HOSTS.iter().map(of).collect();
        pairs.into_iter().flatten().map(|(host, path)| Target { host, path }).collect()
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for victim in self.victims.iter_mut().filter(|victim| victim.running.is_none()) {
            victim.running = Some(victim.program.start()?);
        }
        Ok(())
    }

    fn journal(&self) -> PathBuf {
        self.stage.path("state/collector/journal")
    }

    fn api(&self) -> Api {
        Api::new(&self.stage.path("correlator.sock"))
    }

    /// Kills, one after the other; who was killed comes back a little later, while others are killed.
    fn cut(&mut self, cuts: u64, chance: &mut Chance) -> anyhow::Result<()> {
        let mut cut = 0;
        while cut < cuts {
            // Now and then two or more are killed at the same moment.
            self.pass_time(if chance.once_in(5) { Duration::ZERO } else { chance.millis(20, 900) })?;
            let up: Vec<usize> =
                (0..).zip(&self.victims).filter(|(_, it)| it.running.is_some()).map(|(index, _)| index).collect();
            // All may be dead at once.
            let Some(index) = chance.pick(&up).copied() else { continue };
            cut += 1;
            let victim = self.victims.get_mut(index).context("it was found just now")?;
            let daemon = victim.running.take().context("it runs")?;
            daemon.kill().with_context(|| format!("while making cut {cut}, of the {}", victim.name))?;
            victim.kills += 1;
            victim.due = Instant::now() + if chance.once_in(3) { Duration::ZERO } else { chance.millis(0, 700) };
            if victim.name == "collector" {
                self.look().with_context(|| format!("after cut {cut}, of the collector"))?;
            }
            if chance.once_in(4) {
                self.act(chance);
            }
        }
        Ok(())
    }

    /// Starts whoever is due, for a while; nobody may end by himself.
    fn pass_time(&mut self, span: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + span;
        loop {
            let now = Instant::now();
            for victim in &mut self.victims {
                match &mut victim.running {
                    Some(daemon) => daemon.must_live().with_context(|| format!("the {}", victim.name))?,
                    None if victim.due <= now => victim.running = Some(victim.program.start()?),
                    None => {}
                }
            }
            if now >= until {
                return Ok(());
            }
            sleep(Duration::from_millis(5).min(until - now));
        }
    }

    /// What is acknowledged at this moment is in the journal of a collector that is dead.
    fn look(&mut self) -> anyhow::Result<()> {
        let journal = self.journal();
        // Killed before it made its journal: then nothing was acknowledged either.
        if !journal.join("durable").exists() {
            return Ok(());
        }
        let oracle = Arc::clone(&self.oracle);
        let oracle = lock(&oracle);
        self.view.read_on(&journal)?;
        oracle.check(&self.view, Demand::Acknowledged)
    }

    /// Acknowledges an incident, if the correlator is there to confirm it.
    fn act(&mut self, chance: &mut Chance) {
        let api = self.api();
        let Ok(incidents) = api.incidents() else { return };
        let numbers: Vec<String> = incidents.into_keys().collect();
        if let Some(number) = chance.pick(&numbers)
            && api.acknowledge(number).is_ok()
        {
            self.acknowledged.insert(number.clone());
        }
    }

    /// Waits until every line written is in the journal.
    fn drain(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        let expected = lock(&self.oracle).expected();
        let journal = self.journal();
        while self.view.rows() < expected {
            ensure!(
                Instant::now() < deadline,
                "{} of {expected} lines are in the journal in time: {:?}",
                self.view.rows(),
                lock(&self.oracle).check(&self.view, Demand::Everything)
            );
            self.pass_time(Duration::from_millis(100))?;
            self.view.read_on(&journal)?;
        }
        lock(&self.oracle).check(&self.view, Demand::Everything)
    }

    /// A fresh line of each file arrives.
    fn fresh_lines(&mut self, targets: &[Target], chance: &mut Chance) -> anyhow::Result<()> {
        for Target { host, path } in targets {
            let (_, line) = lock(&self.oracle).issue(|id| plain(line::now(), host, id, 20, chance));
            let mut file = std::fs::OpenOptions::new().append(true).open(path)?;
            std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes())?;
        }
        self.drain().context("while waiting for fresh lines")
    }

    /// Ends everybody in order and holds journal and incidents against what is known.
    fn judge(mut self, written: &Written) -> anyhow::Result<String> {
        self.api().correlated(self.view.last_batch(), DRAIN)?;
        let incidents = self.api().incidents()?;
        written.attacks.check(&incidents)?;
        for number in &self.acknowledged {
            let incident = incidents.get(number).with_context(|| format!("{number} was confirmed and is gone"))?;
            ensure!(incident.is_acknowledged, "the acknowledgement of {number} was confirmed and is gone");
        }
        let mut kills = Vec::new();
        for victim in self.victims.drain(..).rev() {
            kills.push(format!("{} {}", victim.name, victim.kills));
            victim.running.context("everybody runs at the end")?.stop().with_context(|| victim.name.to_owned())?;
        }
        // Everything once more, by a reader and by a correlator that saw none of it happen.
        let whole = View::of(&self.journal())?;
        let oracle = lock(&self.oracle);
        oracle.check(&whole, Demand::Everything)?;
        self.replay(&incidents, &whole)?;
        Ok(format!(
            "kill -9 of {}; {} lines, {} of them by the witness with an ACK written down, {} rotations; \
             each is in the journal once and unchanged; {} attacks are one incident each, {} acknowledgements kept, \
             and a replay finds the same",
            kills.join(", "),
            oracle.written(),
            oracle.acknowledged(),
            written.rotations,
            Attacks::len(&written.attacks),
            self.acknowledged.len(),
        ))
    }

    fn replay(&self, incidents: &crate::api::Incidents, whole: &View) -> anyhow::Result<()> {
        let program = self.stage.correlator("replay", &self.stage.path("state/replay"), &self.journal())?;
        let mut daemon = program.start()?;
        let api = Api::new(&self.stage.path("replay.sock"));
        api.correlated(whole.last_batch(), DRAIN)?;
        let mut again = api.incidents()?;
        for (number, incident) in &mut again {
            // An analyst's change is in the ledger only.
            incident.is_acknowledged = incidents.get(number).is_some_and(|it| it.is_acknowledged);
        }
        ensure!(again == *incidents, "a replay finds other incidents: {}", difference(incidents, &again));
        daemon.must_live()?;
        daemon.stop()
    }
}

/// Returns the first incident that is not the same.
fn difference(one: &crate::api::Incidents, other: &crate::api::Incidents) -> String {
    let numbers: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let first = numbers.into_iter().find(|number| one.get(*number) != other.get(*number));
    first.map_or_else(String::new, |number| format!("{number}: {:?} and {:?}", one.get(number), other.get(number)))
}

fn files_of(stage: &Stage, host: &str) -> Vec<PathBuf> {
    (0..FILES_PER_HOST).map(|file| stage.path(&format!("logs/{host}-{file}.log"))).collect()
}

fn lock(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The witness at work.
struct WitnessThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl WitnessThread {
    fn start(theatre: &Theatre, mut chance: Chance) -> anyhow::Result<Self> {
        let (oracle, stop) = (Arc::clone(&theatre.oracle), Arc::new(AtomicBool::new(false)));
        let files = theatre.stage.certify("witness")?;
        let mut witness = Witness::new(theatre.stage.address, files, chance.next(), Arc::clone(&oracle))?;
        let told = Arc::clone(&stop);
        let thread = spawn(move || {
            while !told.load(Ordering::Acquire) {
                if witness.held() < WITNESS_LINES {
                    for _ in 0..chance.between(1, 60) {
                        let length = chance.between(10, 200);
                        let (id, line) =
                            lock(&oracle).issue(|id| plain(line::now(), "witness", id, length, &mut chance));
                        witness.hold(id, line);
                    }
                }
                if !witness.connect()? {
                    sleep(Duration::from_millis(20));
                }
                witness.send()?;
                witness.listen(Duration::from_millis(30));
            }
            witness.drain(DRAIN)
        });
        Ok(Self { stop, thread })
    }

    fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the witness panicked"))?.context("the witness")
    }
}
