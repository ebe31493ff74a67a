//! `canh-correlator`: makes incidents of the collector's journal, and serves them.
//!
//! ```text
//!  collector's journal                                          ledger, sled, snapshot
//!        │                                                              ▲
//!        ▼                                                              │
//!     follow ──► detect (one or several) ──► decide ──────────────► persist ◄── api ◄── canh
//!                    rules, compiled          correlation state      one owner: its order is the truth
//! ```
//!
//! The correlator is a fold over the journal: its state is a snapshot and the position it was taken
//! at. After any end it reads on from there, and reaches the same incidents.

mod api;
mod census;
mod command;
mod config;
mod decide;
mod detect;
mod follow;
mod metrics;
mod passage;
mod persist;
mod reload;
mod rooms;
mod rules;
mod run;
mod seed;
mod state;
#[cfg(test)]
mod testing;

use std::path::PathBuf;
use std::process::ExitCode;

use canh_service::exit;
use clap::Parser;

/// Makes incidents of the collector's journal by Sigma rules, and serves them to `canh`.
#[derive(Debug, Parser)]
#[command(name = "canh-correlator", version)]
struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value_os_t = config::SCHEMA.default_path())]
    config: PathBuf,
    /// Check configuration and rules, say what is wrong, and end
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when the stream is gone.
            let _ = error.print();
            return if error.use_stderr() { exit::Exit::Usage.into() } else { exit::Exit::Done.into() };
        }
    };
    exit::run("canh-correlator", || {
        if arguments.check { run::check(&arguments.config) } else { run::run(&arguments.config) }
    })
}
