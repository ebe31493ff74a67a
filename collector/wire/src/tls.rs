//! The TLS that frames come through: version 1.3 only, both ends with a certificate of our own CA,
//! no session tickets.
//!
//! No tickets, because a resumed session's certificate is not looked at again (RFC 8446 section
//! 2.2), so a revoked agent could come back on one. The crypto provider is passed, never taken
//! from a process-wide default.

use std::sync::Arc;

use canh_event::{AgencyId, AgentId, Timestamp};
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::certificate::CertificateFacts;
use crate::fingerprint::Fingerprint;

/// The protocol's name in the handshake (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"canh/1";

/// Certificates in one PEM file; a CA file with an old and a new CA has two.
const MAX_CERTIFICATES: usize = 16;

/// Why a TLS configuration cannot be made. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM text cannot be read.
    #[error("the {what} is not readable PEM")]
    Pem {
        /// Which of the three texts.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// A PEM text has no certificate, or too many.
    #[error("the {what} has {got} certificates, 1 to {limit} are expected")]
    Count {
        /// Which of the texts.
        what: &'static str,
        /// How many it has.
        got: usize,
        /// The bound.
        limit: usize,
    },
    /// A CA certificate is not usable.
    #[error("the CA certificate is not usable")]
    Authority {
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// Certificate and key do not fit each other or are not usable.
    #[error("certificate and key are not usable together")]
    KeyPair {
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// The CA cannot vouch for clients.
    #[error("the CA cannot vouch for clients")]
    Verifier {
        /// What rustls says.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}

/// Who a peer is, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The subject's common name.
    pub agent: AgentId,
    /// The subject's organisation.
    pub agency: AgencyId,
    /// The serial number in lower-case hexadecimal digits.
    pub serial: Box<str>,
    /// From when on the certificate holds.
    pub not_before: Timestamp,
    /// When the certificate expires.
    pub not_after: Timestamp,
    /// The fingerprint of its public key.
    pub key: Fingerprint,
}

/// Why a certificate names nobody we know how to name. It has passed the CA's check before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The peer showed none.
    #[error("the peer has no certificate")]
    Missing,
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable {
        /// What is wrong.
        #[source]
        source: x509_parser::nom::Err<x509_parser::error::X509Error>,
    },
    /// Its subject has no such part, or several.
    #[error("the certificate's subject must have one {what}, it has {got}")]
    Subject {
        /// The part.
        what: &'static str,
        /// How many there are.
        got: usize,
    },
    /// A part of its subject is no name.
    #[error("the certificate's {what} is no name")]
    Name {
        /// The part.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: canh_event::IdError,
    },
}

/// Returns the configuration of an agent: it trusts `ca_pem` and shows `cert_pem`.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(ca_pem: &[u8], cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = key_pair(cert_pem, key_pem)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| TlsError::KeyPair { source })?
        .with_root_certificates(authorities(ca_pem)?)
        .with_client_auth_cert(chain, key)
        .map_err(|source| TlsError::KeyPair { source })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Returns the configuration of a collector: it shows `cert_pem` and lets in whom `ca_pem` vouches for.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(ca_pem: &[u8], cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = Arc::new(authorities(ca_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(&provider))
        .build()
        .map_err(|source| TlsError::Verifier { source })?;
    let (chain, key) = key_pair(cert_pem, key_pem)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|source| TlsError::KeyPair { source })?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::KeyPair { source })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Returns who the peer is; `certificates` are what the handshake has verified, its own first.
///
/// # Errors
/// [`IdentityError`].
pub fn identity(certificates: &[CertificateDer<'_>]) -> Result<AgentIdentity, IdentityError> {
    let first = certificates.first().ok_or(IdentityError::Missing)?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|source| IdentityError::Unreadable { source })?;
    let subject = certificate.subject();
    let agent = only_one("common name", subject, |name| texts(name.iter_common_name()))?;
    let agency = only_one("organisation", subject, |name| texts(name.iter_organization()))?;
    let facts = CertificateFacts::of(first, &certificate);
    Ok(AgentIdentity {
        agent: agent.parse().map_err(|source| IdentityError::Name { what: "common name", source })?,
        agency: agency.parse().map_err(|source| IdentityError::Name { what: "organisation", source })?,
        serial: facts.serial,
        not_before: facts.not_before,
        not_after: facts.not_after,
        key: facts.key,
    })
}

/// Returns whom the first certificate of a text is for.
///
/// # Errors
/// [`IdentityError`].
pub fn identity_of_pem(pem: &[u8]) -> Result<AgentIdentity, IdentityError> {
    let first = CertificateDer::pem_slice_iter(pem).next().and_then(Result::ok);
    identity(first.as_slice())
}

fn only_one<'a>(
    what: &'static str,
    subject: &'a X509Name<'a>,
    parts: impl Fn(&'a X509Name<'a>) -> Vec<&'a str>,
) -> Result<&'a str, IdentityError> {
    match parts(subject).as_slice() {
        [text] => Ok(text),
        others => Err(IdentityError::Subject { what, got: others.len() }),
    }
}

/// A part that is no text stays as an empty one, which is no name.
fn texts<'a>(parts: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>) -> Vec<&'a str> {
    parts.map(|part| part.as_str().unwrap_or_default()).collect()
}

pub(crate) fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        found.push(certificate.map_err(|source| TlsError::Pem { what, source })?);
    }
    if found.is_empty() || found.len() > MAX_CERTIFICATES {
        return Err(TlsError::Count { what, got: found.len(), limit: MAX_CERTIFICATES });
    }
    Ok(found)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("CA file", pem)? {
        store.add(certificate).map_err(|source| TlsError::Authority { source })?;
    }
    Ok(store)
}

pub(crate) type KeyPair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) fn key_pair(cert_pem: &[u8], key_pem: &[u8]) -> Result<KeyPair, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|source| TlsError::Pem { what: "key file", source })?;
    Ok((certificates("certificate file", cert_pem)?, key))
}

#[cfg(test)]
mod tests;
