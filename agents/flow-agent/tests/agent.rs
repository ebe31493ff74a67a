//! The agent as a process: that every flow of a file is spooled once whatever kills it, and that a
//! stop hands over what is under way. No collector is there: what is metered stays in the spool.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Records in the spool; none is acknowledged, since no collector is there.
const SPOOLED: &str = "canh_agent_spool_records";
const SKIPPED: &str = "canh_flow_agent_records_skipped_total";

/// A host's folder: configuration, keys and spool.
struct Host(TempDir);

/// A running agent.
struct Agent {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
}

impl Host {
    fn new(capture: &str, batch_records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(vec!["collector".to_owned()]).unwrap();
        let write = |name: &str, text: String| {
            fs::write(folder.path().join(name), text).unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o600)).unwrap();
        };
        write("ca.pem", certified.cert.pem());
        write("cert.pem", certified.cert.pem());
        write("key.pem", certified.signing_key.serialize_pem());
        let dir = folder.path().display();
        let text = format!(
            "[capture]\n{capture}\n[flow]\nidle_timeout = \"1h\"\n[metrics]\naddress = \"127.0.0.1:0\"\n[ship]\n\
             collectors = [\"127.0.0.1:1\"]\nspool_dir = \"{dir}/spool\"\ndrain_wait = \"0ms\"\n\
             batch_records = {batch_records}\nbatch_wait = \"20ms\"\n\
             [tls]\nca = \"{dir}/ca.pem\"\ncertificate = \"{dir}/cert.pem\"\nkey = \"{dir}/key.pem\"\n"
        );
        write("agent.toml", text);
        Self(folder)
    }

    fn start(&self, arguments: &[&Path]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_canh-flow-agent"));
        command.arg("--config").arg(self.0.path().join("agent.toml")).args(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut agent = Agent { child, address: String::new(), log };
        agent.address = agent.wait_for_line("serving metrics address=").unwrap();
        agent
    }

    fn read(&self, file: &Path) -> Agent {
        self.start(&[Path::new("--read"), file])
    }
}

impl Agent {
    /// Reads the log up to a line that holds `text`, and returns what stands after it; `None` if
    /// the agent ends before.
    fn wait_for_line(&mut self, text: &str) -> Option<String> {
        let mut line = String::new();
        while self.log.read_line(&mut line).unwrap() > 0 {
            if let Some((_, after)) = line.trim_end().split_once(text) {
                return Some(after.to_owned());
            }
            line.clear();
        }
        None
    }

    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {answer}")).parse().unwrap()
    }

    fn wait_until(&self, name: &str, is_enough: impl Fn(u64) -> bool) -> u64 {
        let begun = Instant::now();
        loop {
            let now = self.metric(name);
            if is_enough(now) {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} is {now} after {PATIENCE:?}");
            std::thread::yield_now();
        }
    }

    fn stop(mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-corpus/captures").join(name)
}

#[test]
fn file_is_spooled_once_however_often_it_is_given() {
    let host = Host::new("interface = \"eth0\"", 50);
    let mut agent = host.read(&capture("scan-horizontal.pcap"));
    agent.wait_for_line("waiting for the collector to acknowledge").unwrap();
    assert_eq!(agent.metric(SPOOLED), 120);
    assert_eq!(agent.stop(), Some(0));
    let mut agent = host.read(&capture("scan-horizontal.pcap"));
    agent.wait_for_line("waiting for the collector to acknowledge").unwrap();
    assert_eq!((agent.metric(SPOOLED), agent.metric(SKIPPED)), (120, 120));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn kill_in_the_middle_neither_loses_nor_doubles_a_flow() {
    let host = Host::new("interface = \"eth0\"", 1);
    let mut spooled = 0;
    // Every flow is a batch of its own and each batch a sync: some kills come in the middle.
    for kill_at in [1, 20, 60, 110] {
        let agent = host.read(&capture("quiet-office.pcap"));
        spooled = agent.wait_until(SPOOLED, |now| now >= kill_at);
        drop(agent);
    }
    assert!(spooled < 175, "every kill came too late");
    let mut agent = host.read(&capture("quiet-office.pcap"));
    agent.wait_for_line("waiting for the collector to acknowledge").unwrap();
    assert_eq!(agent.metric(SPOOLED), 175);
    assert!(agent.metric(SKIPPED) >= 110);
}

#[test]
fn file_that_breaks_off_is_a_warning_and_what_it_holds_is_shipped() {
    let host = Host::new("interface = \"eth0\"", 50);
    let whole = fs::read(capture("scan-vertical.pcap")).unwrap();
    let cut = host.0.path().join("cut.pcap");
    fs::write(&cut, whole.get(..whole.len() / 2).unwrap()).unwrap();
    let mut agent = host.read(&cut);
    let warning = agent.wait_for_line("the capture file breaks off").unwrap();
    assert!(warning.contains("what it holds before is metered"), "{warning}");
    agent.wait_for_line("waiting for the collector to acknowledge").unwrap();
    assert!((80..=120).contains(&agent.metric(SPOOLED)));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn stop_hands_over_the_flows_that_are_live() {
    let answerer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = answerer.local_addr().unwrap();
    let host = Host::new(&format!("interface = \"lo\"\nfilter = \"udp and port {}\"", to.port()), 50);
    let mut agent = host.start(&[]);
    let Some(_) = agent.wait_for_line("capturing") else {
        println!("skipped: the loopback interface cannot be captured");
        return;
    };
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"question", to).unwrap();
    agent.wait_until("canh_flow_agent_packets_total", |now| now == 1);
    assert_eq!(agent.metric(SPOOLED), 0);
    assert_eq!(agent.stop(), Some(0));
    let mut agent = host.start(&[]);
    agent.wait_for_line("capturing").unwrap();
    assert_eq!(agent.metric(SPOOLED), 1);
    assert_eq!(agent.stop(), Some(0));
}
