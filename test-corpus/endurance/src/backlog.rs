//! A day without a collector: the agent keeps what its host writes, and drains it when the collector
//! is back.
//!
//! ```text
//!  lines of 24 hours ──► file ──► log agent ──► spool                     the collector is away
//!  (written as fast as it goes)     kill -9, start  ──► first ACK ──► drain ──► journal
//! ```
//!
//! Faked is the clock of the lines alone: their times are spread over the last 24 hours, but they are
//! written and read as fast as it goes. Everything else is the daemons' own doing.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use canh_event::Timestamp;

use crate::chance::Chance;
use crate::daemon::{Daemon, POLL, Program};
use crate::line::{self, plain};
use crate::oracle::{Demand, Oracle};
use crate::report::say;
use crate::stage::{LogAgent, Stage, start_collector};
use crate::view::View;

const HOST: &str = "web-01";
const SPOOLED: &str = "canh_agent_records_spooled_total";
const ACKNOWLEDGED: &str = "canh_agent_records_acknowledged_total";
const DAY: u64 = 86_400;
/// A day's lines of one host as the goal has it: 231 a second. It must drain at five times that.
const DAY_LINES: u64 = 20_000_000;
const LEAST_RATE: u64 = 5 * DAY_LINES / DAY;
/// How soon a restart must be back at its first acknowledgement.
const FIRST_ACK: Duration = Duration::from_secs(5);
/// Bytes of a log file before it is rotated; the one before it is then removed.
const FILE_BYTES: u64 = 128 << 20;
/// Of the drain, the part before memory is looked at: buffers have grown by then.
const WARM_PART: u64 = 5;
/// What memory may still grow by after that.
const GROWTH_BYTES: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Both ends and what they know.
struct Backlog {
    stage: Stage,
    agent: Program,
    collector: Program,
    oracle: Oracle,
    chance: Chance,
    lines: u64,
    letters: u64,
    begins: Timestamp,
}

/// The most memory each end has held, in the first and in the second half of the drain.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    halves: [(u64, u64); 2],
}

/// Runs the day.
///
/// # Errors
/// A promise or a bound is broken, or the stage is.
pub(crate) fn run(bin: &Path, seed: u64, lines: u64, letters: u64) -> anyhow::Result<()> {
    let mut chance = Chance::new(seed);
    let stage = Stage::open(bin, "backlog", &mut chance)?;
    let collector = stage.collector(&stage.path("state/collector"), "[journal]\nmax_bytes = \"64GiB\"\n")?;
    let (spool, file) = (stage.path("state/spool"), stage.path("logs/day.log"));
    let agent =
        stage.log_agent(&LogAgent { name: HOST, spool, files: vec![file], ship: "spool_max_bytes = \"32GiB\"" })?;
    let begins = line::now().saturating_sub(Duration::from_secs(DAY));
    let mut backlog = Backlog { stage, agent, collector, oracle: Oracle::default(), chance, lines, letters, begins };
    backlog.fill()?;
    backlog.drain()?;
    backlog.start_with_full_journal()?;
    let view = View::of(&backlog.stage.path("state/collector/journal"))?;
    backlog.oracle.check(&view, Demand::Everything)?;
    say(&format!("backlog: passed: {} lines, each in the journal once and unchanged", view.rows()));
    Ok(())
}

impl Backlog {
    /// Has the agent read a day's lines with nobody to send them to, and kills it.
    fn fill(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut agent = self.agent.start()?;
        let (path, old) = (self.stage.path("logs/day.log"), self.stage.path("logs/day.log.1"));
        let mut in_old = 0;
        while self.oracle.written() < self.lines {
            self.write_file(&path)?;
            // The file before this one goes once all of it is in the spool.
            wait_for(&mut agent, SPOOLED, in_old)?;
            in_old = self.oracle.written();
            fs::rename(&path, &old).context("while rotating")?;
        }
        wait_for(&mut agent, SPOOLED, self.oracle.written())?;
        let seconds = begun.elapsed().as_secs_f64();
        agent.kill()?;
        say(&format!(
            "backlog: {} lines written and spooled in {seconds:.0} s ({:.0} lines/s), spool {} MiB",
            self.oracle.written(),
            self.oracle.written() as f64 / seconds,
            folder_bytes(&self.stage.path("state/spool"))? >> 20
        ));
        Ok(())
    }

