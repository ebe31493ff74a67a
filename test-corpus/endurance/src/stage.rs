//! The stage: a folder with an authority, the daemons' configurations and states, and one port for
//! the collector that stays the same however often it is started.

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::authority::Authority;
use crate::chance::Chance;
use crate::daemon::{Daemon, Program};

/// Ports below those the kernel gives to connections, so that no connection takes ours while the
/// collector is down.
const PORTS: std::ops::RangeInclusive<u64> = 10_000..=32_000;
/// Set to anything, it keeps the folder of a run.
const KEEP: &str = "CANH_ENDURANCE_KEEP";

/// The rules incidents come from: five refused passwords from one address.
const RULES: &str = "title: SSH login failed
id: ssh-failed
name: ssh_failed
level: low
logsource:
  product: linux
  service: sshd
detection:
  selection:
    EventOutcome: failure
  condition: selection
---
title: SSH password guessing
id: ssh-guessing
level: high
correlation:
  type: event_count
  rules: [ssh_failed]
  group-by: [SourceIp]
  timespan: 10m
  condition:
    gte: 5
";

/// A stage. Dropped, its folder is removed.
#[derive(Debug)]
pub(crate) struct Stage {
    dir: PathBuf,
    bin: PathBuf,
    pub(crate) address: SocketAddr,
}

/// A log file an agent reads, and what else its configuration says.
#[derive(Debug, Default)]
pub(crate) struct LogAgent<'a> {
    pub(crate) name: &'a str,
    pub(crate) spool: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    /// More lines for `[ship]`.
    pub(crate) ship: &'a str,
}

impl Stage {
    /// Makes a folder with an authority and the collector's certificate in it; `bin` is where the
    /// programs are.
    ///
    /// # Errors
    /// A file cannot be written, a program is missing.
    pub(crate) fn open(bin: &Path, name: &str, chance: &mut Chance) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("canh-endurance-{name}.{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("while making {}", dir.display()))?;
        let stage = Self { dir, bin: bin.to_owned(), address: free_address(chance)? };
        for folder in ["logs", "state", "rules"] {
            fs::create_dir_all(stage.path(folder))?;
        }
        fs::write(stage.path("rules/ssh.yml"), RULES)?;
        let (program, ca) = (stage.binary("canh-collector"), stage.path("ca"));
        Authority::make(&program, &ca)?.issue_server(&stage.path("server"))?;
        Ok(stage)
    }

    /// Returns a path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the path of a program.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Makes an agent's certificate and returns the folder it is in.
    ///
    /// # Errors
    /// The authority says so.
    pub(crate) fn certify(&self, agent: &str) -> anyhow::Result<PathBuf> {
        let (program, ca, out) = (self.binary("canh-collector"), self.path("ca"), self.path(agent));
        if !out.exists() {
            Authority::existing(&program, &ca).issue_agent(agent, &out)?;
        }
        Ok(out)
    }

    /// Configures the collector, with more lines behind; its journal is in `state/journal`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn collector(&self, state: &Path, more: &str) -> anyhow::Result<Program> {
        let server = self.path("server");
        let text = format!(
            "state_dir = {state:?}\n[metrics]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"{}\"\n\
             ca = {:?}\ncertificate = {:?}\nkey = {:?}\n{more}",
            self.address,
            server.join("ca.pem"),
            server.join("cert.pem"),
            server.join("key.pem"),
        );
        self.program("canh-collector", "canh-collector", &text)
    }

    /// Configures a correlator that reads a journal.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn correlator(&self, name: &str, state: &Path, journal: &Path) -> anyhow::Result<Program> {
        let text = format!(
            "state_dir = {state:?}\n[journal]\ndir = {journal:?}\n[rules]\npaths = [{:?}]\n[api]\nsocket = {:?}\n\
             [metrics]\naddress = \"127.0.0.1:0\"\n[snapshot]\nevery_records = 200\n",
            self.path("rules"),
            self.path(&format!("{name}.sock")),
        );
        self.program("canh-correlator", name, &text)
    }

    /// Configures a log agent.
    ///
    /// # Errors
    /// The file cannot be written, the authority refuses.
    pub(crate) fn log_agent(&self, agent: &LogAgent<'_>) -> anyhow::Result<Program> {
        let files = self.certify(agent.name)?;
        let mut text = format!(
            "[metrics]\naddress = \"127.0.0.1:0\"\n[host]\nname = \"{}\"\n[tail]\nrotated_wait = \"3s\"\n\
             [ship]\ncollectors = [\"{}\"]\nspool_dir = {:?}\n{}\n[tls]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            agent.name,
            self.address,
            agent.spool,
            agent.ship,
            files.join("ca.pem"),
            files.join("cert.pem"),
            files.join("key.pem"),
        );
        for file in &agent.files {
            writeln!(text, "[[file]]\npath = {file:?}\nformat = \"syslog\"")?;
        }
        self.program("canh-log-agent", agent.name, &text)
    }

    fn program(&self, binary: &str, name: &str, text: &str) -> anyhow::Result<Program> {
        let config = self.path(&format!("{name}.toml"));
        fs::write(&config, text).with_context(|| format!("while writing {}", config.display()))?;
        Ok(Program { binary: self.binary(binary), config, log: self.path(&format!("{name}.out")) })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::env::var_os(KEEP).is_none() {
            // What cannot be removed is in a folder for such things.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Starts the collector and waits until it accepts agents.
///
/// # Errors
/// It does not.
pub(crate) fn start_collector(program: &Program) -> anyhow::Result<Daemon> {
    let mut daemon = program.start()?;
    daemon.address("accepting agents")?;
    Ok(daemon)
}

fn free_address(chance: &mut Chance) -> anyhow::Result<SocketAddr> {
    for _ in 0..100 {
        let port = u16::try_from(chance.between(*PORTS.start(), *PORTS.end()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port")
}
