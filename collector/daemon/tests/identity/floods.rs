//! Strangers that take up room: half handshakes, bytes that trickle in, tokens that are guessed.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canh_ship::EnrolError;
use canh_wire::{DenialCode, Enrol, EnrolToken, Frame, Secret, first_contact};
use rustls::ClientConfig;

use crate::Outcome;
use crate::process::Site;
use crate::site::{Answer, Peer, answer, connect_from, sample, until};

const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 9, 1));
/// Places for handshakes in these tests; the default is 512.
const PLACES: usize = 16;

fn site() -> anyhow::Result<Site> {
    Site::with_own_ca(&format!("[limits]\nhandshakes = {PLACES}\n"))
}

#[test]
fn a_flood_of_half_handshakes_takes_a_bounded_number_of_sockets_and_agents_get_through() -> Outcome {
    let site = site()?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let (config, before) = (site.config_of("web-01")?, collector.open_files()?);
    let flood = (0..300).map(|_| connect_from(Some(ATTACKER), collector.address)).collect::<Result<Vec<_>, _>>()?;
    let mut most = 0;
    let begin = Instant::now();
    let agent = std::thread::spawn({
        let address = collector.address;
        move || Peer::connect(address, &config).map_or(Answer::Nothing, |mut peer| peer.greet(1))
    });
    while !agent.is_finished() {
        most = most.max(collector.open_files()?.saturating_sub(before));
        std::thread::yield_now();
    }
    assert_eq!(agent.join().unwrap(), Answer::Welcome);
    let took = begin.elapsed();
    println!("an agent behind 300 half handshakes, {PLACES} places: {} ms, at most {most} sockets", took.as_millis());
    // One more for the agent itself, and a few for pages of metrics.
    assert!(most <= PLACES + 8, "{most}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    until("the network is kept out", || {
        sample(&collector, "canh_collector_handshakes_refused_total{reason=\"network\"}").is_ok_and(|count| count > 0.0)
    })?;
    drop(flood);
    Ok(())
}

/// Writes a byte twice a second until the other end hangs up; returns how long it had the patience.
fn trickle(mut write: impl Write, bytes: &[u8], mut is_over: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    for byte in bytes.iter().cycle() {
        if write.write_all(&[*byte]).and_then(|()| write.flush()).is_err() || is_over() {
            break;
        }
    }
    begin.elapsed()
}

#[test]
fn a_handshake_that_trickles_in_is_cut_off_after_five_seconds() -> Outcome {
    let site = site()?;
    let collector = site.start()?;
    let mut socket = connect_from(Some(ATTACKER), collector.address)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut read = socket.try_clone()?;
    // The beginning of a record of a handshake that announces much and says nothing.
    let mut hello = vec![0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb];
    hello.resize(1_000, 0);
    let is_over = || matches!(read.read(&mut [0; 1]), Ok(0)) || matches!(read.peek(&mut [0; 1]), Ok(0));
    let took = trickle(&mut socket, &hello, is_over);
    println!("slow handshake: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(7), "{took:?}");
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"timeout\"} 1")?;
    Ok(())
}

fn first_contact_of(token: &EnrolToken) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(first_contact::client_config(token.authority)?)
}

#[test]
fn an_enrolment_that_trickles_in_is_cut_off_after_five_seconds() -> Outcome {
    let site = site()?;
    let collector = site.start()?;
    let token: EnrolToken = site.token(&[])?.parse()?;
    let socket = connect_from(Some(ATTACKER), collector.address)?;
    let mut peer = Peer::over(socket, &first_contact_of(&token)?)?;
    peer.stream.conn.complete_io(&mut peer.stream.sock)?;
    peer.stream.sock.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut bytes = Vec::new();
    let request = vec![7; 1_000].into_boxed_slice();
    Frame::Enrol(Enrol { token: token.id, secret: token.secret, name: None, request }).encode(1, &mut bytes);
    let begin = Instant::now();
    for byte in bytes {
        let written = peer.stream.write_all(&[byte]).and_then(|()| peer.stream.flush());
        if written.is_err() || peer.stream.sock.peek(&mut [0; 1]).is_ok() {
            break;
        }
    }
    let took = begin.elapsed();
    println!("slow enrolment: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(7), "{took:?}");
    Ok(())
}

#[test]
fn a_network_that_guesses_tokens_is_kept_out_and_a_known_address_is_not() -> Outcome {
    let site = site()?;
    let collector = site.start()?;
    let token = site.token(&[])?;
    site.enrol(&collector, &token, "web-01")?;
    let config = site.config_of("web-01")?;
    assert_eq!(answer(&collector, &config), Answer::Welcome);
    let guess = EnrolToken { secret: Secret::from_bytes([0; 16]), ..token.parse()? }.to_text();
    let guessing = || site.enrol(&collector, &guess, "web-02");
    // From this very address, which is known for a good certificate: refused one by one, and heard.
    for _ in 0..20 {
        let refused = guessing();
        assert!(matches!(refused, Err(EnrolError::Denied { code: DenialCode::TokenUnknown, .. })), "{refused:?}");
    }
    // Its neighbours pay for it before they have shown anything.
    let mut neighbour = connect_from(Some([127, 0, 0, 77].into()), collector.address)?;
    neighbour.set_read_timeout(Some(Duration::from_secs(10)))?;
    assert!(matches!(neighbour.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(sample(&collector, "canh_collector_handshakes_refused_total{reason=\"network\"}")? >= 1.0);
    assert_eq!(answer(&collector, &config), Answer::Welcome);
    Ok(())
}

#[test]
fn whoever_enrols_gets_no_further_by_anything_else() -> Outcome {
    let site = site()?;
    let collector = site.start()?;
    let token: EnrolToken = site.token(&[])?.parse()?;
    let config = first_contact_of(&token)?;
    // A session's first frame on the connection that is for enrolments.
    assert_eq!(answer(&collector, &config), Answer::Nothing);
    // And a session's protocol without a certificate.
    let mut without = ClientConfig::clone(&config);
    without.alpn_protocols = vec![canh_wire::tls::ALPN.to_vec()];
    assert_eq!(answer(&collector, &Arc::new(without)), Answer::Nothing);
    collector.metric_becomes("canh_collector_connections_total 0")?;
    Ok(())
}
