use canh_service::metrics::Metrics as Registry;
use canh_wire::tls::identity_of_pem;
use canh_wire::{EnrolToken, Secret, TokenId, certificate_pem};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};

use super::*;
use crate::ca;
use crate::tokens::Order;

const NOW: Timestamp = Timestamp::from_secs(1_795_489_623);
const LIFE: Duration = Duration::from_secs(7 * 86_400);

struct Scene {
    room: Arc<Issuing>,
    folder: Folder,
    _dir: tempfile::TempDir,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    ca::init(&folder, "Canh CA", &["collector.test".to_owned()], 30, NOW).unwrap();
    let metrics = Metrics::register(&Registry::new("test", "0").unwrap()).unwrap();
    let room = Issuing::new(folder.clone(), LIFE, Vec::new(), 1, metrics);
    Scene { room, folder, _dir: dir }
}

impl Scene {
    fn token(&self, agent: Option<&str>, may_replace: bool) -> EnrolToken {
        let agent = agent.map(|agent| agent.parse().unwrap());
        let order = Order { agency: "so-tttt".parse().unwrap(), agent, may_replace, life: Duration::from_secs(3_600) };
        let authority = ca::issuer_facts(&self.folder).unwrap().fingerprint;
        tokens::create(&self.folder, &order, authority, NOW).unwrap()
    }

    fn enrol(&self, token: &EnrolToken, name: Option<&str>, now: Timestamp) -> Result<Credential, DenialCode> {
        let (id, secret) = (token.id, token.secret.clone());
        let enrol = Enrol { token: id, secret, name: name.map(|name| name.parse().unwrap()), request: request() };
        enrol_now(&self.room, &enrol, now).map_err(|refused| refused.denied().code)
    }

    fn renew(&self, who: &AgentIdentity, now: Timestamp) -> Result<Credential, DenialCode> {
        renew_now(&self.room, who, &Renew { request: request() }, now).map_err(|refused| refused.denied().code)
    }
}

fn request() -> Box<[u8]> {
    request_of(&KeyPair::generate().unwrap())
}

fn request_of(key: &KeyPair) -> Box<[u8]> {
    Box::from(CertificateParams::default().serialize_request(key).unwrap().der().as_ref())
}

fn identity(credential: &Credential) -> AgentIdentity {
    identity_of_pem(certificate_pem(&credential.certificate).as_bytes()).unwrap()
}

