//! R5 on the real program: strace makes the Nth call of a kind fail. Nothing is acknowledged after
//! that, everything acknowledged is in the journal after a restart, once, and records flow again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::agent::{Agent, batch};
use crate::process::{Collector, Site};
use crate::{Outcome, expected};

/// Records of a batch.
const COUNT: u64 = 50;
/// Long enough for three of them to fill a segment.
const LARGE_COUNT: u64 = 4_000;
const LARGE: &str = "[journal]\nsegment_bytes = \"1MiB\"\n";

/// strace beside a running collector; the collector goes on alone when it ends.
struct Strace(Child);

impl Drop for Strace {
    fn drop(&mut self) {
        // It may have ended with the collector.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets calls of the collector fail, counted in each thread from now on; nothing if that cannot be done
/// here, which is said.
fn inject(collector: &Collector, fault: &str) -> anyhow::Result<Option<Strace>> {
    let call = fault.split(':').next().unwrap_or_default();
    let spawned = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={fault}")])
        .args(["-p", &collector.id().to_string()])
        .stderr(Stdio::piped())
        .spawn();
    let mut strace = match spawned {
        Ok(child) => Strace(child),
        Err(error) => {
            println!("skipped: strace cannot be started: {error}");
            return Ok(None);
        }
    };
    let stderr = strace.0.stderr.take().ok_or_else(|| anyhow::anyhow!("standard error is piped"))?;
    let mut lines = BufReader::new(stderr).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    if !first.contains("attached") {
        println!("skipped: strace may not look at another process here: {first}");
        return Ok(None);
    }
    // Nobody reads on: what strace says later must not fill a pipe.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Ok(Some(strace))
}

/// Sends batches, each once the one before is acknowledged, until the collector gives up; returns the
/// last record acknowledged.
fn send_until_it_fails(agent: &mut Agent) -> anyhow::Result<u64> {
    for acknowledged in (0..).step_by(usize::try_from(COUNT)?) {
        let frame = canh_wire::Frame::Batch(batch(acknowledged + 1, COUNT)?);
        if agent.send(&frame).and_then(|()| agent.acknowledged(acknowledged + COUNT)).is_err() {
            return Ok(acknowledged);
        }
        anyhow::ensure!(acknowledged < 100 * COUNT, "the call never failed");
    }
    Ok(0)
}

/// Returns false if it was skipped.
fn stops_at(fault: &str, acknowledged_batches: u64) -> anyhow::Result<bool> {
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(0)?;
    let Some(_strace) = inject(&collector, fault)? else { return Ok(false) };
    let acknowledged = send_until_it_fails(&mut agent)?;
    assert_eq!(acknowledged, acknowledged_batches * COUNT, "{fault}");
    collector.logged("nothing more is acknowledged")?;
    assert_eq!(collector.wait()?.code(), Some(1), "{fault}: the daemon says that it failed");

    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (_, next) = agent.greet(acknowledged + COUNT)?;
    // The batch that was not acknowledged may be there or not.
    assert!([acknowledged + 1, acknowledged + COUNT + 1].contains(&next), "{fault}: {next} after {acknowledged}");
    agent.send(&canh_wire::Frame::Batch(batch(next, COUNT)?))?;
    agent.acknowledged(next + COUNT - 1)?;
    collector.kill()?;
    assert!(site.stored()? == expected(next + COUNT - 1), "{fault}: every record, once, and a fresh one");
    Ok(true)
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_and_a_restart_recovers() -> Outcome {
    for n in [1, 2, 5] {
        // One sync for each batch: the Nth is not acknowledged.
        if !stops_at(&format!("fdatasync:error=EIO:when={n}"), n - 1)? {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn nothing_is_acknowledged_after_a_failed_write_and_a_restart_recovers() -> Outcome {
    for n in [1, 2, 3, 8] {
        // Two writes for each batch: the records, and after the sync the durable mark.
        if !stops_at(&format!("pwrite64:error=ENOSPC:when={n}"), (n - 1) / 2)? {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn disk_that_is_full_for_a_while_makes_agents_wait_and_loses_nothing() -> Outcome {
    let site = Site::new()?;
    site.configure(LARGE)?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(0)?;
    let Some(_strace) = inject(&collector, "fallocate:error=ENOSPC:when=1..2")? else { return Ok(()) };
    let mut last = 0;
    for _ in 0..6 {
        agent.send(&canh_wire::Frame::Batch(batch(last + 1, LARGE_COUNT)?))?;
        last += LARGE_COUNT;
        agent.acknowledged(last)?;
    }
    collector.logged("journal waits for room on disk")?;
    collector.logged("journal has room again")?;
    collector.kill()?;
    assert!(site.stored()? == expected(last));
    Ok(())
}

#[test]
fn full_segments_are_compressed_beside_the_work_and_nothing_is_lost_by_it() -> Outcome {
    let site = Site::new()?;
    site.configure(LARGE)?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(0)?;
    let mut last = 0;
    while !collector.scrape()?.lines().any(|line| {
        let count = line.strip_prefix("canh_collector_journal_segments{state=\"compressed\"} ");
        count.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 2)
    }) {
        agent.send(&canh_wire::Frame::Batch(batch(last + 1, LARGE_COUNT)?))?;
        last += LARGE_COUNT;
        agent.acknowledged(last)?;
        anyhow::ensure!(last < 1_000 * LARGE_COUNT, "no segment is ever compressed");
    }
    let metrics = collector.scrape()?;
    for gone in ["journal_saved_bytes 0", "journal_oldest_timestamp_seconds 0", "journal_sync_seconds_count 0"] {
        assert!(!metrics.contains(&format!("\ncanh_collector_{gone}\n")), "{gone}");
    }
    collector.kill()?;
    assert!(site.stored()? == expected(last));
    let collector = site.start()?;
    let (_, next) = Agent::connect(collector.address, &site.path("agent"))?.greet(last)?;
    assert_eq!(next, last + 1);
    Ok(())
}
