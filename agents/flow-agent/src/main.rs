//! The flow agent: packets of an interface or of capture files become flow records, and go to the
//! collector. This file reads the arguments.

mod capture;
mod config;
mod enrol;
mod forward;
mod losses;
mod metering;
mod metrics;
mod progress;
mod run;
mod ship;

use std::path::PathBuf;
use std::process::ExitCode;

use canh_service::exit::{self, Exit};
use clap::{Parser, Subcommand};

use crate::config::{Config, SCHEMA};
use crate::enrol::Enrol;

/// Meters network flows and ships them to the collector.
#[derive(Debug, Parser)]
#[command(name = "canh-flow-agent", version)]
struct Arguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = SCHEMA.default_path())]
    config: PathBuf,
    /// Reads a capture file (pcap or pcapng) instead of what the configuration names, ships its
    /// flows, and ends when all are acknowledged.
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// Checks the configuration, says what is wrong with it, and ends.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this host an agent, with a token of the collector; does nothing where it is one.
    Enrol(Enrol),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run("canh-flow-agent", || {
        if let Some(Command::Enrol(enrol)) = arguments.command {
            return enrol.run();
        }
        let config = Config::load(&arguments.config, arguments.read)?;
        if arguments.check { Ok(Exit::Done) } else { run::run(config) }
    })
}
