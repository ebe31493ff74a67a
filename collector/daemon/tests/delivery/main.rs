//! The real collector process and a scripted agent: what is acknowledged is in the journal, once,
//! whatever happens to the process.

#![cfg(test)]

mod agent;
mod faults;
mod hostile;
mod ledger;
mod process;

use std::sync::Arc;

use canh_event::Timestamp;
use canh_wire::{ByeReason, Frame, NackCode, tls};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::agent::{Agent, batch, record};
use crate::process::{Site, command};

type Outcome = anyhow::Result<()>;

fn expected(last: u64) -> Vec<(u64, Vec<u8>)> {
    (1..=last).map(|sequence| (sequence, record(sequence))).collect()
}

#[test]
fn acknowledged_records_are_in_the_journal_after_a_kill_and_the_stream_goes_on_behind_them() -> Outcome {
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut welcomed, next) = agent.greet(0)?;
    assert_eq!(next, 1);
    for first in [1, 101, 201] {
        agent.send(&welcomed.session.send_batch(batch(first, 100)?)?)?;
    }
    agent.acknowledged(300)?;
    collector.kill()?;
    assert_eq!(site.stored()?, expected(300));

    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut again, next) = agent.greet(300)?;
    assert_eq!((next, again.welcome.store), (301, welcomed.welcome.store));
    agent.send(&again.session.send_batch(batch(301, 50)?)?)?;
    agent.acknowledged(350)?;
    collector.kill()?;
    assert_eq!(site.stored()?, expected(350));
    Ok(())
}

#[test]
fn duplicates_after_a_reconnect_are_acknowledged_and_not_stored_again() -> Outcome {
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(0)?;
    agent.send(&Frame::Batch(batch(1, 100)?))?;
    agent.acknowledged(100)?;
    drop(agent);
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (_, next) = agent.greet(200)?;
    assert_eq!(next, 101);
    // As an agent that has lost its own place would: the same again, then one that overlaps.
    agent.send(&Frame::Batch(batch(1, 100)?))?;
    agent.acknowledged(100)?;
    agent.send(&Frame::Batch(batch(51, 100)?))?;
    agent.acknowledged(150)?;
    let metrics = collector.scrape()?;
    assert!(metrics.contains("\ncanh_collector_duplicate_records_total 150\n"), "{metrics}");
    assert!(metrics.contains("\ncanh_collector_records_total{format=\"sshd\"} 150\n"), "{metrics}");
    drop(collector);
    assert_eq!(site.stored()?, expected(150));
    Ok(())
}

#[test]
fn a_hole_is_refused_and_the_stream_goes_on_where_it_was() -> Outcome {
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    agent.greet(0)?;
    agent.send(&Frame::Batch(batch(1, 10)?))?;
    agent.acknowledged(10)?;
    agent.send(&Frame::Batch(batch(12, 10)?))?;
    let Some(Frame::Nack(nack)) = agent.next()? else { anyhow::bail!("no refusal") };
    assert_eq!(nack.code, NackCode::SequenceGap);
    assert_eq!(agent.next()?, None);
    let (_, next) = Agent::connect(collector.address, &site.path("agent"))?.greet(21)?;
    assert_eq!(next, 11);
    Ok(())
}

/// What a peer gets that the handshake must refuse: an error, and never a frame.
fn is_refused(connected: anyhow::Result<Agent>) -> bool {
    connected.and_then(|mut agent| agent.greet(0)).is_err()
}

fn without_certificate(ca_pem: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem)?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    Ok(Arc::new(config))
}

#[test]
fn no_certificate_and_one_of_another_ca_get_no_further_than_the_handshake() -> Outcome {
    let site = Site::new()?;
    let stranger = Site::new()?;
    let collector = site.start()?;
    let ca_pem = std::fs::read(site.path("agent/ca.pem"))?;
    assert!(is_refused(Agent::connect_with(collector.address, without_certificate(&ca_pem)?)));
    let read = |name: &str| std::fs::read(stranger.path("agent").join(name));
    let foreign = tls::client_config(&ca_pem, &read("cert.pem")?, &read("key.pem")?)?;
    assert!(is_refused(Agent::connect_with(collector.address, foreign)));
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"no_certificate\"} 1")?;
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"unknown_authority\"} 1")?;
    collector.metric_becomes("canh_collector_connections_total 0")?;
    assert!(!is_refused(Agent::connect(collector.address, &site.path("agent"))), "others are not affected");
    Ok(())
}

