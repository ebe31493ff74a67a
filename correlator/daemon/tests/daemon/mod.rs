//! A real correlator on a temporary directory, a real journal beside it, and a client that knows
//! just enough HTTP.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the functions here are tests or part of one")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use canh_event::{
    BatchBuilder, Epoch, Logsource, Origin, RecordSequence, RowHeader, StoredBatch, TimeQuality, Timestamp, Value,
};
use canh_journal::{Journal, JournalOptions};

/// Two cores may be busy with other tests: what takes longer than this is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// The time of the first event.
pub(crate) const BEGINNING: i64 = 1_795_489_200;

pub(crate) const RULES: &str = "title: SSH login failed
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

/// Everything a correlator needs, on disk.
pub(crate) struct House {
    dir: tempfile::TempDir,
    journal: Option<Journal>,
    sequence: u64,
}

/// A correlator that runs.
pub(crate) struct Daemon {
    child: Child,
    house: PathBuf,
}

/// Polls until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(POLL);
    }
}

impl House {
    /// A house without a journal yet.
    pub(crate) fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(dir.path().join("rules")).unwrap();
        fs::write(dir.path().join("rules/ssh.yml"), RULES).unwrap();
        let config = format!(
            "state_dir = {:?}\n[journal]\ndir = {:?}\n[rules]\npaths = [{:?}]\n[api]\nsocket = {:?}\n\
             [metrics]\naddress = \"127.0.0.1:0\"\n{settings}",
            at("state"),
            at("journal"),
            at("rules"),
            at("socket"),
        );
        fs::write(dir.path().join("correlator.toml"), config).unwrap();
        Self { dir, journal: None, sequence: 1 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a journal record durable; the journal is made with the first.
    pub(crate) fn append(&mut self, kind: u8, body: &[u8]) {
        let dir = self.path("journal");
        let journal = self.journal.get_or_insert_with(|| Journal::open(&dir, JournalOptions::default()).unwrap().0);
        journal.append(kind, body).unwrap();
        journal.sync().unwrap();
    }

    /// Journals failed logins from an address, one a second from a second on, as one batch.
    pub(crate) fn failed_logins(&mut self, address: &str, from_second: i64, count: i64) {
        let mut builder = BatchBuilder::new();
        let origin = Origin {
            agent: Some("web-01".parse().unwrap()),
            agency: Some("so-tttt".parse().unwrap()),
            host: Box::from("web-01"),
            source: Some("/var/log/auth.log".parse().unwrap()),
        };
        let origin = builder.origin(&origin).unwrap();
        let logsource = builder.logsource(&Logsource::new("linux", &["sshd", "auth", "syslog"], &[]).unwrap()).unwrap();
        for second in from_second..from_second + count {
            let time = Timestamp::from_secs(BEGINNING + second);
            let header = RowHeader { time, time_quality: TimeQuality::Stated, received: time, origin, logsource };
            let raw = format!("sshd[7]: Failed password for root from {address} port {}\x1b[2J", 40_000 + second);
            let mut row = builder.begin_row(header, raw.as_bytes()).unwrap();
            for (name, value) in [("EventOutcome", "failure"), ("User", "root"), ("SourceIp", address)] {
                row.field(name, Value::text(value)).unwrap();
            }
            row.commit();
        }
        let stored = StoredBatch {
            agent: "web-01".parse().unwrap(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(1),
            first: RecordSequence(self.sequence),
            batch: builder.finish(),
        };
        self.sequence += count.unsigned_abs();
        let mut body = Vec::new();
        stored.encode(&mut body);
        self.append(1, &body);
    }

    /// Starts a correlator; it need not be ready yet.
    pub(crate) fn start(&self) -> Daemon {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_canh-correlator"))
            .arg("--config")
            .arg(self.path("correlator.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon { child, house: self.dir.path().to_owned() }
    }
}

impl Daemon {
    /// Asks; nothing while the daemon is not there.
    pub(crate) fn try_ask(&self, method: &str, resource: &str, body: &str) -> Option<(u16, serde_json::Value)> {
        let mut stream = UnixStream::connect(self.house.join("socket")).ok()?;
        let head = format!("{method} {resource} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((status, serde_json::from_str(body).ok()?))
    }

    /// Asks, waiting for the daemon to be there.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, resource: &str, body: &str) -> serde_json::Value {
        let (status, answer) = until(resource, || self.try_ask(method, resource, body));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Waits until everything up to a journal position is correlated.
    #[track_caller]
    pub(crate) fn correlated(&self, position: u64) {
        until("the journal to be correlated", || {
            let (_, status) = self.try_ask("GET", "/v1/status", "")?;
            (status["position"].as_u64()? >= position).then_some(())
        });
    }

    /// All incidents, oldest first, without what depends on when this process was started.
    #[track_caller]
    pub(crate) fn incidents(&self) -> Vec<serde_json::Value> {
        let mut page = self.ask("GET", "/v1/incidents?limit=1000", "");
        let mut incidents = page["incidents"].as_array_mut().unwrap().split_off(0);
        incidents.reverse();
        incidents
    }

    /// The value of a metric, by its name and labels as they are written.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        until(name, || {
            let log = fs::read_to_string(self.house.join("log")).ok()?;
            let address = log.lines().rfind(|line| line.contains("serving metrics"))?.split("address=").nth(1)?;
            let mut stream = TcpStream::connect(address.trim()).ok()?;
            write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
            let mut page = String::new();
            stream.read_to_string(&mut page).ok()?;
            page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        })
    }

    /// kill -9, as a power cut would look to the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Asks it to stop and waits until it has.
    #[track_caller]
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        until("the daemon to stop", || self.child.try_wait().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.house.join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A failed test leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the daemon to its end and returns how it ended and what it said.
pub(crate) fn run_to_end(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_canh-correlator"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
