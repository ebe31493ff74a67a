//! Certificates for everybody on the stage. The only file that knows how they are come by.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// The agency all agents here belong to.
const AGENCY: &str = "so-tttt";

/// A certificate authority in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Authority<'a> {
    collector: &'a Path,
    dir: &'a Path,
}

impl<'a> Authority<'a> {
    /// Makes an authority in a folder that is not there yet, with the collector's own program.
    ///
    /// # Errors
    /// The program says so.
    pub(crate) fn make(collector: &'a Path, dir: &'a Path) -> anyhow::Result<Self> {
        let authority = Self::existing(collector, dir);
        authority.run("init", &[])?;
        Ok(authority)
    }

    /// Returns the authority that was made in a folder before.
    pub(crate) fn existing(collector: &'a Path, dir: &'a Path) -> Self {
        Self { collector, dir }
    }

    /// Makes the collector's certificate for 127.0.0.1.
    ///
    /// # Errors
    /// The program says so.
    pub(crate) fn issue_server(&self, out: &Path) -> anyhow::Result<()> {
        self.run("issue", &["--server", "--host", "127.0.0.1", "--out", text(out)?, "--days", "2"])
    }

    /// Makes an agent's certificate.
    ///
    /// # Errors
    /// The program says so.
    pub(crate) fn issue_agent(&self, agent: &str, out: &Path) -> anyhow::Result<()> {
        self.run("issue", &["--agent", agent, "--agency", AGENCY, "--out", text(out)?, "--days", "2"])
    }

    fn run(&self, verb: &str, more: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.collector);
        command.args(["ca", verb, "--dir", text(self.dir)?]).args(more);
        let output = command.output().with_context(|| format!("while running {}", self.collector.display()))?;
        ensure!(output.status.success(), "ca {verb} {more:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is no text", path.display()))
}
