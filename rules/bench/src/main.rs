//! Times this engine and rsigma-eval on the same events and rules in one run, and prints ratios.
//!
//! `cargo run --release -- CORPUS [--events N] [--workload all|process|unique] [--rules windows|all]
//! [--rounds N] [--ours] [--only 'canh NDJSON']`
//! The engines take turns, round by round, and the medians are compared, since the machine's speed
//! drifts. Loading is timed apart.

mod ours;
mod peer;
mod workload;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use canh_sigma::Routing;

use crate::ours::Ours;
use crate::peer::{Mode, Peer};
use crate::workload::Workload;

struct Options {
    corpus: PathBuf,
    events: usize,
    workload: Workload,
    rules: Vec<PathBuf>,
    rounds: usize,
    with_peer: bool,
    only: Option<String>,
}

fn main() -> Result<()> {
    let options = options()?;
    let data = workload::load(&options.corpus, options.workload, options.events)?;
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    println!("{:?}: {} events, {:.0} bytes each", options.workload, lines.len(), data.len() as f64 / lines.len() as f64);

    let start = Instant::now();
    let ours = Ours::load(&options.rules)?;
    println!("canh loads {} rules, refuses {}, in {:.2?}", ours.rules.rules().len(), ours.refused, start.elapsed());
    let nothing = Ours::load(&[])?;
    let peer = match options.with_peer {
        true => {
            let start = Instant::now();
            let peer = Peer::load(&options.rules)?;
            println!("rsigma loads {} rules, refuses {}, in {:.2?}", peer.loaded, peer.refused, start.elapsed());
            Some(peer)
        }
        false => None,
    };
    compare(&options, &ours, &nothing, peer.as_ref(), &lines, data.len())?;
    if let Some(peer) = &peer {
        differences(&ours, peer, &lines);
    }
    Ok(())
}

fn compare(options: &Options, ours: &Ours, nothing: &Ours, peer: Option<&Peer>, lines: &[&[u8]], bytes: usize) -> Result<()> {
    let needs_batches = options.only.as_deref().is_none_or(|only| only == "canh batches");
    let batches = if needs_batches { ours::decode(lines)? } else { Vec::new() };
    let names = ["rsigma routed", "rsigma default", "canh NDJSON", "canh reading alone", "canh 2 threads", "canh batches"];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); names.len()];
    let mut hits = vec![0; names.len()];
    for round in 0..options.rounds {
        let mut note = |index: usize, found: usize, took: Duration| {
            if round > 0 || options.rounds == 1 {
                times[index].push(took);
            }
            hits[index] = found;
        };
        if let Some(peer) = peer {
            for (index, mode) in [(0, Mode::Routed), (1, Mode::Everything)] {
                let start = Instant::now();
                let found = peer.run(lines, mode, None);
                note(index, found, start.elapsed());
            }
        }
        let wanted = |index: usize| options.only.as_deref().is_none_or(|only| names[index] == only);
        if wanted(2) {
            let mut matcher = ours.lines();
            let start = Instant::now();
            let found = matcher.run(lines, Routing::ByLogsource, None);
            note(2, found, start.elapsed());
        }
        if wanted(3) {
            let mut matcher = nothing.lines();
            let start = Instant::now();
            let found = matcher.run(lines, Routing::ByLogsource, None);
            note(3, found, start.elapsed());
        }
        if wanted(4) {
            let start = Instant::now();
            let halves = lines.split_at(lines.len() / 2);
            let found = std::thread::scope(|scope| {
                let other = scope.spawn(|| ours.lines().run(halves.1, Routing::ByLogsource, None));
                ours.lines().run(halves.0, Routing::ByLogsource, None) + other.join().unwrap_or_default()
            });
            note(4, found, start.elapsed());
        }
        if wanted(5) {
            let (found, took) = ours::run_batches(&ours.program, &batches);
            note(5, found, took);
        }
    }
    println!("\n{:20} {:>10} {:>8} {:>8} {:>9} {:>14}", "", "events/s", "MB/s", "us/event", "hits", "rsigma routed=1");
    let median = |list: &mut Vec<Duration>| {
        list.sort();
        list.get(list.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
    };
    let base = median(&mut times[0]);
    for (index, name) in names.iter().enumerate() {
        let seconds = median(&mut times[index]);
        if seconds.is_nan() {
            continue;
        }
        let events = lines.len() as f64 / seconds;
        println!(
            "{name:20} {events:>10.0} {:>8.0} {:>8.2} {:>9} {:>14.2}",
            bytes as f64 / seconds / 1e6, seconds * 1e6 / lines.len() as f64, hits[index], base / seconds
        );
    }
    println!("peak RSS of this process: {} MB", peak_rss_mb());
    Ok(())
}

/// Prints where the two engines disagree: rule by rule, how many hits only one of them has.
fn differences(ours: &Ours, peer: &Peer, lines: &[&[u8]]) {
    let lines = &lines[..lines.len().min(50_000)];
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    let all = ours.lines().run(lines, Routing::ByLogsource, None);
    // The peer knows no second names.
    let mut matcher = ours.lines();
    matcher.with_second_names = false;
    matcher.run(lines, Routing::ByLogsource, Some(&mut mine));
    let by_second_names = all - mine.len();
    peer.run(lines, Mode::Routed, Some(&mut theirs));
    let id = |rule| ours.rules.rule(rule).map_or(String::new(), |rule| rule.id.clone());
    let mine: BTreeSet<(usize, String)> = mine.into_iter().map(|(line, rule)| (line, id(rule))).collect();
    let theirs: BTreeSet<(usize, String)> = theirs.into_iter().collect();
    let only = |one: &BTreeSet<(usize, String)>, other: &BTreeSet<(usize, String)>| {
        let mut rules: std::collections::BTreeMap<String, (usize, usize)> = Default::default();
        for (line, rule) in one.difference(other) {
            let slot = rules.entry(rule.clone()).or_insert((0, *line));
            slot.0 += 1;
        }
        rules
    };
    println!("\nagreement on {} events: {} hits in both", lines.len(), mine.intersection(&theirs).count());
    println!("{by_second_names} more hits of canh by second names of fields, left out below");
    for (name, rules) in [("canh", only(&mine, &theirs)), ("rsigma", only(&theirs, &mine))] {
        for (rule, (count, line)) in rules {
            println!("only {name}: {rule} x{count}, first on line {line}");
        }
    }
}

fn options() -> Result<Options> {
    let mut arguments = std::env::args().skip(1);
    let corpus = PathBuf::from(arguments.next().context("the corpus folder is missing")?);
    let sigma = corpus.join("sigma-rules");
    let mut options = Options {
        events: 400_000,
        workload: Workload::All,
        rules: vec![sigma.join("rules/windows")],
        rounds: 4,
        with_peer: true,
        only: None,
        corpus,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--events" => options.events = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--ours" => options.with_peer = false,
            "--only" => options.only = Some(value()?),
            "--workload" => {
                options.workload = match value()?.as_str() {
                    "all" => Workload::All,
                    "process" => Workload::ProcessCreation,
                    "unique" => Workload::Unique,
                    other => bail!("no workload {other:?}"),
                }
            }
            "--rules" => {
                options.rules = match value()?.as_str() {
                    "windows" => vec![sigma.join("rules/windows")],
                    "all" => vec![sigma.join("rules")],
                    other => bail!("no rule set {other:?}"),
                }
            }
            other => bail!("no option {other:?}"),
        }
    }
    Ok(options)
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
