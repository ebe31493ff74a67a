//! `canh-endurance`: shows that what the daemons promise holds while they are killed, cut off from
//! power, besieged and left behind. It runs the real programs; docs/endurance.md tells what each verb
//! proves.
//!
//! Every run says its seed; the same seed makes the same schedule. What the scheduler of the machine
//! does in between is not repeated.

mod api;
mod attacks;
mod authority;
mod backlog;
mod careless;
mod chance;
mod conversation;
mod crowd;
mod cut_agent;
mod cut_collector;
mod cut_correlator;
mod daemon;
mod flock;
mod herd;
mod image;
mod kills;
mod line;
mod load;
mod member;
mod oracle;
mod power;
mod report;
mod scrape;
mod stage;
mod view;
mod witness;
mod writer;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::power::Outcome;
use crate::report::say;

/// Shows that the daemons keep their promises while everything is done against them.
#[derive(Debug, Parser)]
#[command(name = "canh-endurance", version)]
struct Arguments {
    /// Repeats the schedule of another run. Without it: one of its own, which is said.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Where the daemons are. Without it: beside this program.
    #[arg(long, global = true)]
    bin: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Kill agents, collector and correlator at random moments under load (R1).
    Kills {
        /// How many times.
        #[arg(long, default_value_t = 200)]
        cuts: u64,
    },
    /// Cut the power of collector, agent and correlator right after an acknowledgement (R2).
    Power {
        /// How many times.
        #[arg(long, default_value_t = 60)]
        cuts: u64,
    },
    /// Connect thousands of agents, have them send, and restart the collector (R13).
    Crowd {
        /// How many agents.
        #[arg(long, default_value_t = 5_000)]
        agents: u64,
        /// How long they send before the first restart.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Let an agent keep a day's lines while the collector is away, then drain them.
    Backlog {
        /// How many lines; 20,000,000 are a day at 231 lines/s.
        #[arg(long, default_value_t = 1_000_000)]
        lines: u64,
        /// Letters of no meaning in each line, beside some 80 bytes of a head.
        #[arg(long, default_value_t = 60)]
        letters: u64,
    },
    /// A few cuts of both kinds: what `make test` has time for.
    Short {
        /// How many times in all.
        #[arg(long, default_value_t = 20)]
        cuts: u64,
    },
    /// Many agents in one process: the other end of `crowd`.
    #[command(hide = true, name = herd::VERB)]
    Herd { collector: SocketAddr, agents: u64, certificates: PathBuf },
    /// Writes records to a file and acknowledges each: used to show that a power cut is one.
    #[command(hide = true, name = careless::VERB)]
    CarelessWriter {
        file: PathBuf,
        /// Sync before each acknowledgement.
        #[arg(long)]
        sync: bool,
    },
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("endurance: failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let bin = match arguments.bin {
        Some(bin) => bin,
        None => std::env::current_exe()?.parent().context("this program is in a folder")?.to_owned(),
    };
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ line::now().nanos().unsigned_abs());
    let begin = |what: &str| say(&format!("{what}, seed {seed}; again with: canh-endurance {what} --seed {seed}"));
    match arguments.verb {
        Verb::Kills { cuts } => {
            begin(&format!("kills --cuts {cuts}"));
            kills::run(&bin, seed, cuts)
        }
        Verb::Power { cuts } => {
            begin(&format!("power --cuts {cuts}"));
            power::run(&bin, seed, cuts).map(drop)
        }
        Verb::Short { cuts } => {
            begin(&format!("short --cuts {cuts}"));
            short(&bin, seed, cuts)
        }
        Verb::Crowd { agents, seconds } => {
            begin(&format!("crowd --agents {agents} --seconds {seconds}"));
            crowd::run(&bin, seed, agents, Duration::from_secs(seconds))
        }
        Verb::Herd { collector, agents, certificates } => herd::run(collector, &certificates, agents, seed),
        Verb::Backlog { lines, letters } => {
            begin(&format!("backlog --lines {lines} --letters {letters}"));
            backlog::run(&bin, seed, lines, letters)
        }
        Verb::CarelessWriter { file, sync } => careless::write(&file, sync),
    }
}

/// Cuts power if that can be done here, and kills for the rest.
fn short(bin: &Path, seed: u64, cuts: u64) -> anyhow::Result<()> {
    let of_power = cuts * 2 / 5;
    let left = match power::run(bin, seed, of_power)? {
        Outcome::Passed => cuts - of_power,
        Outcome::Skipped => cuts,
    };
    kills::run(bin, seed, left)
}
