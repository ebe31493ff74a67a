//! What a certificate says about itself, and certificates as text (PEM, RFC 7468) and back.

use canh_event::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fingerprint::Fingerprint;

/// Letters of a line of PEM.
const LINE: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a certificate says, as far as we ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The common name of its subject; empty if it has none or it is no text.
    pub common_name: Box<str>,
    /// The serial number in lower-case hexadecimal digits.
    pub serial: Box<str>,
    /// From when on it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
    /// The fingerprint of its public key.
    pub key: Fingerprint,
    /// The fingerprint of the whole certificate.
    pub fingerprint: Fingerprint,
    /// The key its issuer names, if it names one.
    pub authority_key: Option<Box<[u8]>>,
    /// The name of its own key, if it has one: what those it vouches for have as `authority_key`.
    pub subject_key: Option<Box<[u8]>>,
}

/// Bytes that are no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There is none in the text.
    #[error("there is no certificate in it")]
    Missing,
    /// The text is no PEM.
    #[error("it is not readable PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The bytes are none.
    #[error("the certificate cannot be read")]
    Unreadable(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
}

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn of_der(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(CertificateError::Unreadable)?;
        Ok(Self::of(der, &certificate))
    }

    /// Reads the first certificate of a text.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let first = CertificateDer::pem_slice_iter(pem).next().ok_or(CertificateError::Missing)?;
        Self::of_der(&first.map_err(CertificateError::Pem)?)
    }

    pub(crate) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Self {
        use x509_parser::extensions::ParsedExtension;
        let (mut authority_key, mut subject_key) = (None, None);
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(named) => {
                    authority_key = named.key_identifier.as_ref().map(|key| Box::from(key.0));
                }
                ParsedExtension::SubjectKeyIdentifier(key) => subject_key = Some(Box::from(key.0)),
                _ => {}
            }
        }
        let validity = certificate.validity();
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Self {
            common_name: Box::from(name.unwrap_or_default()),
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: Timestamp::from_secs(validity.not_before.timestamp()),
            not_after: Timestamp::from_secs(validity.not_after.timestamp()),
            key: Fingerprint::of(certificate.public_key().raw),
            fingerprint: Fingerprint::of(der),
            authority_key,
            subject_key,
        }
    }

    /// Returns whether this is the certificate of the CA that the other names as its issuer.
    pub fn is_issuer_of(&self, other: &Self) -> bool {
        self.subject_key.is_some() && self.subject_key == other.authority_key
    }
}

/// Returns every certificate of a text, at most `limit`.
///
/// # Errors
/// [`CertificateError`].
pub fn certificates_of(pem: &[u8], limit: usize) -> Result<Vec<Box<[u8]>>, CertificateError> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem).take(limit) {
        found.push(Box::from(certificate.map_err(CertificateError::Pem)?.as_ref()));
    }
    if found.is_empty() { Err(CertificateError::Missing) } else { Ok(found) }
}

/// Returns a certificate as text.
pub fn certificate_pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut written = 0;
    for three in der.chunks(3) {
        let held = three.iter().fold(0_usize, |held, byte| held << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = ALPHABET.get(held >> (18 - 6 * place) & 63).copied().unwrap_or(b'A');
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
        written += 4;
        if written % LINE == 0 {
            text.push('\n');
        }
    }
    if written % LINE != 0 {
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_survive_being_text() {
        for length in [0, 1, 2, 3, 47, 48, 49, 500] {
            let der: Vec<u8> = (0..length).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
            let pem = certificate_pem(&der);
            assert!(pem.lines().all(|line| line.len() <= LINE), "{pem}");
            assert_eq!(certificates_of(pem.as_bytes(), 2).unwrap(), [der.into_boxed_slice()]);
        }
        assert!(matches!(certificates_of(b"", 1), Err(CertificateError::Missing)));
        assert!(matches!(CertificateFacts::of_pem(b"x"), Err(CertificateError::Missing)));
        assert!(matches!(CertificateFacts::of_der(b"x"), Err(CertificateError::Unreadable(_))));
    }
}
