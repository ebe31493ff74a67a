//! The agent as a process: what it says of its configuration, what it reads, how it stops, and that
//! kill -9 neither loses nor doubles a line. No collector is there: what is read stays in the spool.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_canh-log-agent");

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records in the spool; none is acknowledged, since no collector is there.
const SPOOLED: &str = "canh_agent_spool_records";

/// A host's folder: configuration, keys, spool and logs.
struct Host {
    dir: TempDir,
}

/// A running agent.
struct Agent {
    child: Child,
    address: String,
    /// What else it writes to standard error; kept open so that it can.
    _log: BufReader<std::process::ChildStderr>,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        let certified = rcgen::generate_simple_self_signed(vec!["collector".to_owned()]).unwrap();
        fs::write(host.path("ca.pem"), certified.cert.pem()).unwrap();
        fs::write(host.path("cert.pem"), certified.cert.pem()).unwrap();
        fs::write(host.path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(host.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        host.configure("batch_wait = \"20ms\"", "*.log");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, ship_keys: &str, pattern: &str) {
        let dir = self.dir.path().display();
        let text = format!(
            "[metrics]\naddress = \"127.0.0.1:0\"\n[ship]\ncollectors = [\"127.0.0.1:1\"]\nserver_name = \"collector\"\n\
             spool_dir = \"{dir}/spool\"\ndrain_wait = \"0ms\"\n{ship_keys}\n[tls]\nca = \"{dir}/ca.pem\"\n\
             certificate = \"{dir}/cert.pem\"\nkey = \"{dir}/key.pem\"\n[[file]]\npath = \"{dir}/{pattern}\"\n"
        );
        fs::write(self.path("agent.toml"), text).unwrap();
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("agent.toml"));
        command
    }

    fn check(&self) -> Output {
        self.command().arg("--check").output().unwrap()
    }

    fn start(&self) -> Agent {
        Agent::start(self.command())
    }
}

impl Agent {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent ended before it served metrics");
            if let Some((_, address)) = line.trim_end().split_once("serving metrics address=") {
                break address.to_owned();
            }
        };
        Self { child, address, _log: log }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
    }

    /// Waits until a counter has come to a value, and fails if it goes past it.
    fn wait_for(&self, name: &str, value: u64) {
        let begun = Instant::now();
        loop {
            let now = self.metric(name);
            assert!(now <= value, "{name} is {now}, past {value}");
            if now == value {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} is {now}, not {value}, after {PATIENCE:?}");
            std::thread::yield_now();
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

#[test]
fn check_names_every_fault_at_once_and_ends_with_two() {
    let host = Host::new();
    let good = host.check();
    assert_eq!((good.status.code(), good.stderr.as_slice()), (Some(0), b"".as_slice()));
    let text = fs::read_to_string(host.path("agent.toml")).unwrap();
    let text = text.replace("drain_wait = \"0ms\"", "drain_wait = 0").replace("ca.pem", "missing.pem");
    fs::write(host.path("agent.toml"), text + "colour = \"red\"\n").unwrap();
    let wrong = host.check();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    for part in [
        ":7: `ship.drain_wait` must be a duration",
        ":10: `tls.ca` names the file",
        ":15: unknown key `file[1].colour`",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(said.lines().all(|line| line.starts_with("canh-log-agent: ")), "{said}");
    let missing = Command::new(PROGRAM).args(["--check", "--config", "/nonexistent/agent.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn kill_at_any_moment_neither_loses_nor_doubles_a_line() {
    let host = Host::new();
    let mut written = 0;
    for turn in 0..9 {
        host.append("a.log", &lines(5_000));
        host.append("b.log", &lines(3_000));
        written += 8_000;
        if turn % 2 == 1 {
            fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
            host.append("a.log", &lines(100));
            written += 100;
        }
        let agent = host.start();
        if turn % 3 == 1 {
            // In the middle of reading, if this machine is slow enough for us to see it.
            let begun = Instant::now();
            while agent.metric("canh_log_agent_batches_total") == 0 {
                assert!(begun.elapsed() < PATIENCE, "nothing was read in {PATIENCE:?}");
            }
        } else {
            // The spool remembers what came before: its records are all lines, each once.
            agent.wait_for(SPOOLED, written);
        }
        agent.kill();
    }
    let agent = host.start();
    agent.wait_for(SPOOLED, written);
    host.append("a.log", "one more\n");
    agent.wait_for(SPOOLED, written + 1);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn more_files_than_descriptors_are_all_read() {
    let host = Host::new();
    for file in 0..300 {
        host.append(&format!("{file}.log"), "one\n");
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" --config \"$1\"", PROGRAM]).arg(host.path("agent.toml"));
    let agent = Agent::start(command);
    agent.wait_for("canh_log_agent_lines_total", 300);
    for file in 0..300 {
        host.append(&format!("{file}.log"), "two\n");
    }
    agent.wait_for("canh_log_agent_lines_total", 600);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn systemd_is_told_and_the_signals_are_obeyed() {
    let host = Host::new();
    let notify = host.path("notify");
    let overseer = UnixDatagram::bind(&notify).unwrap();
    overseer.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buffer = [0; 1_024];
        let length = overseer.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = host.command();
    command.env("NOTIFY_SOCKET", &notify);
    let agent = Agent::start(command);
    assert!(hear().starts_with("READY=1\nSTATUS=reading 1 patterns"));
    assert!(agent.get("/healthz").ends_with("ready\n"));
    // A reload takes the new pattern over, and a wrong one leaves it.
    host.append("other.txt", &lines(7));
    host.configure("batch_wait = \"20ms\"", "*.txt");
    agent.signal("HUP");
    assert!(hear().starts_with("RELOADING=1\n"));
    assert!(hear().starts_with("READY=1\nSTATUS=reading 1 patterns"));
    agent.wait_for("canh_log_agent_lines_total", 7);
    host.configure("nonsense = 1", "*.txt");
    agent.signal("HUP");
    assert!(hear().starts_with("RELOADING=1\n"));
    assert!(hear().contains("configuration not reloaded"));
    host.append("other.txt", &lines(3));
    agent.wait_for("canh_log_agent_lines_total", 10);
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(hear(), "STOPPING=1\n");
}

#[test]
fn idle_agent_is_small() {
    let host = Host::new();
    host.append("a.log", &lines(20_000));
    let agent = host.start();
    agent.wait_for("canh_log_agent_lines_total", 20_000);
    let resident = resident_kib(agent.child.id());
    assert!(resident < 16 << 10, "{resident} KiB after 20,000 lines");
    let idle = host.start_elsewhere_with_nothing_to_read();
    let resident = resident_kib(idle.child.id());
    assert!(resident < 8 << 10, "{resident} KiB with nothing to read");
}

impl Host {
    fn start_elsewhere_with_nothing_to_read(&self) -> Agent {
        let text = fs::read_to_string(self.path("agent.toml")).unwrap();
        let text = text.replace("/spool\"", "/spool-2\"").replace("*.log", "nothing-*.log");
        fs::write(self.path("idle.toml"), text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("idle.toml"));
        let agent = Agent::start(command);
        assert!(agent.get("/healthz").contains("ready\n") || agent.get("/metrics").contains("canh_build_info"));
        agent
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = File::open(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = BufReader::new(status).lines().map(Result::unwrap).find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
