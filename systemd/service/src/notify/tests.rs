use super::*;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};

/// Runs one ignored test of this binary in a process of its own, since the environment that systemd
/// gives a daemon can only be given to a new process.
fn spawn_child(name: &str, socket: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("notify::tests::{name}")])
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "20000")
        .env_remove("WATCHDOG_PID")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

struct Overseer {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Overseer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, _dir: dir, path }
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 1_024];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return String::from_utf8(buffer[..length].to_vec()).unwrap(),
                // Another test sends signals to this very process.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing was heard: {error}"),
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
#[ignore = "run as a child process by the test below"]
fn child_says_everything() {
    ready("serving\non 127.0.0.1");
    status("busy");
    reloading();
    stopping();
}

#[test]
fn the_messages_are_those_that_systemd_knows() {
    let overseer = Overseer::new();
    let mut child = spawn_child("child_says_everything", &overseer.path);
    assert_eq!(overseer.hear(), "READY=1\nSTATUS=serving on 127.0.0.1\n");
    assert_eq!(overseer.hear(), "STATUS=busy\n");
    let reloading = overseer.hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(overseer.hear(), "STOPPING=1\n");
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "run as a child process by the test below"]
fn child_stops_beating() {
    runtime().block_on(async {
        let (_trigger, shutdown) = Shutdown::new();
        let pulse = Pulse::new();
        let task = watchdog(vec![pulse.clone()], shutdown).unwrap();
        // Beats for a while, then stands still for ten periods while the runtime turns.
        for _ in 0..5 {
            pulse.beat();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
        status("still for two periods");
        tokio::time::sleep(Duration::from_millis(200)).await;
        status("still for twelve");
        task.abort();
    });
}

#[test]
fn the_watchdog_is_fed_while_the_pulse_beats_and_no_longer() {
    let overseer = Overseer::new();
    let mut child = spawn_child("child_stops_beating", &overseer.path);
    let heard_until = |end: &str| {
        let messages = std::iter::repeat_with(|| overseer.hear());
        messages.take_while(|message| message != end).collect::<Vec<_>>()
    };
    let while_beating = heard_until("STATUS=still for two periods\n");
    let while_still = heard_until("STATUS=still for twelve\n");
    assert!(child.wait().unwrap().success());
    assert!(!while_beating.is_empty() && while_beating.iter().all(|it| it == "WATCHDOG=1\n"), "{while_beating:?}");
    assert!(while_still.is_empty(), "{while_still:?}");
}

#[test]
fn without_systemd_nothing_is_spawned() {
    runtime().block_on(async {
        let (_trigger, shutdown) = Shutdown::new();
        assert!(watchdog(Vec::new(), shutdown).is_none());
        ready("nobody hears this");
    });
}
