//! R13: thousands of agents at one collector, each sending about an event a second, and all back soon
//! after a restart. Collector and agents are separate processes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

use crate::authority::Authority;
use crate::chance::Chance;
use crate::daemon::Daemon;
use crate::flock::{folder_of, name_of};
use crate::herd;
use crate::line::digest;
use crate::member::{event, id_of};
use crate::report::say;
use crate::stage::{Stage, start_collector};
use crate::view::View;

/// How soon all must be back after a restart.
const BACK: Duration = Duration::from_secs(30);
/// What an idle session may take up in the collector.
const IDLE_BYTES: u64 = 60 << 10;
/// Below so many sessions the figure says nothing.
const LEAST_TO_MEASURE: u64 = 500;
/// How long memory is left to settle before it is measured.
const SETTLE: Duration = Duration::from_secs(8);
/// Longest wait for anything else.
const PATIENCE: Duration = Duration::from_secs(180);
/// Certificates made at once: each waits for its files to be on disk.
const ISSUERS: u64 = 8;

/// What a herd last said.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    connected: u64,
    sent: u64,
    acknowledged: u64,
    failures: u64,
}

/// The herd as a process.
struct Shepherd {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    told: Told,
}

/// Runs R13.
///
/// # Errors
/// A promise or a bound is broken, or the stage is.
pub(crate) fn run(bin: &Path, seed: u64, agents: u64, span: Duration) -> anyhow::Result<()> {
    let mut chance = Chance::new(seed);
    let stage = Stage::open(bin, "crowd", &mut chance)?;
    let certificates = stage.path("certificates");
    let begun = Instant::now();
    certify(&stage, &certificates, agents)?;
    say(&format!("crowd: {agents} certificates in {:.1} s", begun.elapsed().as_secs_f64()));
    let state = stage.path("state/collector");
    let program = stage.collector(&state, "")?;
    let mut collector = start_collector(&program)?;
    sleep(SETTLE);
    let empty = collector.resident_bytes()?;

    let mut herd = Shepherd::start(&stage, &certificates, agents, chance.next())?;
    let begun = Instant::now();
    herd.wait(PATIENCE, |told| told.connected == agents).context("while all connect for the first time")?;
    say(&format!("crowd: {agents} agents connected in {:.1} s", begun.elapsed().as_secs_f64()));
    sleep(SETTLE);
    measure_idle(empty, &collector, agents)?;

    herd.order("send")?;
    let before = (herd.refresh()?.sent, Instant::now());
    herd.watch(span)?;
    let rate = (herd.told.sent - before.0) as f64 / before.1.elapsed().as_secs_f64();
    let behind = herd.told.sent - herd.told.acknowledged;
    let resident = collector.resident_bytes()? >> 20;
    say(&format!(
        "crowd: {rate:.0} events/s over {} s, {behind} under way, collector at {resident} MiB",
        span.as_secs()
    ));
    ensure!(rate > agents as f64 * 0.8, "each agent should send about one event a second");

    for how in ["killed", "stopped"] {
        let begun = Instant::now();
        if how == "killed" {
            collector.kill()?
        } else {
            collector.stop()?
        }
        collector = start_collector(&program)?;
        herd.wait(Duration::from_secs(5), |told| told.connected < agents).context("while the restart is noticed")?;
        herd.wait(PATIENCE, |told| told.connected == agents).context("while all come back")?;
        let took = begun.elapsed();
        say(&format!("crowd: collector {how} and started, all {agents} back {:.1} s after", took.as_secs_f64()));
        ensure!(took <= BACK, "all must be back within {} s", BACK.as_secs());
        herd.watch(Duration::from_secs(5))?;
    }
    herd.order("idle")?;
    herd.wait(PATIENCE, |told| told.sent == told.acknowledged).context("while everything is acknowledged")?;
    sleep(Duration::from_millis(1_500));
    let told = herd.refresh()?;
    ensure!(told.sent == told.acknowledged, "something was sent after the order to be idle");
    herd.end()?;
    collector.stop()?;
    judge(&View::of(&state.join("journal"))?, agents, told.sent)?;
    say(&format!(
        "crowd: passed: {} events, each acknowledged and in the journal once; {} connections failed or ended on the way",
        told.sent, told.failures
    ));
    Ok(())
}