fn after(seconds: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn the_certificate_says_what_the_token_and_not_what_the_request_says() {
    let scene = scene();
    let token = scene.token(Some("web-01"), false);
    let mut params = CertificateParams::new(vec!["collector.test".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "mail-01");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let request = Box::from(params.serialize_request(&key).unwrap().der().as_ref());
    let enrol = Enrol { token: token.id, secret: token.secret.clone(), name: None, request };
    let credential = enrol_now(&scene.room, &enrol, NOW).unwrap();
    let who = identity(&credential);
    assert_eq!((who.agent.as_str(), who.agency.as_str()), ("web-01", "so-tttt"));
    assert_eq!((who.not_after, issued_at(who.not_before)), (NOW.saturating_add(LIFE), NOW));
    assert_eq!(credential.authorities.len(), 1);
    // It opens sessions, and does nothing else.
    let (pem, ca) = (certificate_pem(&credential.certificate), certificate_pem(&credential.authorities[0]));
    let key = key.serialize_pem();
    assert!(canh_wire::tls::client_config(ca.as_bytes(), pem.as_bytes(), key.as_bytes()).is_ok());
    let text = format!("{:?}", x509(&credential.certificate));
    assert!(!text.contains("collector.test") && !text.contains("mail-01"), "{text}");
}

fn x509(der: &[u8]) -> String {
    String::from_utf8_lossy(der).into_owned()
}

#[test]
fn a_token_is_good_once() {
    let scene = scene();
    let token = scene.token(None, false);
    assert!(scene.enrol(&token, Some("web-01"), NOW).is_ok());
    assert_eq!(scene.enrol(&token, Some("web-02"), NOW), Err(DenialCode::TokenUsed));
    assert!(registry::read(&scene.folder, &"web-02".parse().unwrap()).unwrap().is_none());
}

#[test]
fn only_who_knows_the_secret_learns_what_became_of_a_token() {
    let scene = scene();
    let (used, late, revoked) = (scene.token(None, false), scene.token(None, false), scene.token(None, false));
    scene.enrol(&used, Some("web-01"), NOW).unwrap();
    tokens::revoke(&scene.folder, revoked.id, NOW).unwrap();
    assert_eq!(scene.enrol(&late, Some("web-02"), after(3_600)), Err(DenialCode::TokenExpired));
    assert_eq!(scene.enrol(&revoked, Some("web-02"), NOW), Err(DenialCode::TokenRevoked));
    for known in [used, late, revoked] {
        let guessed = EnrolToken { secret: Secret::from_bytes([0; 16]), ..known };
        assert_eq!(scene.enrol(&guessed, Some("web-02"), after(3_600)), Err(DenialCode::TokenUnknown));
    }
    let none = EnrolToken { id: TokenId(1), ..scene.token(None, false) };
    assert_eq!(scene.enrol(&none, Some("web-02"), NOW), Err(DenialCode::TokenUnknown));
}

#[test]
fn a_name_is_the_tokens_or_the_hosts_and_never_somebody_elses() {
    let scene = scene();
    let bound = scene.token(Some("web-01"), false);
    assert_eq!(scene.enrol(&bound, Some("web-02"), NOW), Err(DenialCode::NameOther));
    assert_eq!(scene.enrol(&bound, None, NOW).unwrap().agent.as_str(), "web-01", "a refusal does not use it up");
    let free = scene.token(None, false);
    assert_eq!(scene.enrol(&free, None, NOW), Err(DenialCode::NameMissing));
    assert_eq!(scene.enrol(&free, Some("web-01"), NOW), Err(DenialCode::NameTaken));
    assert_eq!(scene.enrol(&free, Some("web-02"), NOW).unwrap().agent.as_str(), "web-02");
}

#[test]
fn a_name_is_replaced_if_the_token_says_so_and_the_old_certificates_are_out() {
    let scene = scene();
    let old = identity(&scene.enrol(&scene.token(Some("web-01"), false), None, NOW).unwrap());
    assert_eq!(scene.enrol(&scene.token(Some("web-01"), false), None, NOW), Err(DenialCode::NameTaken));
    let new = identity(&scene.enrol(&scene.token(Some("web-01"), true), None, NOW).unwrap());
    let list = Revocations::load(&scene.folder).unwrap();
    assert!(list.find(&old).is_some() && list.find(&new).is_none(), "though both are of the same second");
    assert_eq!(scene.renew(&old, after(400_000)), Err(DenialCode::Revoked));
    assert!(scene.renew(&new, after(400_000)).is_ok());
}

#[test]
fn a_revoked_name_comes_back_by_a_token_that_replaces() {
    let scene = scene();
    let old = identity(&scene.enrol(&scene.token(None, false), Some("web-01"), NOW).unwrap());
    let entry = Entry { agent: old.agent.clone(), serial: None, until: after(50), reason: "stolen".into() };
    revocation::revoke(&scene.folder, entry).unwrap();
    assert_eq!(scene.enrol(&scene.token(None, false), Some("web-01"), after(9)), Err(DenialCode::NameTaken));
    // Even if this host's clock was set back since.
    let new = identity(&scene.enrol(&scene.token(Some("web-01"), true), None, after(9)).unwrap());
    let list = Revocations::load(&scene.folder).unwrap();
    assert!(list.find(&old).is_some() && list.find(&new).is_none());
}

#[test]
fn the_newest_certificate_renews_and_a_copy_of_the_one_before_does_not() {
    let scene = scene();
    let first = identity(&scene.enrol(&scene.token(None, false), Some("web-01"), NOW).unwrap());
    assert_eq!(scene.renew(&first, after(60)), Err(DenialCode::Busy), "a certificate is used for a while");
    let lost = identity(&scene.renew(&first, after(400_000)).unwrap());
    let second = identity(&scene.renew(&first, after(470_000)).unwrap());
    assert_ne!((&lost.serial, &first.serial), (&second.serial, &second.serial));
    registry::note_shown(&scene.folder, &second).unwrap();
    assert_eq!(scene.renew(&first, after(550_000)), Err(DenialCode::Superseded));
    assert_eq!(scene.renew(&lost, after(550_000)), Err(DenialCode::Superseded));
    assert!(scene.renew(&second, after(900_000)).is_ok());
}

#[test]
fn a_request_without_its_key_or_for_another_kind_of_key_is_refused() {
    let scene = scene();
    let mut forged = request().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let p384 = request_of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    for wrong in [forged.into_boxed_slice(), p384, Box::from(*b"no request")] {
        let token = scene.token(None, false);
        let name = Some("web-01".parse().unwrap());
        let enrol = Enrol { token: token.id, secret: token.secret.clone(), name, request: wrong };
        let refused = enrol_now(&scene.room, &enrol, NOW).unwrap_err();
        assert_eq!(refused.denied().code, DenialCode::Request);
        assert!(scene.enrol(&token, Some("web-02"), NOW).is_ok(), "it has not used the token up");
        scene.folder.remove("agents/web-02").unwrap();
    }
}

#[test]
fn a_clock_that_is_before_the_ca_issues_nothing() {
    let scene = scene();
    let token = scene.token(None, false);
    let past = Timestamp::from_secs(1_000_000_000);
    assert_eq!(scene.enrol(&token, Some("web-01"), past), Err(DenialCode::Unavailable));
    assert!(scene.enrol(&token, Some("web-01"), NOW).is_ok());
}

#[tokio::test]
async fn more_than_a_few_at_a_time_are_asked_to_come_back() {
    let scene = scene();
    let token = scene.token(None, false);
    let enrol = Enrol { token: token.id, secret: token.secret, name: None, request: request() };
    let _turn = scene.room.turns.acquire().await.unwrap();
    let denied = scene.room.enrol(enrol, std::net::IpAddr::from([127, 0, 0, 1])).await.unwrap_err();
    assert_eq!((denied.code, denied.retry_after), (DenialCode::Busy, BUSY_WAIT));
}