#[test]
fn a_stop_acknowledges_says_bye_and_leaves_nothing_to_be_read_again() -> Outcome {
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut welcomed, _) = agent.greet(0)?;
    agent.send(&welcomed.session.send_batch(batch(1, 100)?)?)?;
    // The answer to the PING shows that the batch before it has been read.
    agent.send(&welcomed.session.ping(1, Timestamp::EPOCH))?;
    let mut frames = Vec::new();
    while !frames.iter().any(|frame| matches!(frame, Frame::Pong(_))) {
        frames.extend(agent.next()?);
    }
    collector.signal("TERM")?;
    while let Some(frame) = agent.next()? {
        frames.push(frame);
    }
    assert_eq!(frames.last(), Some(&Frame::Bye(canh_wire::Bye { reason: ByeReason::Stopping })));
    let acknowledged = frames.iter().any(|frame| matches!(frame, Frame::Ack(ack) if ack.durable.0 == 100));
    assert!(acknowledged, "{frames:?}");
    assert_eq!(collector.wait()?.code(), Some(0));

    let collector = site.start()?;
    let (_, next) = Agent::connect(collector.address, &site.path("agent"))?.greet(100)?;
    assert_eq!(next, 101);
    Ok(())
}

/// Steps of a small generator (xorshift64), so that a run can be repeated by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// R1 in small: the process is killed again and again under load; every acknowledged record is in the
/// journal, every record is there once, unchanged and in order.
#[test]
fn killed_again_and_again_nothing_is_lost_and_nothing_is_doubled() -> Outcome {
    let site = Site::new()?;
    site.configure("[journal]\nsegment_bytes = \"1MiB\"\nmax_bytes = \"1GiB\"\n")?;
    let seed = 0x00C0_FFEE_u64;
    let mut chance = Chance(seed);
    let (mut acknowledged, mut sent_ever) = (0, 0);
    for cut in 0..8 {
        let collector = site.start()?;
        let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
        let (mut welcomed, mut next) = agent.greet(sent_ever)?;
        assert!(next > acknowledged, "seed {seed:#x}, cut {cut}: {acknowledged} was acknowledged, {next} is asked for");
        let until = acknowledged + 500 + chance.below(4_000);
        while acknowledged < until {
            while welcomed.session.has_room(200_000) && next < until + 5_000 {
                let count = 1 + chance.below(400);
                agent.send(&welcomed.session.send_batch(batch(next, count)?)?)?;
                next += count;
                sent_ever = sent_ever.max(next - 1);
            }
            let frame = agent.next()?.ok_or_else(|| anyhow::anyhow!("the collector closed"))?;
            if let canh_wire::AgentEvent::Acknowledged(ack) = welcomed.session.receive(frame, Timestamp::EPOCH)? {
                acknowledged = acknowledged.max(ack.durable.0);
            }
        }
        collector.kill()?;
    }
    let stored = site.stored()?;
    assert!(stored.len() as u64 >= acknowledged, "seed {seed:#x}");
    assert!(stored == expected(stored.len() as u64), "seed {seed:#x}: the journal is not the records 1 to its length");
    Ok(())
}

#[test]
fn check_says_good_or_names_every_fault_at_once() -> Outcome {
    let site = Site::new()?;
    let config = site.config().display().to_string();
    let good = command(&["--config", &config, "--check"])?;
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(!site.path("state").exists(), "a check changes nothing");
    let mut text = std::fs::read_to_string(site.config())?.replace("ca.pem", "no-such.pem");
    text.push_str("adress = \"127.0.0.1:1\"\n[limits]\nconnections = \"many\"\n");
    std::fs::write(site.config(), text)?;
    let bad = command(&["--config", &config, "--check"])?;
    assert_eq!(bad.status.code(), Some(2));
    let said = String::from_utf8(bad.stderr)?;
    assert_eq!(said.lines().count(), 3, "{said}");
    for fault in ["listen.adress", "limits.connections", "no-such.pem"] {
        assert!(said.contains(fault), "{fault} is missing in {said}");
    }
    Ok(())
}

#[test]
fn a_reload_takes_a_new_ca_over_and_refuses_a_bad_one() -> Outcome {
    let site = Site::new()?;
    let stranger = Site::new()?;
    let collector = site.start()?;
    let own_ca = site.path("server/ca.pem");
    let good = std::fs::read(&own_ca)?;
    std::fs::write(&own_ca, "no certificate")?;
    collector.signal("HUP")?;
    collector.logged("the reload is refused")?;
    assert!(!is_refused(Agent::connect(collector.address, &site.path("agent"))));
    // Two CAs overlap while one replaces the other.
    let both = [good.clone(), std::fs::read(stranger.path("server/ca.pem"))?].concat();
    std::fs::write(&own_ca, both)?;
    collector.signal("HUP")?;
    collector.logged("reloaded")?;
    let read = |name: &str| std::fs::read(stranger.path("agent").join(name));
    let foreign = tls::client_config(&good, &read("cert.pem")?, &read("key.pem")?)?;
    assert!(!is_refused(Agent::connect_with(collector.address, foreign)));
    assert!(!is_refused(Agent::connect(collector.address, &site.path("agent"))));
    Ok(())
}
