//! The verb `enrol`: what it is told. What it does is the shipper's.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use canh_service::exit::Exit;
use canh_ship::{EnrolTexts, enrol_command};
use clap::Args;

/// The arguments of `enrol`.
#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The collector
    #[arg(long, value_name = "HOST:PORT")]
    collector: String,
    /// A token that `canh-collector token create` has made; - reads it from standard input
    #[arg(long, value_name = "TOKEN")]
    token: String,
    /// The agent's name, where the token does not say one [default: this host's name]
    #[arg(long)]
    name: Option<String>,
    /// The name in the collector's certificate [default: the host of --collector]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The folder for certificate and key; the configuration's `[tls]` says where they are looked for
    #[arg(long, default_value = "/var/lib/canh/flow-agent/identity")]
    dir: PathBuf,
    /// Enrol anew where there is a valid certificate already
    #[arg(long)]
    force: bool,
}

impl Enrol {
    /// Enrols this host, and says what has come of it.
    ///
    /// # Errors
    /// It is not enrolled, and nothing has changed.
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let Self { collector, token, name, server_name, dir, force } = self;
        let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let texts = EnrolTexts { collector, token, name, server_name, dir, force, host_name };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let said = runtime.context("while starting the runtime")?.block_on(enrol_command(texts))?;
        writeln!(std::io::stdout().lock(), "{said}").context("while writing to standard output")?;
        Ok(Exit::Done)
    }
}
