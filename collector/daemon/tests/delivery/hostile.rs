//! An agent that means harm (R15): it has a certificate, and keeps to nothing else. Every one of its
//! connections is closed within its limit, memory stays flat, and another agent goes on meanwhile.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use canh_event::{RecordSequence, Timestamp};
use canh_wire::{Account, Batch, Frame, NackCode, Packed};

use crate::agent::{Agent, EPOCH, batch};
use crate::process::{Collector, Site};

type Outcome = anyhow::Result<()>;

/// More than any refusal takes, less than the time any limit would let pass unnoticed.
const SOON: Duration = Duration::from_secs(15);
/// Memory a hostile agent may cost beyond what a quiet collector has.
const MEMORY_SLACK_KIB: u64 = 96 << 10;

/// The header of a frame with these lengths; its checksum is not looked at before they are.
fn head(kind: u8, flags: u16, body_bytes: u32, raw_bytes: u32) -> Vec<u8> {
    let mut head = b"CANH".to_vec();
    head.extend([1, kind]);
    head.extend(flags.to_le_bytes());
    head.extend(body_bytes.to_le_bytes());
    head.extend(raw_bytes.to_le_bytes());
    head.extend([0; 8]);
    head
}

/// Waits until the collector has hung up; returns the refusal it gave, if any.
fn hung_up(agent: &mut Agent) -> anyhow::Result<Option<NackCode>> {
    let begun = Instant::now();
    let mut code = None;
    loop {
        match agent.next() {
            Ok(Some(Frame::Nack(nack))) => code = Some(nack.code),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
        ensure!(begun.elapsed() < SOON, "the collector still talks");
    }
    ensure!(begun.elapsed() < SOON, "hung up only after {:?}", begun.elapsed());
    Ok(code)
}

fn greeted(site: &Site, collector: &Collector) -> anyhow::Result<Agent> {
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(1 << 40)?;
    Ok(agent)
}

/// An honest agent still gets its records acknowledged, and the collector has not grown.
fn others_are_not_affected(site: &Site, collector: &Collector, before: u64) -> Outcome {
    let mut other = Agent::connect(collector.address, &site.path("other"))?;
    let (mut welcomed, next) = other.greet(1 << 40)?;
    other.send(&welcomed.session.send_batch(batch(next, 10)?)?)?;
    other.acknowledged(next + 9)?;
    let now = collector.memory_kib()?;
    ensure!(now < before + MEMORY_SLACK_KIB, "memory went from {before} to {now} KiB");
    Ok(())
}

fn site() -> anyhow::Result<(Site, Collector, u64)> {
    let site = Site::new()?;
    site.issue("web-02", "other")?;
    let collector = site.start()?;
    let before = collector.memory_kib()?;
    Ok((site, collector, before))
}

#[test]
fn lengths_that_are_huge_or_lies_are_refused_by_the_header_alone() -> Outcome {
    let (site, collector, before) = site()?;
    let heads = [
        ("a body of 4 GiB", head(3, 0, u32::MAX, 0)),
        ("a ping of a megabyte", head(7, 0, 1 << 20, 0)),
        ("4 GiB once unpacked", head(3, 1, 1_000, u32::MAX)),
        ("a ratio of 8,000 to one", head(3, 1, 1_000, 8 << 20)),
        ("a kind nobody knows", head(99, 0, 0, 0)),
        ("flags nobody knows", head(3, 0x80, 10, 10)),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    for (what, head) in heads {
        let mut agent = greeted(&site, &collector)?;
        agent.raw(&head)?;
        let code = hung_up(&mut agent).context(what)?;
        ensure!(code == Some(NackCode::Protocol), "{what}: {code:?}");
    }
    // The same before any HELLO.
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.raw(&head(3, 1, 1 << 20, 8 << 20))?;
    agent.raw(&vec![0; 1 << 20])?;
    hung_up(&mut agent)?;
    others_are_not_affected(&site, &collector, before)
}

/// A zstd frame that unpacks to `length` zeros with a ratio of about 1e5, as the library makes it.
fn bomb(length: usize) -> anyhow::Result<Vec<u8>> {
    Ok(zstd::bulk::compress(&vec![0; length], 19)?)
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() -> Outcome {
    let (site, collector, before) = site()?;
    let eight_mib = bomb(8 << 20)?;
    ensure!((8 << 20) / eight_mib.len() > 8_000, "a bomb of {} bytes", eight_mib.len());
    // Padded until the header's ratio is fair, the records are no records: refused when unpacked, within
    // what its frame announced.
    let mut padded = eight_mib.clone();
    padded.resize((8 << 20) / 200, 0);
    // Announces less than it holds.
    let liar = bomb(1 << 20)?;
    // A window of 2 GiB (window_log 31), in the header of the zstd frame.
    let mut window = 0xFD2F_B528_u32.to_le_bytes().to_vec();
    window.extend([0b1000_0000, 21 << 3]);
    window.extend(1_000_u32.to_le_bytes());
    window.extend([0; 64]);
    for (what, bytes, raw) in [("padded", padded, 8 << 20), ("liar", liar, 4_096), ("window", window, 1_000)] {
        let mut agent = greeted(&site, &collector)?;
        let body = Packed::from_parts(true, raw, bytes)?;
        let (stream, first) = ("log".parse()?, RecordSequence(1));
        agent.send(&Frame::Batch(Batch { stream, epoch: EPOCH, first, count: 1, body }))?;
        let code = hung_up(&mut agent).context(what)?;
        ensure!(code == Some(NackCode::Unreadable), "{what}: {code:?}");
    }
    ensure!(site.stored()?.is_empty(), "nothing of it is stored");
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn slow_headers_and_bodies_are_not_waited_for() -> Outcome {
    let (site, collector, before) = site()?;
    let mut slow = Vec::new();
    for part in [head(7, 0, 16, 0)[..10].to_vec(), head(7, 0, 16, 0)] {
        let mut agent = greeted(&site, &collector)?;
        agent.raw(&part)?;
        slow.push(agent);
    }
    // Says nothing after the handshake.
    slow.push(Agent::connect(collector.address, &site.path("agent"))?);
    for mut agent in slow {
        hung_up(&mut agent)?;
    }
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn who_sends_past_the_window_or_reads_nothing_is_cut_off_and_costs_no_memory() -> Outcome {
    let (site, collector, before) = site()?;
    site.issue("web-03", "deaf")?;
    let mut greedy = greeted(&site, &collector)?;
    // Ten times the window at once, without waiting for an acknowledgement.
    let big = vec![b'x'; 900_000];
    let mut code = None;
    for number in 0..50 {
        let frame = Frame::Batch(crate::agent::batch_of(number + 1, &[&big])?);
        if greedy.send(&frame).is_err() {
            break;
        }
    }
    code = code.or(hung_up(&mut greedy)?);
    // Its refusal may be lost in what it still sent; that it was cut off is seen in the metrics.
    ensure!(code.is_none() || code == Some(NackCode::CreditExceeded), "{code:?}");

    // Reads none of its answers: the collector does not keep them for it.
    let mut deaf = Agent::connect(collector.address, &site.path("deaf"))?;
    deaf.greet(1 << 40)?;
    let ping = Frame::Ping(canh_wire::Ping { token: 1, clock: Timestamp::EPOCH });
    let begun = Instant::now();
    while begun.elapsed() < SOON * 2 && (0..1_000).all(|_| deaf.send(&ping).is_ok()) {}
    ensure!(begun.elapsed() < SOON * 2, "still listened to after {:?}", begun.elapsed());
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn sequences_that_jump_rewind_or_are_of_others_are_refused_and_a_clone_raises_an_alarm() -> Outcome {
    let (site, collector, before) = site()?;
    let last = u64::MAX - 1;
    for first in [2, last] {
        let mut agent = greeted(&site, &collector)?;
        agent.send(&Frame::Batch(batch(first, 1)?))?;
        ensure!(hung_up(&mut agent)? == Some(NackCode::SequenceGap), "a jump to {first}");
    }
    let mut agent = greeted(&site, &collector)?;
    agent.send(&Frame::Gap(canh_wire::Gap::new(
        "log".parse()?,
        EPOCH,
        RecordSequence(1),
        u64::MAX - 2,
        canh_event::GapReason::SpoolFull,
    )))?;
    // It may: it is its own stream that it has nothing left of. Nobody else's.
    agent.acknowledged(last - 1)?;
    drop(agent);

    site.issue("web-04", "cloned")?;
    let mut agent = Agent::connect(collector.address, &site.path("cloned"))?;
    agent.greet(1 << 40)?;
    agent.send(&Frame::Batch(batch(1, 100)?))?;
    agent.acknowledged(100)?;
    // The same capture again is known, and stored once.
    agent.send(&Frame::Batch(batch(1, 100)?))?;
    agent.acknowledged(100)?;
    let other = Batch { first: RecordSequence(1), ..batch(1_001, 100)? };
    agent.send(&Frame::Batch(other))?;
    ensure!(hung_up(&mut agent)? == Some(NackCode::Protocol), "a clone");
    collector.metric_becomes("canh_collector_clone_signs_total{sign=\"other_records\"} 1")?;
    collector.logged("a cloned agent, or somebody with its key")?;

    for wrong in ["flow", "log"] {
        let mut agent = Agent::connect(collector.address, &site.path("cloned"))?;
        agent.greet(1 << 40)?;
        let epoch = canh_event::Epoch(EPOCH.0 + 1);
        agent.send(&Frame::Batch(Batch { stream: wrong.parse()?, epoch, ..batch(101, 1)? }))?;
        ensure!(hung_up(&mut agent)? == Some(NackCode::Protocol), "{wrong}");
    }
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn accounts_and_gaps_that_lie_are_an_alarm_and_change_nothing_of_others() -> Outcome {
    let (site, collector, before) = site()?;
    let mut agent = greeted(&site, &collector)?;
    agent.send(&Frame::Batch(batch(1, 10)?))?;
    agent.acknowledged(10)?;
    let source =
        canh_event::SourceAccount { produced: 5, ..canh_event::SourceAccount::new("/var/log/auth.log".parse()?) };
    let account = |position| -> anyhow::Result<Frame> {
        let (stream, position, spooled) = ("log".parse()?, RecordSequence(position), RecordSequence(1 << 40));
        let (stated, is_whole, sources) = (Timestamp::EPOCH, true, vec![source.clone()]);
        Ok(Frame::Account(Account { stream, epoch: EPOCH, position, spooled, stated, is_whole, sources }))
    };
    agent.send(&account(10)?)?;
    collector.metric_becomes("canh_collector_ledger_disagreements_total 1")?;
    collector.logged("the loss ledger does not balance")?;
    agent.send(&account(9)?)?;
    ensure!(hung_up(&mut agent)? == Some(NackCode::Protocol), "an account of another place");
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn a_capture_that_is_replayed_gets_no_further_than_the_handshake() -> Outcome {
    let (site, collector, before) = site()?;
    let recorded = {
        let mut agent = Agent::connect_recording(collector.address, &site.path("agent"))?;
        agent.greet(10)?;
        agent.send(&Frame::Batch(batch(1, 10)?))?;
        agent.acknowledged(10)?;
        agent.recorded()
    };
    ensure!(recorded.len() > 1_000, "{} bytes were recorded", recorded.len());
    let mut socket = std::net::TcpStream::connect(collector.address)?;
    socket.set_read_timeout(Some(SOON))?;
    // It may hang up before all of it is sent.
    let _ = socket.write_all(&recorded);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    collector.metric_becomes("canh_collector_connections_total 1")?;
    ensure!(site.stored()?.len() == 10, "stored once");
    others_are_not_affected(&site, &collector, before)
}

#[test]
fn credit_holds_while_the_collector_stands_still_and_everybody_goes_on_after() -> Outcome {
    let (site, collector, before) = site()?;
    let mut agents = Vec::new();
    for folder in ["agent", "other"] {
        let mut agent = Agent::connect(collector.address, &site.path(folder))?;
        let (welcomed, next) = agent.greet(1 << 40)?;
        agents.push((agent, welcomed, next));
    }
    collector.signal("STOP")?;
    let big = vec![b'x'; 100_000];
    for (agent, welcomed, next) in &mut agents {
        // An honest agent sends no more than its window, however long it takes.
        let mut sent = 0;
        while welcomed.session.has_room(100_000) && sent < 100 {
            let frame = welcomed.session.send_batch(crate::agent::batch_of(*next, &[&big])?)?;
            // What the line takes of it; the rest is still ours.
            if agent.send_some(&frame)?.is_none() {
                break;
            }
            *next += 1;
            sent += 1;
        }
        ensure!(sent <= 45, "{sent} batches of 100 kB are past the window of 4 MiB");
    }
    collector.signal("CONT")?;
    for (agent, _, next) in &mut agents {
        agent.flush()?;
        agent.acknowledged(*next - 1)?;
    }
    others_are_not_affected(&site, &collector, before)
}
