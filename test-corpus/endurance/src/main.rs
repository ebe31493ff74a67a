//! `canh-endurance`: shows that what the daemons promise holds while they are killed, cut off from
//! power, besieged and left behind. It runs the real programs; docs/endurance.md tells what each verb
//! proves.
//!
//! Every run says its seed; the same seed makes the same schedule. What the scheduler of the machine
//! does in between is not repeated.

mod api;
mod attacks;
mod authority;
mod chance;
mod conversation;
mod daemon;
mod kills;
mod line;
mod load;
mod oracle;
mod report;
mod scrape;
mod stage;
mod view;
mod witness;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

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
    match arguments.verb {
        Verb::Kills { cuts } => {
            say(&format!("kills: {cuts} cuts, seed {seed}; again with: canh-endurance kills --cuts {cuts} --seed {seed}"));
            kills::run(&bin, seed, cuts)
        }
    }
}
