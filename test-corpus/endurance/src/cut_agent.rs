//! The power of a host is cut: every line its agent counted as spooled must arrive, once.
//!
//! At about every other cut, by chance, the log file is lost with the power, so that only the spool can have the lines
//! and not a second reading of the file. The collector is on another machine and lives on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::chance::Chance;
use crate::daemon::POLL;
use crate::image::Image;
use crate::line::{self, plain};
use crate::oracle::{Demand, Oracle};
use crate::stage::{LogAgent, Stage, start_collector};
use crate::view::View;

const IMAGE_BYTES: u64 = 256 << 20;
const HOST: &str = "web-01";
const SPOOLED: &str = "canh_agent_records_spooled_total";
const PATIENCE: Duration = Duration::from_secs(60);

/// Cuts so often; returns what was shown.
///
/// # Errors
/// A spooled line is lost, or one is doubled or changed.
pub(crate) fn run(stage: &Stage, cuts: u64, chance: &mut Chance) -> anyhow::Result<String> {
    let mut image = Image::make(&stage.path("agent.img"), IMAGE_BYTES)?;
    let state = stage.path("state/collector-of-agent");
    let collector_program = stage.collector(&state, "")?;
    let journal = state.join("journal");
    let (spool, file) = (image.path("spool"), stage.path("logs/app.log"));
    let ship = "spool_max_bytes = \"64MiB\"\nbatch_wait = \"20ms\"";
    let program = stage.log_agent(&LogAgent { name: HOST, spool, files: vec![file.clone()], ship })?;
    let (mut oracle, mut view, mut files_lost) = (Oracle::default(), View::default(), 0);
    let mut collector = Some(start_collector(&collector_program)?);
    for cut in 1..=cuts {
        // A collector that is away leaves everything to the spool.
        if !chance.once_in(3)
            && let Some(daemon) = collector.take()
        {
            daemon.kill()?;
        }
        let mut daemon = program.start()?;
        let first = oracle.written();
        let wanted = chance.between(1, 4_000);
        let mut spooled = 0;
        while spooled < wanted {
            append(&file, &mut oracle, chance)?;
            sleep(POLL);
            spooled = daemon.page()?.sum(SPOOLED);
        }
        daemon.freeze()?;
        // One file, read in order: so many of its lines are promised.
        (first..first + spooled).for_each(|id| oracle.acknowledge(id));
        let is_file_lost = chance.once_in(2);
        image = image.cut(|| daemon.kill())?;
        if is_file_lost {
            fs::remove_file(&file)?;
            (first..oracle.written()).for_each(|id| oracle.excuse(id));
            oracle.lose_file();
            files_lost += 1;
        }
        if collector.is_none() {
            collector = Some(start_collector(&collector_program)?);
        }
        let mut daemon = program.start()?;
        daemon.page()?;
        arrive(&oracle, &mut view, &journal)
            .with_context(|| format!("cut {cut} of the agent, log file lost: {is_file_lost}"))?;
        daemon.stop()?;
    }
    oracle.check(&View::of(&journal)?, Demand::Everything)?;
    Ok(format!(
        "{cuts} cuts of the agent's spool, {files_lost} of them with the log file lost too, {} lines spooled",
        oracle.acknowledged()
    ))
}

fn append(file: &Path, oracle: &mut Oracle, chance: &mut Chance) -> anyhow::Result<()> {
    let mut text = String::new();
    for _ in 0..chance.between(1, 400) {
        let length = chance.between(10, 300);
        text.push_str(&oracle.issue(|id| plain(line::now(), HOST, id, length, chance)).1);
        text.push('\n');
    }
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Waits until everything that must arrive is in the journal.
fn arrive(oracle: &Oracle, view: &mut View, journal: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        view.read_on(journal)?;
        match oracle.check(view, Demand::Everything) {
            Ok(()) => return Ok(()),
            Err(error) => ensure!(Instant::now() < deadline, "not in time: {error:#}"),
        }
        sleep(Duration::from_millis(20));
    }
}
