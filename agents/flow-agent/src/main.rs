//! The flow agent: packets of an interface or of capture files become flow records, and go to the
//! collector. This file reads the arguments.

mod capture;
mod config;
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
use clap::Parser;

use crate::config::{Config, SCHEMA};

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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run("canh-flow-agent", || {
        let config = Config::load(&arguments.config, arguments.read)?;
        if arguments.check { Ok(Exit::Done) } else { run::run(config) }
    })
}