    /// Writes lines until the file is as long as it gets, or the day is over.
    fn write_file(&mut self, path: &PathBuf) -> anyhow::Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        let mut bytes = 0;
        while bytes < FILE_BYTES && self.oracle.written() < self.lines {
            let passed =
                Duration::from_secs(DAY).as_nanos() * u128::from(self.oracle.written()) / u128::from(self.lines);
            let time = self.begins.saturating_add(Duration::from_micros(u64::try_from(passed / 1_000)?));
            let (_, line) = self.oracle.issue(|id| plain(time, HOST, id, self.letters, &mut self.chance));
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
            bytes += line.len() as u64 + 1;
        }
        Ok(file.flush()?)
    }

    /// Starts both ends and drains the spool; the collector is killed once on the way.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut collector = start_collector(&self.collector)?;
        let mut agent = self.agent.start()?;
        let begun = Instant::now();
        wait_for(&mut agent, ACKNOWLEDGED, 1)?;
        first_ack("the agent with the whole backlog in its spool", agent.age())?;

        let part = self.lines / WARM_PART;
        wait_for(&mut agent, ACKNOWLEDGED, part / 2)?;
        collector.kill()?;
        let before = agent.page()?.sum(ACKNOWLEDGED);
        collector = start_collector(&self.collector)?;
        wait_for(&mut agent, ACKNOWLEDGED, before + 1)?;
        first_ack("the collector, killed while it drains,", collector.age())?;

        wait_for(&mut agent, ACKNOWLEDGED, part)?;
        let memory = self.watch(&mut agent, &mut collector)?;
        let seconds = begun.elapsed().as_secs_f64();
        let rate = self.lines as f64 / seconds;
        say(&format!(
            "backlog: drained in {seconds:.1} s: {rate:.0} lines/s, {:.1} times the {LEAST_RATE} lines/s that are five times \
             {DAY_LINES} lines in {DAY} s, and {:.0} times as fast as these {} lines in a day are made",
            rate / LEAST_RATE as f64,
            rate * DAY as f64 / self.lines as f64,
            self.lines
        ));
        memory.judge()?;
        ensure!(rate >= LEAST_RATE as f64, "{LEAST_RATE} lines/s are the least");
        agent.stop()?;
        collector.kill()
    }

    fn watch(&self, agent: &mut Daemon, collector: &mut Daemon) -> anyhow::Result<Memory> {
        let mut memory = Memory::default();
        let (begins, deadline) = (agent.page()?.sum(ACKNOWLEDGED), Instant::now() + PATIENCE);
        loop {
            collector.must_live()?;
            let acknowledged = agent.page()?.sum(ACKNOWLEDGED);
            let is_second = acknowledged - begins > (self.lines - begins) / 2;
            memory.note(usize::from(is_second), agent.resident_bytes()?, collector.resident_bytes()?);
            if acknowledged >= self.lines {
                return Ok(memory);
            }
            ensure!(Instant::now() < deadline, "{acknowledged} of {} lines are acknowledged in time", self.lines);
            sleep(Duration::from_millis(100));
        }
    }

    /// A collector with everything in its journal is as soon at its first acknowledgement.
    fn start_with_full_journal(&mut self) -> anyhow::Result<()> {
        let bytes = folder_bytes(&self.stage.path("state/collector/journal"))?;
        let (_, line) = self.oracle.issue(|id| plain(line::now(), HOST, id, self.letters, &mut self.chance));
        fs::write(self.stage.path("logs/day.log"), format!("{line}\n"))?;
        let mut agent = self.agent.start()?;
        wait_for(&mut agent, SPOOLED, 1)?;
        let collector = start_collector(&self.collector)?;
        wait_for(&mut agent, ACKNOWLEDGED, 1)?;
        first_ack(&format!("the collector with {} MiB in its journal", bytes >> 20), collector.age())?;
        agent.stop()?;
        collector.stop()
    }
}

impl Memory {
    fn note(&mut self, half: usize, agent: u64, collector: u64) {
        if let Some((most_agent, most_collector)) = self.halves.get_mut(half) {
            *most_agent = agent.max(*most_agent);
            *most_collector = collector.max(*most_collector);
        }
    }

    fn judge(&self) -> anyhow::Result<()> {
        let [first, second] = self.halves;
        for (who, first, second) in [("agent", first.0, second.0), ("collector", first.1, second.1)] {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            say(&format!(
                "backlog: {who}'s RSS at most {:.1} MiB in the first half of the drain, {:.1} MiB in the second",
                mib(first),
                mib(second)
            ));
            ensure!(second <= first + first / 4 + GROWTH_BYTES, "the {who}'s memory is not flat");
        }
        Ok(())
    }
}

fn first_ack(who: &str, took: Duration) -> anyhow::Result<()> {
    say(&format!("backlog: {who} is at its first acknowledgement {:.2} s after its start", took.as_secs_f64()));
    ensure!(took < FIRST_ACK, "the first acknowledgement must come within {} s", FIRST_ACK.as_secs());
    Ok(())
}

/// Waits until a metric of the agent has come to a value.
fn wait_for(agent: &mut Daemon, metric: &str, value: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        agent.must_live()?;
        let now = agent.page()?.sum(metric);
        if now >= value {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{metric} is {now}, not {value}, in time");
        sleep(POLL);
    }
}

fn folder_bytes(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
