//! The CA that issues: signs certificates of agents and of the collector. Reads no clock.
//!
//! A certificate says what the caller decides: of a request only the public key is taken, and that only
//! if its owner has signed the request and it is a P-256 key.

use std::net::IpAddr;
use std::time::Duration;

use canh_event::{AgencyId, AgentId, Timestamp};
use canh_journal::{DiskFs, Fs};
use canh_wire::{CERTIFICATE_SKEW, CertificateFacts, MAX_AUTHORITIES, certificate_pem, certificates_of};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer};

use crate::folder::{self, Folder, FolderError, MAX_PEM_BYTES};

/// An uncompressed point on the curve P-256.
const P256_POINT_BYTES: usize = 65;

/// A CA and what it trusts beside itself.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) facts: CertificateFacts,
    pub(crate) pem: String,
}

/// Whom a certificate is for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// An agent of an agency.
    Agent { agent: AgentId, agency: AgencyId },
    /// The collector, by its host names and addresses; at least one.
    Server { hosts: Vec<String> },
}

/// When a certificate is made and how long it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) issued: Timestamp,
    pub(crate) life: Duration,
}

/// A certificate just made.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) der: Box<[u8]>,
    pub(crate) facts: CertificateFacts,
}

/// A certificate just made, with a key that was made for it.
#[derive(Debug)]
pub(crate) struct IssuedPair {
    pub(crate) certificate: Issued,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

/// A certificate that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The CA's files cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The CA's files are no certificate and key.
    #[error("{} holds no usable CA; make one with `canh-collector ca init`", path.display())]
    Unusable {
        path: std::path::PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A host is no host name.
    #[error("{host:?} is neither a host name nor an address")]
    Host { host: String },
    /// The request is no certificate request, or not for a key we take.
    #[error("the request is no signed certificate request for a P-256 key")]
    Request,
    /// The clock is before the CA's own beginning.
    #[error("the clock says {now}, the CA holds from {from} to {until}: is the clock right?")]
    Clock { now: Timestamp, from: Timestamp, until: Timestamp },
    /// There are no random numbers.
    #[error("no random numbers")]
    Random(#[source] std::io::Error),
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
}

impl Authority {
    /// Reads the CA that issues from its folder.
    pub(crate) fn load(folder: &Folder) -> Result<Self, AuthorityError> {
        Self::load_from(folder, folder::ISSUER)
    }

    /// Reads a CA from a file with its certificate and key.
    pub(crate) fn load_from(folder: &Folder, name: &str) -> Result<Self, AuthorityError> {
        let text = folder.read(name, MAX_PEM_BYTES)?;
        Self::of_pem(&text).map_err(|source| AuthorityError::Unusable { path: folder.path(name), source })
    }

    fn of_pem(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let certificate = certificates_of(text.as_bytes(), 1)?.into_iter().next().unwrap_or_default();
        let facts = CertificateFacts::of_der(&certificate)?;
        let pem = certificate_pem(&certificate);
        let key = KeyPair::try_from(&PrivateKeyDer::from_pem_slice(text.as_bytes())?)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pem, key)?, facts, pem })
    }

    /// Makes a new CA; returns its certificate, and certificate and key as they are kept.
    pub(crate) fn make(name: &str, term: Term) -> Result<(String, String), AuthorityError> {
        let pair = KeyPair::generate()?;
        let certificate = authority_params(name, term)?.self_signed(&pair)?.pem();
        let both = format!("{certificate}{}", pair.serialize_pem());
        Ok((certificate, both))
    }

    /// Vouches for another CA, so that who trusts only this one trusts what that one has signed.
    pub(crate) fn vouch_for(&self, other: &Self, term: Term) -> Result<String, AuthorityError> {
        let mut params = authority_params(&other.facts.common_name, term)?;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(other.issuer.key(), &self.issuer)?.pem())
    }

    /// Signs a certificate for the key of a request.
    pub(crate) fn sign(&self, request: &[u8], subject: &Subject, term: Term) -> Result<Issued, AuthorityError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|_| AuthorityError::Request)?;
        let is_p256 = request.public_key.algorithm() == &PKCS_ECDSA_P256_SHA256
            && request.public_key.der_bytes().len() == P256_POINT_BYTES;
        if !is_p256 {
            return Err(AuthorityError::Request);
        }
        self.sign_key(&request.public_key, subject, term)
    }

    /// Makes a key and signs a certificate for it.
    pub(crate) fn make_pair(&self, subject: &Subject, term: Term) -> Result<IssuedPair, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = self.sign_key(&key, subject, term)?;
        let certificate_pem = certificate_pem(&certificate.der);
        Ok(IssuedPair { certificate, certificate_pem, key_pem: key.serialize_pem() })
    }

    fn sign_key(&self, key: &impl PublicKeyData, subject: &Subject, term: Term) -> Result<Issued, AuthorityError> {
        let (now, from, until) = (term.issued, self.facts.not_before, self.facts.not_after);
        if now < from || now >= until {
            return Err(AuthorityError::Clock { now, from, until });
        }
        let der = params_of(subject, term)?.signed_by(key, &self.issuer)?;
        let der: Box<[u8]> = Box::from(der.der().as_ref());
        let facts = CertificateFacts::of_der(&der).map_err(|_| AuthorityError::Request)?;
        Ok(Issued { der, facts })
    }
}

