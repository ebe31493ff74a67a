//! From files to the two TLS configurations: one for agents with a certificate, one for hosts with a token.
//!
//! What the configuration names by itself comes first, what it does not comes from the CA's folder. The
//! CAs of both are trusted, so a site with a PKI of its own can let its agents in beside enrolled ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use canh_event::Timestamp;
use canh_wire::{CertificateFacts, Fingerprint, MAX_AUTHORITIES, certificates_of, first_contact};
use rustls::ServerConfig;

use crate::ca;
use crate::config::TlsFiles;
use crate::folder::{self, Folder, FolderError, MAX_PEM_BYTES, Stamp};
use crate::metrics::Metrics;
use crate::server_identity;

/// The configurations, and what they say about themselves.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// For agents with a certificate.
    pub(crate) session: Arc<ServerConfig>,
    /// For hosts with a token; none if there is no CA to issue.
    pub(crate) first_contact: Option<Arc<ServerConfig>>,
    collector_expires: Timestamp,
    ca_expires: Timestamp,
}

/// Where everything is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) files: TlsFiles,
    pub(crate) folder: Folder,
}

/// The states of the folder's files that [`Plan::build`] reads.
pub(crate) type Stamps = [Option<Stamp>; 3];

/// What was read.
struct Texts {
    authorities: String,
    certificate: String,
    key: String,
}

impl Plan {
    /// Reads everything and makes the configurations.
    ///
    /// # Errors
    /// A file is missing or unusable.
    pub(crate) fn build(&self) -> anyhow::Result<Tls> {
        let Texts { authorities, certificate, key } = self.read()?;
        let what = || format!("while using {} with its key and {}", self.certificate().display(), self.ca().display());
        let (ca, cert, key) = (authorities.as_bytes(), certificate.as_bytes(), key.as_bytes());
        let session = canh_wire::tls::server_config(ca, cert, key).with_context(what)?;
        let first_contact = if self.folder.has(folder::ISSUER) {
            let shown = format!("{}{authorities}", self.bridge()?);
            Some(first_contact::server_config(shown.as_bytes(), cert, key).with_context(what)?)
        } else {
            None
        };
        let collector_expires = CertificateFacts::of_pem(cert).with_context(what)?.not_after;
        let ca_expires = CertificateFacts::of_pem(ca).with_context(what)?.not_after;
        Ok(Tls { session, first_contact, collector_expires, ca_expires })
    }

    /// Makes the collector's certificate anew if it is the folder's and should be made anew.
    ///
    /// # Errors
    /// It cannot be made; one that is there stays.
    pub(crate) fn keep_current(&self, now: Timestamp) -> anyhow::Result<bool> {
        let is_ours =
            self.files.certificate.is_none() && self.folder.has(folder::HOSTS) && self.folder.has(folder::ISSUER);
        if !is_ours {
            return Ok(false);
        }
        let _lock = self.folder.lock()?;
        Ok(server_identity::keep_current(&self.folder, now)?)
    }

    /// Returns what tells whether [`Plan::build`] would give something else.
    pub(crate) fn stamps(&self) -> Stamps {
        [folder::CA, folder::SERVER, folder::BRIDGE].map(|name| self.folder.stamp(name).ok())
    }

    /// Returns the CAs that are trusted beside the folder's, as DER: agents must know them too if the
    /// collector's certificate is of one of them.
    ///
    /// # Errors
    /// The file is unusable.
    pub(crate) fn other_authorities(&self) -> anyhow::Result<Vec<Box<[u8]>>> {
        match (&self.files.certificate, &self.files.ca) {
            (Some(_), Some(ca)) => {
                let text = read(ca)?;
                certificates_of(text.as_bytes(), MAX_AUTHORITIES).with_context(|| ca.display().to_string())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Returns the hash that a new token carries: of the CA that a host gets to from what the collector
    /// shows.
    ///
    /// # Errors
    /// There is no CA, or none that vouches for the collector's certificate.
    pub(crate) fn authority_for_tokens(&self) -> anyhow::Result<Fingerprint> {
        let issuer = ca::issuer_facts(&self.folder)?;
        let Some(path) = &self.files.certificate else { return Ok(issuer.fingerprint) };
        let own = CertificateFacts::of_pem(read(path)?.as_bytes()).with_context(|| path.display().to_string())?;
        if issuer.is_issuer_of(&own) {
            return Ok(issuer.fingerprint);
        }
        for other in self.other_authorities()? {
            let facts = CertificateFacts::of_der(&other)?;
            if facts.is_issuer_of(&own) {
                return Ok(facts.fingerprint);
            }
        }
        anyhow::bail!("{} is of none of the CAs in listen.ca, so a host could not check it", path.display())
    }

    fn read(&self) -> anyhow::Result<Texts> {
        let mut authorities = match self.folder.read(folder::CA, MAX_PEM_BYTES) {
            Err(error) if error.is_missing() => String::new(),
            text => text?,
        };
        if let Some(ca) = &self.files.ca {
            authorities.push_str(&read(ca)?);
        }
        let advice = || {
            format!(
                "{} is not there: run `canh-collector ca init --host NAME,...`, or name files under [listen]",
                self.ca().display()
            )
        };
        ensure!(!authorities.is_empty(), advice());
        let certificate = self.file_or_folder(self.files.certificate.as_deref())?;
        let key = self.file_or_folder(self.files.key.as_deref())?;
        Ok(Texts { authorities, certificate, key })
    }

    fn file_or_folder(&self, file: Option<&Path>) -> anyhow::Result<String> {
        match file {
            Some(path) => read(path),
            None => match self.folder.read(folder::SERVER, MAX_PEM_BYTES) {
                Err(error) if error.is_missing() => Err(error).context(
                    "the collector has no certificate: run `canh-collector ca init --host NAME,...`, write its names into \
                     the file `hosts` beside the CA, or name files under [listen]",
                ),
                text => Ok(text?),
            },
        }
    }

    fn bridge(&self) -> Result<String, FolderError> {
        match self.folder.read(folder::BRIDGE, MAX_PEM_BYTES) {
            Err(error) if error.is_missing() => Ok(String::new()),
            text => text,
        }
    }

    fn ca(&self) -> PathBuf {
        self.files.ca.clone().unwrap_or_else(|| self.folder.path(folder::CA))
    }

    fn certificate(&self) -> PathBuf {
        self.files.certificate.clone().unwrap_or_else(|| self.folder.path(folder::SERVER))
    }
}

impl Tls {
    /// Shows until when certificates hold.
    pub(crate) fn show(&self, metrics: &Metrics) {
        for (certificate, expires) in [("collector", self.collector_expires), ("ca", self.ca_expires)] {
            metrics.certificate_expiry.with_label_values(&[certificate]).set(expires.secs());
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("while reading {}", path.display()))
}
