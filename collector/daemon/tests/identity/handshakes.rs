//! The table of certificates (R16), resumption, and the drill with a stolen key.

use std::sync::Arc;

use canh_wire::NackCode;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};

use crate::Outcome;
use crate::process::Site;
use crate::site::{Answer, Peer, answer, connect_from, sample, until};

/// Parameters of a certificate as the collector would issue it to web-01.
fn good() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "web-01");
    params.distinguished_name.push(DnType::OrganizationName, "so-tttt");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}

fn subject(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    parts.iter().for_each(|(part, text)| name.push(part.clone(), *text));
    name
}

type Change = fn(&mut CertificateParams);

const TABLE: &[(&str, Change, &str)] = &[
    ("expired", |it| it.not_after = date_time_ymd(2021, 1, 1), "expired"),
    ("not yet valid", |it| it.not_before = date_time_ymd(2039, 1, 1), "not_yet_valid"),
    ("for servers", |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "certificate"),
    ("for mail", |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection], "certificate"),
    ("a CA", |it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "certificate"),
    ("no name", |it| it.distinguished_name = subject(&[(DnType::OrganizationName, "so-tttt")]), "identity"),
    ("no agency", |it| it.distinguished_name = subject(&[(DnType::CommonName, "web-01")]), "identity"),
    (
        "a name that is a path",
        |it| {
            it.distinguished_name = subject(&[(DnType::CommonName, "../web"), (DnType::OrganizationName, "so-tttt")]);
        },
        "identity",
    ),
    (
        "an agency in capitals",
        |it| it.distinguished_name = subject(&[(DnType::CommonName, "web-01"), (DnType::OrganizationName, "So TTTT")]),
        "identity",
    ),
];

#[test]
fn what_a_certificate_must_be_to_be_let_in() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    let issuer = site.issuer()?;
    assert_eq!(answer(&collector, &site.forge(&issuer, &good())?), Answer::Welcome, "the table begins with a good one");
    for (what, change, reason) in TABLE {
        let mut params = good();
        change(&mut params);
        let counter = format!("canh_collector_handshakes_refused_total{{reason=\"{reason}\"}}");
        let before = sample(&collector, &counter).unwrap_or(0.0);
        assert_eq!(answer(&collector, &site.forge(&issuer, &params)?), Answer::Nothing, "{what}");
        collector.metric_becomes(&format!("{counter} {}", before + 1.0))?;
    }
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = subject(&[(DnType::CommonName, "Canh CA")]);
    let stranger = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    assert_eq!(answer(&collector, &site.forge(&stranger, &good())?), Answer::Nothing, "a CA of the same name");
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"unknown_authority\"} 1")?;
    Ok(())
}

/// A client that would resume a session if it were let.
fn resuming(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.resumption = Resumption::in_memory_sessions(16);
    config.enable_early_data = true;
    Arc::new(config)
}

#[test]
fn no_session_can_be_resumed_so_none_outlives_a_revocation() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let config = resuming(&site.config_of("web-01")?);
    for _ in 0..3 {
        let mut peer = Peer::connect(collector.address, &config)?;
        assert_eq!(peer.greet(1), Answer::Welcome);
        assert_eq!(peer.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(peer.stream.conn.tls13_tickets_received(), 0);
        assert!(!peer.stream.conn.is_early_data_accepted());
    }
    site.run(&["revoke", "web-01"])?;
    collector.metric_becomes("canh_collector_revocations 1")?;
    assert_eq!(answer(&collector, &config), Answer::Nack(NackCode::Revoked));
    Ok(())
}

#[test]
fn a_stolen_key_gets_two_connections_in_all_and_shows_itself() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let config = site.config_of("web-01")?;
    let mut own = Peer::connect(collector.address, &config)?;
    assert_eq!(own.greet(1), Answer::Welcome);
    let from_elsewhere = |boot| -> anyhow::Result<(Peer, Answer)> {
        let mut thief = Peer::over(connect_from(Some([127, 0, 0, 2].into()), collector.address)?, &config)?;
        let answer = thief.greet(boot);
        Ok((thief, answer))
    };
    let (_thief, first) = from_elsewhere(2)?;
    assert_eq!(first, Answer::Welcome, "one of the two may be a line that was lost");
    let line = collector.logged("two machines may have one key")?;
    assert!(line.contains("web-01") && line.contains("127.0.0.1 and 127.0.0.2"), "{line}");
    collector.metric_becomes("canh_collector_clone_signs_total{sign=\"two_addresses\"} 1")?;
    // The owner of the stream was told that somebody took it; it tries to come back and there is one place.
    drop(own);
    until("back again", || answer(&collector, &config) == Answer::Welcome)?;
    collector.metric_becomes("canh_collector_clone_signs_total{sign=\"boot_returned\"} 1")?;
    Ok(())
}

#[test]
fn a_third_connection_of_a_certificate_is_refused() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    site.enrol(&collector, &site.token(&[])?, "web-02")?;
    let config = site.config_of("web-01")?;
    // Handshakes are done, and nothing is said that would end the one before.
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::connect(collector.address, &config)?;
        peer.stream.conn.complete_io(&mut peer.stream.sock)?;
        open.push(peer);
    }
    collector.metric_becomes("canh_collector_connections 2")?;
    assert_eq!(answer(&collector, &config), Answer::Nack(NackCode::Overload));
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"certificate_in_use\"} 1")?;
    assert_eq!(answer(&collector, &site.config_of("web-02")?), Answer::Welcome);
    Ok(())
}