/// Reads every CA that is trusted.
pub(crate) fn trusted(folder: &Folder) -> Result<Vec<Box<[u8]>>, AuthorityError> {
    let text = folder.read(folder::CA, MAX_PEM_BYTES)?;
    certificates_of(text.as_bytes(), MAX_AUTHORITIES)
        .map_err(|source| AuthorityError::Unusable { path: folder.path(folder::CA), source: Box::new(source) })
}

fn authority_params(name: &str, term: Term) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    // One CA below another is the bridge of a rotation; below that there are only agents and collectors.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial()?);
    hold(&mut params, term);
    Ok(params)
}

fn params_of(subject: &Subject, term: Term) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    hold(&mut params, term);
    match subject {
        Subject::Agent { agent, agency } => {
            params.distinguished_name.push(DnType::CommonName, agent.as_str());
            params.distinguished_name.push(DnType::OrganizationName, agency.as_str());
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        Subject::Server { hosts } => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            for host in hosts {
                params.subject_alt_names.push(alternative_name(host)?);
            }
            let name = hosts.first().map_or("canh-collector", String::as_str);
            params.distinguished_name.push(DnType::CommonName, name);
        }
    }
    Ok(params)
}

/// Says whether a host can stand in a certificate.
pub(crate) fn check_host(host: &str) -> Result<(), AuthorityError> {
    alternative_name(host).map(drop)
}

fn alternative_name(host: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || AuthorityError::Host { host: host.chars().take(80).collect() };
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'*'));
    if !is_host {
        return Err(refused());
    }
    Ok(SanType::DnsName(host.to_owned().try_into().map_err(|_| refused())?))
}

/// Random, because what a serial number is for, telling one certificate from another of the same key
/// or name, must not depend on the key.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = DiskFs.random().map_err(AuthorityError::Random)?;
    // A positive number of 16 bytes (RFC 5280 section 4.1.2.2).
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn hold(params: &mut CertificateParams, term: Term) {
    let epoch = date_time_ymd(1970, 1, 1);
    let since = |time: Timestamp| Duration::from_secs(u64::try_from(time.secs()).unwrap_or_default());
    params.not_before = epoch + since(term.issued).saturating_sub(CERTIFICATE_SKEW);
    params.not_after = epoch + since(term.issued) + term.life;
}

/// Returns when a certificate was made, which is later than when it begins to hold.
pub(crate) fn issued_at(not_before: Timestamp) -> Timestamp {
    not_before.saturating_add(CERTIFICATE_SKEW)
}
