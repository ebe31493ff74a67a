//! `canh-log-agent`: tails log files, keeps what it reads in a spool, and ships it to a collector.
//!
//! Every line is given once and in order: the spool's record of a batch holds the lines and how far
//! each file has been read, so a restart goes on exactly there. Rotation by rename, copytruncate,
//! deletion and the turning of links are followed; what cannot be read is counted with its reason.

mod batch;
mod config;
mod enrol;
mod generation;
mod glob;
mod metrics;
mod position;
mod reader;
mod room;
mod run;
mod ship;
mod siblings;
mod source;
mod tail;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use canh_service::exit::{self, Exit};
use canh_service::log;
use clap::{Parser, Subcommand};

use crate::config::{Config, SCHEMA};
use crate::enrol::Enrol;

/// Tails log files and ships them to a collector.
#[derive(Debug, Parser)]
#[command(name = "canh-log-agent", version)]
struct Arguments {
    /// The configuration file [default: /etc/canh/canh-log-agent.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration file, name every fault, and exit
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this host an agent, with a token of the collector; does nothing where it is one
    Enrol(Enrol),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run(SCHEMA.daemon(), || match arguments.command {
        Some(Command::Enrol(enrol)) => enrol.run(),
        None => begin(&arguments),
    })
}

fn begin(arguments: &Arguments) -> anyhow::Result<Exit> {
    let path = arguments.config.clone().unwrap_or_else(|| SCHEMA.default_path());
    if arguments.check {
        Config::load(&path)?;
        return Ok(Exit::Done);
    }
    log::init(SCHEMA.daemon());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("while starting the runtime")?.block_on(run::run(&path))
}