fn certify(stage: &Stage, certificates: &Path, agents: u64) -> anyhow::Result<()> {
    let (program, ca) = (stage.binary("canh-collector"), stage.path("ca"));
    std::fs::create_dir_all(certificates)?;
    scope(|scope| {
        let issuers: Vec<_> = (0..ISSUERS)
            .map(|issuer| {
                let authority = Authority::existing(&program, &ca);
                scope.spawn(move || {
                    let step = usize::try_from(ISSUERS)?;
                    let mut own = (issuer..agents).step_by(step);
                    own.try_for_each(|number| authority.issue_agent(&name_of(number), &folder_of(certificates, number)))
                })
            })
            .collect();
        issuers.into_iter().try_for_each(|issuer| issuer.join().map_err(|_| anyhow!("an issuer panicked"))?)
    })
}

fn measure_idle(empty: u64, collector: &Daemon, agents: u64) -> anyhow::Result<()> {
    let full = collector.resident_bytes()?;
    let each = full.saturating_sub(empty) / agents.max(1);
    say(&format!(
        "crowd: collector's RSS {:.1} MiB with none, {:.1} MiB with {agents} idle: {:.1} KiB each",
        empty as f64 / f64::from(1 << 20),
        full as f64 / f64::from(1 << 20),
        each as f64 / 1024.0
    ));
    ensure!(agents < LEAST_TO_MEASURE || each <= IDLE_BYTES, "an idle session may take {} KiB", IDLE_BYTES >> 10);
    Ok(())
}

/// Every event of every agent is there once and unchanged, and no other.
fn judge(view: &View, agents: u64, sent: u64) -> anyhow::Result<()> {
    view.must_be_whole()?;
    ensure!(view.rows() == sent, "{sent} events were acknowledged, the journal has {}", view.rows());
    let mut found = 0;
    for number in 0..agents {
        for sequence in 1.. {
            let (count, kept) = view.line(id_of(agents, number, sequence));
            if count == 0 {
                break;
            }
            let is_right = count == 1 && kept == digest(event(agents, number, sequence).as_bytes());
            ensure!(is_right, "event {sequence} of {} is there {count} times or changed", name_of(number));
            found += 1;
        }
    }
    ensure!(found == sent, "{found} of {sent} events follow each other from their agent's first");
    Ok(())
}

impl Shepherd {
    fn start(stage: &Stage, certificates: &PathBuf, agents: u64, seed: u64) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(herd::VERB)
            .args([stage.address.to_string(), agents.to_string()])
            .arg(certificates)
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("while starting the herd")?;
        let input = child.stdin.take().context("its input is ours")?;
        let output = BufReader::new(child.stdout.take().context("its output is ours")?);
        let (sender, lines) = channel();
        spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, input, lines, told: Told::default() })
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{order}").context("while telling the herd what to do")
    }

    /// Waits until the herd says what is waited for.
    fn wait(&mut self, patience: Duration, is_it: impl Fn(&Told) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !is_it(&self.told) {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "not in time: {:?}", self.told);
            let line = self.lines.recv_timeout(left).with_context(|| format!("not in time: {:?}", self.told))?;
            self.told = Told::read(&line).ok_or_else(|| anyhow!("the herd says: {line}"))?;
        }
        Ok(())
    }

    /// Takes in everything it has said, and one line more.
    fn refresh(&mut self) -> anyhow::Result<Told> {
        while let Ok(line) = self.lines.try_recv() {
            self.told = Told::read(&line).ok_or_else(|| anyhow!("the herd says: {line}"))?;
        }
        self.watch(Duration::from_millis(150))?;
        Ok(self.told)
    }

    /// Lets it run for a while.
    fn watch(&mut self, span: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + span;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.told = Told::read(&line).ok_or_else(|| anyhow!("the herd says: {line}"))?;
        }
        ensure!(self.child.try_wait()?.is_none(), "the herd ended by itself");
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Shepherd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Told {
    fn read(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split(' ').skip(1).step_by(2).filter_map(|number| number.parse().ok()).collect();
        let [connected, sent, acknowledged, failures] = numbers.try_into().ok()?;
        line.starts_with("connected ").then_some(Self { connected, sent, acknowledged, failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_herd_says_is_understood_and_what_else_it_says_is_not() {
        let told = Told::read("connected 4 sent 3 acknowledged 2 failures 1").unwrap();
        assert_eq!((told.connected, told.sent, told.acknowledged, told.failures), (4, 3, 2, 1));
        assert!(Told::read("endurance: failed: x").is_none());
    }
}
