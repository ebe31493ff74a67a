//! The real collector as a real process, with a CA and a folder of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, ensure};
use canh_event::StoredBatch;
use canh_journal::Reader;

const BINARY: &str = env!("CARGO_BIN_EXE_canh-collector");
/// Longer than anything a test waits for, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a CA, the certificates of a collector and an agent, and a configuration.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

/// A collector that runs.
pub(crate) struct Collector {
    child: Child,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

pub(crate) fn command(arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new(BINARY).args(arguments).output().context("while running the collector")
}

fn done(arguments: &[&str]) -> anyhow::Result<()> {
    let output = command(arguments)?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Site {
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn new() -> anyhow::Result<Self> {
        let site = Self { dir: tempfile::tempdir()? };
        let (ca, server) = (site.text("ca"), site.text("server"));
        done(&["ca", "init", "--dir", &ca])?;
        done(&["ca", "issue", "--dir", &ca, "--server", "--host", "localhost,127.0.0.1", "--out", &server])?;
        site.issue("web-01", "agent")?;
        site.configure("")?;
        Ok(site)
    }

    /// A folder with a CA of the collector's own, nothing by hand; `more` is added to the configuration.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn with_own_ca(more: &str) -> anyhow::Result<Self> {
        let site = Self { dir: tempfile::tempdir()? };
        let text = format!(
            "state_dir = {:?}\n[metrics]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:0\"\n{more}",
            site.path("state"),
        );
        std::fs::write(site.config(), text)?;
        site.run(&["ca", "init", "--host", "localhost,127.0.0.1"])?;
        Ok(site)
    }

    /// Runs a command of the operator's; returns what it says.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let config = self.text("collector.toml");
        let output = command(&[arguments, &["--config", &config]].concat())?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Makes an agent's certificate in a folder.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn issue(&self, agent: &str, folder: &str) -> anyhow::Result<()> {
        let (ca, out) = (self.text("ca"), self.text(folder));
        done(&["ca", "issue", "--dir", &ca, "--agent", agent, "--agency", "so-tttt", "--out", &out])
    }

    /// Takes over the CA and the certificates of another site.
    pub(crate) fn share_authority(&self, other: &Self) -> anyhow::Result<()> {
        for file in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::copy(other.path("server").join(file), self.path("server").join(file))?;
        }
        Ok(())
    }

    /// Writes the configuration, with more lines behind it.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn configure(&self, more: &str) -> anyhow::Result<()> {
        self.configure_with(0, more)
    }

    /// Has the collector listen on a port it had before.
    pub(crate) fn configure_listen(&self, port: u16) -> anyhow::Result<()> {
        self.configure_with(port, "")
    }

    fn configure_with(&self, port: u16, more: &str) -> anyhow::Result<()> {
        let server = self.path("server");
        let text = format!(
            "state_dir = {:?}\n[metrics]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:{port}\"\n\
             ca = {:?}\ncertificate = {:?}\nkey = {:?}\n{more}",
            self.path("state"),
            server.join("ca.pem"),
            server.join("cert.pem"),
            server.join("key.pem"),
        );
        Ok(std::fs::write(self.config(), text)?)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("collector.toml")
    }

    pub(crate) fn start(&self) -> anyhow::Result<Collector> {
        Collector::start(&self.config())
    }

    /// Returns (sequence, record) of everything in the journal, in its order.
    pub(crate) fn stored(&self) -> anyhow::Result<Vec<(u64, Vec<u8>)>> {
        let mut reader = Reader::open(&self.path("state/journal"))?;
        let mut rows = Vec::new();
        while let Some(entry) = reader.next()? {
            if entry.kind == 1 {
                let stored = StoredBatch::decode(entry.body)?;
                rows.extend((stored.first.0..).zip(stored.batch.rows().map(|row| row.raw().to_vec())));
            }
        }
        Ok(rows)
    }
}

impl Collector {
    fn start(config: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(BINARY)
            .arg("--config")
            .arg(config)
            .env("CANH_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .context("while starting the collector")?;
        let stderr = BufReader::new(child.stderr.take().context("standard error is piped")?);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut collector = Self { child, lines, address: unknown, metrics: unknown };
        collector.metrics = collector.announced("serving metrics")?;
        collector.address = collector.announced("accepting agents")?;
        Ok(collector)
    }

    /// Waits for a line of the log and returns the address in it.
    fn announced(&self, text: &str) -> anyhow::Result<SocketAddr> {
        let line = self.logged(text)?;
        let (_, rest) = line.split_once("address=").with_context(|| format!("no address in {line:?}"))?;
        rest.split_whitespace().next().unwrap_or_default().parse().with_context(|| format!("no address in {line:?}"))
    }

    /// Waits for a line of the log.
    pub(crate) fn logged(&self, text: &str) -> anyhow::Result<String> {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(line) => seen.push(line),
                Err(error) => return Err(error).with_context(|| format!("waiting for {text:?} after {seen:#?}")),
            }
        }
    }

    /// Ends it as a power cut would end the process: no handler runs.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns the number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name}: {status}");
        Ok(())
    }

    /// Returns how many files it has open, sockets among them.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn open_files(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Waits for its end.
    #[allow(dead_code, reason = "each test file uses its own part of this")]
    pub(crate) fn wait(mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Returns the memory it holds, in KiB.
    pub(crate) fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Returns what Prometheus would read.
    pub(crate) fn scrape(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Waits until a metric has a value.
    pub(crate) fn metric_becomes(&self, sample: &str) -> anyhow::Result<()> {
        let begin = std::time::Instant::now();
        loop {
            let text = self.scrape()?;
            if text.lines().any(|line| line == sample) {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{sample} never came in\n{text}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Nothing is left running, however the test ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
