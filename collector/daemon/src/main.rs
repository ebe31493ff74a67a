//! `canh-collector`: takes batches of records from authenticated agents, makes events of them, and
//! acknowledges them once they are in the journal and on disk.
//!
//! ```text
//!  agents ──TLS 1.3──► listener ─ session ─ normalise ─ journal ──► correlator reads it
//!                                  ▲                       │
//!                                  └── ACK after fdatasync ┘
//! ```

mod agencies;
mod arguments;
mod authority;
mod book;
mod books;
mod budget;
mod ca;
mod commands;
mod compress;
mod config;
mod connection;
mod descriptors;
mod enrol;
mod events;
mod folder;
mod gate;
mod issuing;
mod journal;
mod keeper;
mod kinds;
mod listener;
mod losses;
mod marks;
mod metrics;
mod networks;
mod normalise;
mod presence;
mod quota;
mod registry;
mod retry;
mod revocation;
mod run;
mod server_identity;
mod session;
mod streams;
mod throttle;
mod tls_plan;
mod tokens;

use std::process::ExitCode;

use canh_service::exit::{self, Exit};
use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run("canh-collector", || start(arguments))
}

fn start(arguments: Arguments) -> anyhow::Result<Exit> {
    match arguments.command {
        Some(command) => commands::run(command, &arguments.config),
        None if arguments.check => {
            if let Err(error) = run::check(&arguments.config) {
                exit::report("canh-collector", error.as_ref());
                return Ok(Exit::Usage);
            }
            commands::say(&format!("{}: good", arguments.config.display()))
        }
        None => {
            canh_service::log::init("canh-collector");
            run::run(&arguments.config)?;
            Ok(Exit::Done)
        }
    }
}
