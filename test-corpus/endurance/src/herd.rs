//! Many agents in one process, apart from the collector's: each with a certificate, a connection and a
//! stream of its own, and with the same waits between connections as a real agent.
//!
//! ```text
//!  standard input:  send, idle, end           standard output, ten times a second:
//!                                             connected N sent N acknowledged N failures N
//! ```
//!
//! At the end it tells how many records each agent has sent, all of them acknowledged. A broken
//! promise ends it at once.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use canh_wire::{DEFAULT_LEVEL, Packer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::flock::{Flock, folder_of};
use crate::member::Member;

/// The verb under which this program is a herd.
pub(crate) const VERB: &str = "herd";
/// How often the state is told.
const TELL: Duration = Duration::from_millis(100);

/// Runs a herd until it is told to end.
///
/// # Errors
/// A certificate cannot be read, a promise is broken.
pub(crate) fn run(collector: SocketAddr, certificates: &Path, agents: u64, seed: u64) -> anyhow::Result<()> {
    raise_limit()?;
    let herd = Arc::new(Flock {
        collector,
        agents,
        packer: Mutex::new(Packer::try_new(DEFAULT_LEVEL)?),
        is_sending: AtomicBool::new(false),
        connected: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        broken: Mutex::new(None),
    });
    let mut chance = Chance::new(seed);
    let mut members = Vec::new();
    for number in 0..agents {
        members.push(Member::new(&herd, number, &folder_of(certificates, number), chance.part())?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let told = Arc::clone(&herd);
    // It waits for a line that may never come, so nobody waits for it.
    std::thread::spawn(move || listen(&told));
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for member in members {
            tasks.spawn(member.run());
        }
        tell(&herd).await
    })
}

/// Does what standard input says; its end ends the process, so that no herd outlives its starter.
fn listen(herd: &Flock) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        herd.is_sending.store(line == "send", Ordering::Release);
    }
    std::process::exit(0);
}

async fn tell(herd: &Flock) -> anyhow::Result<()> {
    loop {
        let [connected, sent, acknowledged, failures] =
            [&herd.connected, &herd.sent, &herd.acknowledged, &herd.failures]
                .map(|count| count.load(Ordering::Acquire));
        let line = format!("connected {connected} sent {sent} acknowledged {acknowledged} failures {failures}");
        writeln!(std::io::stdout().lock(), "{line}").context("while telling the state")?;
        if let Some(broken) = herd.broken.lock().map_err(|_| anyhow!("a member panicked"))?.take() {
            return Err(anyhow!(broken));
        }
        tokio::time::sleep(TELL).await;
    }
}

fn raise_limit() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("while raising the limit of open files")
}
