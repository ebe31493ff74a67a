//! A daemon as a real process: started, watched, stopped, ended in every way there is.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::scrape::Page;

/// How often something that must come is looked for.
pub(crate) const POLL: Duration = Duration::from_millis(5);
/// Longest wait for a daemon's start, and for its orderly end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a log is shown after a failure.
const LAST_WORDS: usize = 2_000;

/// What a daemon is started from.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
}

/// A daemon that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where in the log this process begins.
    begins: u64,
    started: Instant,
    metrics: Option<SocketAddr>,
}

impl Program {
    /// Starts it; it need not be ready yet.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&self) -> anyhow::Result<Daemon> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let begins = log.metadata()?.len();
        let started = Instant::now();
        let child = Command::new(&self.binary)
            .arg("--config")
            .arg(&self.config)
            .env("CANH_LOG", "info")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("while starting {}", self.binary.display()))?;
        Ok(Daemon { child, log: self.log.clone(), begins, started, metrics: None })
    }
}

impl Daemon {
    /// Returns the process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of this process's log.
    ///
    /// # Errors
    /// It ended, or did not say it in time.
    pub(crate) fn says(&mut self, text: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.said(text)? {
                return Ok(line);
            }
            self.must_live()?;
            ensure!(Instant::now() < deadline, "no {text:?} in time; {}", self.last_words());
            sleep(POLL);
        }
    }

    /// Waits until the daemon has said at which address it does something.
    ///
    /// # Errors
    /// As [`Daemon::says`].
    pub(crate) fn address(&mut self, text: &str) -> anyhow::Result<SocketAddr> {
        let line = self.says(text)?;
        let rest = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        rest.and_then(|address| address.parse().ok()).with_context(|| format!("no address in {line:?}"))
    }

    /// Returns how long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns its metrics, waiting for it to serve them.
    ///
    /// # Errors
    /// It ended, or does not answer.
    pub(crate) fn page(&mut self) -> anyhow::Result<Page> {
        let address = match self.metrics {
            Some(address) => address,
            None => self.address("serving metrics")?,
        };
        self.metrics = Some(address);
        Page::of(address)
    }

    /// Returns a line of this process's log, if it is there.
    fn said(&self, text: &str) -> anyhow::Result<Option<String>> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.begins))?;
        let mut said = Vec::new();
        log.read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        // Without its end a line may be half written.
        let mut lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Ok(lines.find(|line| line.contains(text)).map(str::to_owned))
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// It has.
    pub(crate) fn must_live(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("a daemon ended by itself: {status}; {}", self.last_words()),
        }
    }

    /// kill -9: no handler runs.
    ///
    /// # Errors
    /// The system says so.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.must_live()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Has every thread stand still where it is.
    ///
    /// # Errors
    /// It does not stop, or has ended.
    pub(crate) fn freeze(&mut self) -> anyhow::Result<()> {
        self.must_live()?;
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + PATIENCE;
        while !is_frozen(self.id())? {
            ensure!(Instant::now() < deadline, "process {} does not stand still", self.id());
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// It does not, or not in order.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.must_live()?;
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "a daemon does not stop; {}", self.last_words());
            sleep(POLL);
        };
        ensure!(status.success(), "a daemon ended with {status}; {}", self.last_words());
        Ok(())
    }

    /// Returns the bytes it holds in memory.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
        Ok(kib << 10)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.id())?).context("a process has an id")?;
        Ok(kill_process(pid, signal)?)
    }

    fn last_words(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let last = said.get(said.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
        format!("{} ends with:\n{}", self.log.display(), String::from_utf8_lossy(last))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // However a run ends, it leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether no thread of a process runs: a thread in the middle of a call to the disk is not frozen
/// before that call has returned.
fn is_frozen(id: u32) -> anyhow::Result<bool> {
    for task in fs::read_dir(Path::new("/proc").join(id.to_string()).join("task"))? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        // The name, in brackets, may hold anything; the state follows it.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}
