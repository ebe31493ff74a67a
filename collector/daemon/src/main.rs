//! `canh-collector`: takes batches of records from authenticated agents, makes events of them, and
//! acknowledges them once they are in the journal and on disk.
//!
//! ```text
//!  agents ──TLS 1.3──► listener ─ session ─ normalise ─ journal ──► correlator reads it
//!                                  ▲                       │
//!                                  └── ACK after fdatasync ┘
//! ```

mod agencies;
mod book;
mod books;
mod budget;
mod ca;
mod config;
mod connection;
mod descriptors;
mod events;
mod journal;
mod keeper;
mod kinds;
mod listener;
mod losses;
mod marks;
mod metrics;
mod normalise;
mod quota;
mod retry;
mod run;
mod session;
mod streams;
mod throttle;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use canh_event::{AgencyId, AgentId};
use canh_service::exit::{self, Exit};
use clap::{Args, Parser, Subcommand};

use crate::ca::Subject;
use crate::config::SCHEMA;

/// Takes records from agents over TLS, makes events of them and keeps them in the journal.
#[derive(Debug, Parser)]
#[command(name = "canh-collector", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value_os_t = SCHEMA.default_path())]
    config: PathBuf,
    /// Check the configuration and everything it names, and exit: 0 if it is good, 2 if not.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a certificate authority, and certificates of it.
    #[command(subcommand)]
    Ca(CaCommand),
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make a CA: DIR/ca.pem and DIR/ca.key. Keep the key where no agent can reach it.
    Init {
        /// The CA's folder.
        #[arg(long)]
        dir: PathBuf,
        /// The name in the CA's certificate.
        #[arg(long, default_value = "Canh CA")]
        name: String,
        /// Days the CA's certificate holds.
        #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a certificate of an agent, or of the collector: OUT/cert.pem, OUT/key.pem, OUT/ca.pem.
    Issue(Issue),
}

#[derive(Debug, Args)]
struct Issue {
    /// The CA's folder.
    #[arg(long)]
    dir: PathBuf,
    /// The folder for the three files.
    #[arg(long)]
    out: PathBuf,
    /// Days the certificate holds.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// The agent's name: a-z, 0-9, '-', '_', '.'; it is what its records are stored under.
    #[arg(long, required_unless_present = "server", conflicts_with = "server", requires = "agency")]
    agent: Option<AgentId>,
    /// The agency the agent belongs to; a name of the same kind.
    #[arg(long, conflicts_with = "server")]
    agency: Option<AgencyId>,
    /// Make a certificate of the collector instead.
    #[arg(long, requires = "host")]
    server: bool,
    /// The names and addresses agents reach the collector by, separated by commas.
    #[arg(long, value_delimiter = ',', requires = "server")]
    host: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit::run("canh-collector", || start(arguments))
}

fn start(arguments: Arguments) -> anyhow::Result<Exit> {
    match arguments.command {
        Some(Command::Ca(command)) => run_ca(command),
        None if arguments.check => {
            if let Err(error) = run::check(&arguments.config) {
                exit::report("canh-collector", error.as_ref());
                return Ok(Exit::Usage);
            }
            say(&format!("{}: good", arguments.config.display()))
        }
        None => {
            canh_service::log::init("canh-collector");
            run::run(&arguments.config)?;
            Ok(Exit::Done)
        }
    }
}

fn run_ca(command: CaCommand) -> anyhow::Result<Exit> {
    match command {
        CaCommand::Init { dir, name, days } => {
            ca::init(&dir, &name, days)?;
            say(&format!("made {0}/ca.pem and {0}/ca.key", dir.display()))
        }
        CaCommand::Issue(Issue { dir, out, days, agent, agency, host, .. }) => {
            let subject = match (agent, agency) {
                (Some(agent), Some(agency)) => Subject::Agent { agent, agency },
                _ => Subject::Server { hosts: host },
            };
            ca::issue(&dir, &subject, &out, days)?;
            say(&format!("made {0}/cert.pem, {0}/key.pem and {0}/ca.pem", out.display()))
        }
    }
}

fn say(text: &str) -> anyhow::Result<Exit> {
    writeln!(std::io::stdout().lock(), "{text}").context("while writing to standard output")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_agent_needs_an_agency_and_a_server_needs_hosts() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("x ca issue --dir d --out o --agent a --agency b").is_ok());
        assert!(parse("x ca issue --dir d --out o --server --host a.test,127.0.0.1").is_ok());
        for wrong in [
            "x ca issue --dir d --out o",
            "x ca issue --dir d --out o --agent a",
            "x ca issue --dir d --out o --agent A --agency b",
            "x ca issue --dir d --out o --server",
            "x ca issue --dir d --out o --server --host h --agent a --agency b",
            "x ca init --dir d --days 0",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
