use std::io::{Read, Write};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair as RcgenKey,
    KeyUsagePurpose,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::*;

type Authority = CertifiedIssuer<'static, RcgenKey>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, RcgenKey::generate().unwrap()).unwrap()
}

struct Issued {
    certificate: String,
    key: String,
}

fn issue(authority: &Authority, names: &[&str], subject: &[(DnType, &str)], usage: ExtendedKeyUsagePurpose) -> Issued {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (part, text) in subject {
        params.distinguished_name.push(part.clone(), *text);
    }
    params.extended_key_usages = vec![usage];
    let key = RcgenKey::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Issued { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn issue_agent(authority: &Authority) -> Issued {
    let subject = [(DnType::CommonName, "web-01"), (DnType::OrganizationName, "so-tttt")];
    issue(authority, &[], &subject, ExtendedKeyUsagePurpose::ClientAuth)
}

fn server(authority: &Authority) -> ServerConnection {
    let own = issue(authority, &["collector.test"], &[], ExtendedKeyUsagePurpose::ServerAuth);
    let config = server_config(authority.pem().as_bytes(), own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
    ServerConnection::new(config).unwrap()
}

fn client(trusts: &Authority, shows: &Issued) -> ClientConnection {
    let config = client_config(trusts.pem().as_bytes(), shows.certificate.as_bytes(), shows.key.as_bytes()).unwrap();
    ClientConnection::new(config, ServerName::try_from("collector.test").unwrap()).unwrap()
}

/// Carries bytes between the two until neither has any, or one gives up.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    for _ in 0..20 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn both_ends_of_one_ca_meet_and_the_certificate_names_the_agent() {
    let authority = authority();
    let (mut client, mut server) = (client(&authority, &issue_agent(&authority)), server(&authority));
    shake(&mut client, &mut server).unwrap();
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(server.alpn_protocol(), Some(ALPN));
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.tls13_tickets_received(), 0);

    let who = identity(server.peer_certificates().unwrap()).unwrap();
    assert_eq!((who.agent.as_str(), who.agency.as_str()), ("web-01", "so-tttt"));
    assert!(!who.serial.is_empty());
    client.writer().write_all(b"frames").unwrap();
    shake(&mut client, &mut server).unwrap();
    let mut read = [0; 6];
    server.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"frames");
}

#[test]
fn a_client_without_a_certificate_gets_no_further_than_the_handshake() {
    let authority = authority();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("collector.test").unwrap()).unwrap();
    let mut server = server(&authority);
    assert!(matches!(shake(&mut client, &mut server), Err(rustls::Error::NoCertificatesPresented)));
}

#[test]
fn a_certificate_of_another_ca_or_for_servers_is_refused() {
    let (ours, other) = (authority(), authority());
    let mut stranger = client(&ours, &issue_agent(&other));
    assert!(matches!(shake(&mut stranger, &mut server(&ours)), Err(rustls::Error::InvalidCertificate(_))));
    let stolen = issue(&ours, &["collector.test"], &[], ExtendedKeyUsagePurpose::ServerAuth);
    assert!(shake(&mut client(&ours, &stolen), &mut server(&ours)).is_err());
}

#[test]
fn an_agent_does_not_talk_to_a_collector_of_another_ca() {
    let (ours, other) = (authority(), authority());
    let mut client = client(&ours, &issue_agent(&ours));
    assert!(matches!(shake(&mut client, &mut server(&other)), Err(rustls::Error::InvalidCertificate(_))));
}

#[test]
fn two_authorities_may_overlap() {
    let (old, new) = (authority(), authority());
    let both = format!("{}{}", old.pem(), new.pem());
    let own = issue(&new, &["collector.test"], &[], ExtendedKeyUsagePurpose::ServerAuth);
    let config = server_config(both.as_bytes(), own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
    let mut server = ServerConnection::new(config).unwrap();
    let shows = issue_agent(&old);
    let config = client_config(both.as_bytes(), shows.certificate.as_bytes(), shows.key.as_bytes()).unwrap();
    let mut client = ClientConnection::new(config, ServerName::try_from("collector.test").unwrap()).unwrap();
    shake(&mut client, &mut server).unwrap();
    assert!(!server.is_handshaking());
}

fn identity_of(subject: &[(DnType, &str)]) -> Result<AgentIdentity, IdentityError> {
    let issued = issue(&authority(), &[], subject, ExtendedKeyUsagePurpose::ClientAuth);
    identity(&certificates("test", issued.certificate.as_bytes()).unwrap())
}

#[test]
fn a_subject_without_one_name_and_one_agency_is_nobody() {
    let (name, agency) = ((DnType::CommonName, "web-01"), (DnType::OrganizationName, "so-tttt"));
    assert!(identity_of(&[name.clone(), agency.clone()]).is_ok());
    assert!(matches!(identity_of(std::slice::from_ref(&name)), Err(IdentityError::Subject { got: 0, .. })));
    assert!(matches!(identity_of(&[agency]), Err(IdentityError::Subject { got: 0, .. })));
    let hostile = identity_of(&[name, (DnType::OrganizationName, "../../etc")]);
    assert!(matches!(hostile, Err(IdentityError::Name { what: "organisation", .. })));
    assert!(matches!(identity(&[]), Err(IdentityError::Missing)));
    assert!(matches!(identity(&[CertificateDer::from(vec![1, 2, 3])]), Err(IdentityError::Unreadable { .. })));
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let refused = server_config(b"nothing", b"nothing", b"nothing").unwrap_err();
    assert!(matches!(refused, TlsError::Count { what: "CA file", got: 0, .. }), "{refused:?}");
    let authority = authority();
    let (one, other) = (issue_agent(&authority), issue_agent(&authority));
    let ca = authority.pem();
    let refused = client_config(ca.as_bytes(), one.certificate.as_bytes(), other.key.as_bytes()).unwrap_err();
    assert!(matches!(refused, TlsError::KeyPair { .. }), "{refused:?}");
    let refused = client_config(ca.as_bytes(), one.certificate.as_bytes(), b"no key").unwrap_err();
    assert!(matches!(refused, TlsError::Pem { what: "key file", .. }), "{refused:?}");
}
