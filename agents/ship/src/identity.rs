//! An agent's identity on its host: one file with its certificate and key, one with the CAs it trusts.
//!
//! ```text
//!  DIR/agent.pem   certificate, then key   0600    replaced whole: certificate and key always fit
//!  DIR/ca.pem      CAs                     0644    written first, and never less than what was trusted
//! ```
//!
//! The key is made here and never leaves. A new one for each certificate: whoever has copied an old one
//! has it for days at most, and shows himself when he uses it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use canh_event::Timestamp;
use canh_wire::tls::{self, AgentIdentity};
use canh_wire::{Credential, Fingerprint, certificate_pem};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustix::fs::{Gid, Uid};

/// The file with certificate and key, in its folder.
const IDENTITY: &str = "agent.pem";
/// The file with the CAs.
const AUTHORITIES: &str = "ca.pem";
/// Longest file of an identity.
const MAX_BYTES: u64 = 64 << 10;
const DIR_MODE: u32 = 0o700;
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

/// Where an identity is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityFiles {
    pub(crate) identity: PathBuf,
    pub(crate) authorities: PathBuf,
}

/// A key that waits for its certificate.
#[derive(Debug)]
pub(crate) struct PendingKey {
    key: KeyPair,
    /// The certificate request, as DER.
    pub(crate) request: Box<[u8]>,
}

/// An identity that cannot be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityFilesError {
    /// The system says so.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key cannot be made.
    #[error("a key cannot be made")]
    Key(#[source] rcgen::Error),
    /// What the collector sent is not for us.
    #[error("the collector's answer cannot be used: {what}")]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl IdentityFilesError {
    fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, path: path.to_owned(), source }
    }
}

impl IdentityFiles {
    /// Returns the files of an identity in a folder.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self { identity: dir.join(IDENTITY), authorities: dir.join(AUTHORITIES) }
    }

    /// Returns whom the certificate is for; nothing if there is none that can be read.
    pub(crate) fn who(&self) -> Option<AgentIdentity> {
        let mut text = Vec::new();
        File::open(&self.identity).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        tls::identity_of_pem(&text).ok()
    }

    /// Returns whether the files make a usable end of a connection.
    pub(crate) fn are_usable(&self) -> bool {
        let read = |path: &Path| fs::read(path).unwrap_or_default();
        let (authorities, identity) = (read(&self.authorities), read(&self.identity));
        tls::client_config(&authorities, &identity, &identity).is_ok()
    }

    /// Writes a certificate with the key that waited for it, and what to trust from now on.
    ///
    /// # Errors
    /// [`IdentityFilesError`]: what was there before is there still.
    pub(crate) fn install(
        &self,
        pending: &PendingKey,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<AgentIdentity, IdentityFilesError> {
        let certificate = certificate_pem(&credential.certificate);
        let who = check(pending, credential, &certificate, now)?;
        let authorities: String = credential.authorities.iter().map(|der| certificate_pem(der)).collect();
        let identity = format!("{certificate}{}", pending.key.serialize_pem());
        tls::client_config(authorities.as_bytes(), identity.as_bytes(), identity.as_bytes())
            .map_err(|_| IdentityFilesError::Answer { what: "its certificates are unusable" })?;
        for path in [&self.authorities, &self.identity] {
            make_parent(path).map_err(IdentityFilesError::on("make the folder of", path))?;
        }
        let write =
            |path: &Path, text: &str, mode| replace(path, text, mode).map_err(IdentityFilesError::on("write", path));
        write(&self.authorities, &authorities, PUBLIC_MODE)?;
        write(&self.identity, &identity, SECRET_MODE)?;
        Ok(who)
    }
}

impl PendingKey {
    /// Makes a key and a request for it.
    pub(crate) fn make() -> Result<Self, IdentityFilesError> {
        let key = KeyPair::generate().map_err(IdentityFilesError::Key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(IdentityFilesError::Key)?;
        Ok(Self { request: Box::from(request.der().as_ref()), key })
    }
}

fn check(
    pending: &PendingKey,
    credential: &Credential,
    certificate: &str,
    now: Timestamp,
) -> Result<AgentIdentity, IdentityFilesError> {
    let unusable = |what| IdentityFilesError::Answer { what };
    let who = tls::identity_of_pem(certificate.as_bytes()).map_err(|_| unusable("its certificate names no agent"))?;
    if who.agent != credential.agent || who.agency != credential.agency {
        return Err(unusable("its certificate names another agent than it says"));
    }
    if who.key != Fingerprint::of(&pending.key.subject_public_key_info()) {
        return Err(unusable("its certificate is for another key than ours"));
    }
    if now >= who.not_after || now < who.not_before {
        return Err(unusable("its certificate does not hold now: is this host's clock right?"));
    }
    Ok(who)
}

/// Makes the folder of a file and what is missing above it, each its parent's owner's.
fn make_parent(path: &Path) -> io::Result<()> {
    let dir = parent_of(path);
    if dir.is_dir() {
        return Ok(());
    }
    make_parent(dir)?;
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => give_to_owner_of(&File::open(dir)?, parent_of(dir)),
    }
}

/// Writes a file in place of the one that may be there: whole, and on disk, or not at all.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = path.with_file_name(format!(".{name}.new"));
    let write = || {
        let _ = fs::remove_file(&half);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&half)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        give_to_owner_of(&file, parent_of(path))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)
    };
    let written = write();
    if written.is_err() {
        // The first error is the one that is told.
        let _ = fs::remove_file(&half);
    }
    written.and_then(|()| File::open(parent_of(path))?.sync_all())
}

/// Enrolment is root's, the agent is not: what root makes belongs to whoever owns the folder.
fn give_to_owner_of(file: &File, dir: &Path) -> io::Result<()> {
    let (owner, own) = (fs::metadata(dir)?, file.metadata()?);
    if rustix::process::geteuid().is_root() && (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        rustix::fs::fchown(file, Some(Uid::from_raw(owner.uid())), Some(Gid::from_raw(owner.gid())))?;
    }
    Ok(())
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
pub(crate) mod tests;
