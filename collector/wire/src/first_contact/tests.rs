use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{ClientConnection, ServerConnection};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn server(authority: &Authority, shown: &str, change: impl FnOnce(&mut CertificateParams)) -> ServerConnection {
    let mut params = CertificateParams::new(vec!["collector.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().pem();
    let config = server_config(shown.as_bytes(), certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    ServerConnection::new(config).unwrap()
}

fn meet(pinned: &Authority, mut server: ServerConnection) -> Result<ServerConnection, Error> {
    let config = client_config(Fingerprint::of(pinned.der())).unwrap();
    let mut client = ClientConnection::new(config, ServerName::try_from("collector.test").unwrap()).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking());
    Ok(server)
}

#[test]
fn the_collector_is_known_by_the_hash_of_its_ca() {
    let (ours, other) = (authority(), authority());
    let met = meet(&ours, server(&ours, &ours.pem(), |_| {})).unwrap();
    assert_eq!(met.alpn_protocol(), Some(ALPN));
    assert!(met.peer_certificates().is_none());
    // Both are shown while one replaces the other; the one in the token decides.
    let both = format!("{}{}", other.pem(), ours.pem());
    meet(&ours, server(&ours, &both, |_| {})).unwrap();
}

#[test]
fn another_collector_is_not_trusted_even_if_it_shows_our_ca() {
    let (ours, other) = (authority(), authority());
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(meet(&ours, server(&other, &other.pem(), |_| {})).unwrap_err(), unknown);
    let both = format!("{}{}", other.pem(), ours.pem());
    assert!(matches!(meet(&ours, server(&other, &both, |_| {})), Err(Error::InvalidCertificate(_))));
}

#[test]
fn name_time_and_purpose_are_checked_as_always() {
    let ours = authority();
    let refused = |change: fn(&mut CertificateParams)| meet(&ours, server(&ours, &ours.pem(), change)).unwrap_err();
    let wrong_name = refused(|params| params.subject_alt_names = vec![]);
    assert!(
        matches!(wrong_name, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
        "{wrong_name}"
    );
    let expired = refused(|params| params.not_after = date_time_ymd(2020, 1, 1));
    assert!(matches!(expired, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{expired}");
    let agent = refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(matches!(agent, Error::InvalidCertificate(_)), "an agent's certificate makes no collector: {agent}");
}
