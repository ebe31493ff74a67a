use rcgen::{BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, DnType, IsCa, date_time_ymd};

use super::*;

/// A CA that issues to whoever asks, as a collector would.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(&self, pending: &PendingKey, change: impl FnOnce(&mut CertificateParams)) -> Credential {
        let mut request = CertificateSigningRequestParams::from_der(&pending.request.to_vec().into()).unwrap();
        request.params.distinguished_name.push(DnType::CommonName, "web-01");
        request.params.distinguished_name.push(DnType::OrganizationName, "so-tttt");
        change(&mut request.params);
        let certificate = request.signed_by(&self.0).unwrap();
        Credential {
            agent: "web-01".parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            certificate: Box::from(certificate.der().as_ref()),
            authorities: vec![Box::from(self.0.der().as_ref())],
        }
    }
}

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_489_623);

#[test]
fn an_identity_is_installed_whole_and_its_key_is_its_owners_only() {
    let dir = tempfile::tempdir().unwrap();
    let files = IdentityFiles::in_dir(&dir.path().join("deep/identity"));
    assert!(files.who().is_none() && !files.are_usable());
    let issuer = Issuer::new();
    for _ in 0..2 {
        let pending = PendingKey::make().unwrap();
        let who = files.install(&pending, &issuer.issue(&pending, |_| {}), NOW).unwrap();
        assert_eq!(files.who(), Some(who));
        assert!(files.are_usable());
    }
    assert_eq!(fs::metadata(&files.identity).unwrap().mode() & 0o777, 0o600);
    let names = fs::read_dir(dir.path().join("deep/identity")).unwrap().count();
    assert_eq!(names, 2, "nothing half written is left");
}

#[test]
fn an_answer_that_is_not_for_us_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = IdentityFiles::in_dir(dir.path());
    let issuer = Issuer::new();
    let pending = PendingKey::make().unwrap();
    let own = files.install(&pending, &issuer.issue(&pending, |_| {}), NOW).unwrap();
    let good = || issuer.issue(&pending, |_| {});
    let other_key = issuer.issue(&PendingKey::make().unwrap(), |_| {});
    let other_name = Credential { agent: "web-02".parse().unwrap(), ..good() };
    let over = issuer.issue(&pending, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = issuer.issue(&pending, |params| params.not_before = date_time_ymd(2030, 1, 1));
    let garbage = Credential { certificate: Box::from(*b"x"), ..good() };
    let no_ca = Credential { authorities: vec![Box::from(*b"x")], ..good() };
    for wrong in [other_key, other_name, over, early, garbage, no_ca] {
        let refused = files.install(&pending, &wrong, NOW);
        assert!(matches!(refused, Err(IdentityFilesError::Answer { .. })), "{refused:?}");
        assert_eq!(files.who().as_ref(), Some(&own));
    }
}

#[test]
fn the_request_holds_no_more_than_the_public_key() {
    let pending = PendingKey::make().unwrap();
    assert!(pending.request.len() < 300, "{}", pending.request.len());
    let secret = pending.key.serialized_der();
    let part = &secret[secret.len() / 4..secret.len() / 4 + 16];
    assert!(!pending.request.windows(16).any(|window| window == part));
}
