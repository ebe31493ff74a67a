//! P6: a revoked agent is out within five seconds, live session included.

use std::time::{Duration, Instant};

use canh_wire::{Frame, NackCode};

use crate::Outcome;
use crate::process::{Collector, Site};
use crate::site::{Answer, Peer, answer, until};

fn enrolled(agents: &[&str]) -> anyhow::Result<(Site, Collector)> {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    for agent in agents {
        site.enrol(&collector, &site.token(&[])?, agent)?;
    }
    Ok((site, collector))
}

#[test]
fn a_live_session_is_cut_within_five_seconds_and_the_next_handshake_refused() -> Outcome {
    let (site, collector) = enrolled(&["web-01", "web-02"])?;
    let (own, other) = (site.config_of("web-01")?, site.config_of("web-02")?);
    let mut live = Peer::connect(collector.address, &own)?;
    let mut bystander = Peer::connect(collector.address, &other)?;
    assert_eq!((live.greet(1), bystander.greet(2)), (Answer::Welcome, Answer::Welcome));
    let begin = Instant::now();
    site.run(&["revoke", "web-01", "--reason", "laptop stolen"])?;
    let Some(Frame::Nack(nack)) = live.next() else { anyhow::bail!("cut without a word") };
    assert_eq!(nack.code, NackCode::Revoked);
    assert_eq!(live.next(), None);
    let took = begin.elapsed();
    println!("revoked to cut: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(answer(&collector, &own), Answer::Nack(NackCode::Revoked));
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"revoked\"} 1")?;
    assert_eq!(answer(&collector, &other), Answer::Welcome, "others are not affected");
    assert!(site.run(&["revoked"])?.contains("laptop stolen"));
    // A restart does not forget it.
    collector.kill()?;
    let collector = site.start()?;
    assert_eq!(answer(&collector, &own), Answer::Nack(NackCode::Revoked));
    site.run(&["unrevoke", "web-01"])?;
    until("accepted again", || answer(&collector, &own) == Answer::Welcome)?;
    Ok(())
}

#[test]
fn a_session_that_says_nothing_is_cut_too() -> Outcome {
    let (site, collector) = enrolled(&["web-01"])?;
    let mut silent = Peer::connect(collector.address, &site.config_of("web-01")?)?;
    // The handshake is done, a HELLO never comes.
    silent.stream.conn.complete_io(&mut silent.stream.sock)?;
    site.run(&["revoke", "web-01"])?;
    let begin = Instant::now();
    assert_eq!(silent.next(), None);
    // Clearly before the five seconds that any HELLO may take.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    Ok(())
}

#[test]
fn one_certificate_is_out_and_the_agent_with_another_is_not() -> Outcome {
    let (site, collector) = enrolled(&["web-01"])?;
    let own = site.config_of("web-01")?;
    site.run(&["revoke", "web-01", "--serial", "0badc0de"])?;
    collector.metric_becomes("canh_collector_revocations 1")?;
    assert_eq!(answer(&collector, &own), Answer::Welcome);
    site.run(&["revoke", "web-01", "--serial", &site.serial_of("web-01")?])?;
    collector.metric_becomes("canh_collector_revocations 2")?;
    assert_eq!(answer(&collector, &own), Answer::Nack(NackCode::Revoked));
    Ok(())
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in_and_says_so_loudly() -> Outcome {
    let (site, collector) = enrolled(&["web-01"])?;
    let own = site.config_of("web-01")?;
    let mut live = Peer::connect(collector.address, &own)?;
    assert_eq!(live.greet(1), Answer::Welcome);
    let list = site.identity("revoked");
    let whole = std::fs::read(&list)?;
    std::fs::write(&list, "entries = 3\n")?;
    let line = collector.logged("the list of revocations cannot be read")?;
    assert!(line.contains("ERROR"), "{line}");
    assert_eq!(answer(&collector, &own), Answer::Nack(NackCode::Overload));
    assert!(matches!(live.next(), Some(Frame::Nack(nack)) if nack.code == NackCode::Overload));
    collector.metric_becomes("canh_collector_revocations_unreadable 1")?;
    std::fs::write(&list, &whole)?;
    until("let in again", || answer(&collector, &own) == Answer::Welcome)?;
    // Removed while nobody looked: still nobody is let in, and an operator makes the list anew.
    drop(collector);
    std::fs::remove_file(&list)?;
    let collector = site.start()?;
    assert_eq!(answer(&collector, &own), Answer::Nack(NackCode::Overload));
    assert!(site.run(&["revoke", "web-01"]).is_err(), "no list grows out of nothing");
    site.run(&["revoked", "--make-empty"])?;
    until("let in again", || answer(&collector, &own) == Answer::Welcome)?;
    Ok(())
}
