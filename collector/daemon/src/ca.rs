//! What an operator does with the CA: makes it, issues by hand, puts another in its place.
//!
//! ```text
//!  init ──► one CA ── rotate ──► two: the new one issues, both are trusted ── retire ──► one CA
//! ```
//!
//! While two are trusted, agents learn of the new one with their next certificate. The collector shows a
//! certificate of the old one for as long as an agent may not know the new one (`server_identity.rs`),
//! and `retire` refuses until then. Nothing is ever overwritten but by `rotate` and `retire`, which leave
//! a usable folder wherever they are cut off.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_event::Timestamp;
use canh_wire::{CertificateFacts, certificate_pem};

use crate::authority::{Authority, AuthorityError, Subject, Term, trusted};
use crate::folder::{self, Folder, FolderError, MAX_PEM_BYTES, PUBLIC_MODE, SECRET_MODE, make_dir};
use crate::registry::{self, RegistryError};
use crate::revocation::{self, RevocationError};
use crate::server_identity::{self, ServerIdentityError};

const DAY: Duration = Duration::from_secs(86_400);

/// Why the CA was left as it is, or a certificate was not made. The operator's fault, mostly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    /// A file is there already.
    #[error("{} exists already and is not overwritten; remove it or choose another folder", path.display())]
    Exists { path: PathBuf },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another rotation is under way.
    #[error("two CAs are trusted already: retire the old one first (`canh-collector ca retire`)")]
    Rotating,
    /// There is nothing to retire.
    #[error("only one CA is trusted, there is none to retire")]
    NotRotating,
    /// Agents would be locked out.
    #[error(
        "{waiting} agents have no certificate of the new CA yet (the last of the old ones expires {until}), such as \
         {example}; wait for them, or lock them out with --force"
    )]
    AgentsWaiting { waiting: usize, until: Timestamp, example: String },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Revocation(#[from] RevocationError),
    #[error(transparent)]
    Server(#[from] ServerIdentityError),
}

/// Makes a CA in `folder`, and the collector's certificate if it is told the collector's names.
///
/// # Errors
/// [`CaError`]; nothing is overwritten.
pub(crate) fn init(folder: &Folder, name: &str, hosts: &[String], days: u32, now: Timestamp) -> Result<(), CaError> {
    folder.make("")?;
    let _lock = folder.lock()?;
    refuse_existing(&[folder.path(folder::CA), folder.path(folder::ISSUER)])?;
    let (certificate, both) = Authority::make(name, term(days, now))?;
    if !hosts.is_empty() {
        server_identity::check_hosts(hosts)?;
    }
    if !folder.has(folder::REVOKED) {
        revocation::make_empty(folder)?;
    }
    folder.write(folder::ISSUER, &both, SECRET_MODE)?;
    folder.write(folder::CA, &certificate, PUBLIC_MODE)?;
    if !hosts.is_empty() {
        server_identity::set_hosts(folder, hosts)?;
        server_identity::keep_current(folder, now)?;
    }
    Ok(())
}

/// Makes a certificate and its key in `out`, vouched for by the CA in `folder`.
///
/// # Errors
/// [`CaError`]; nothing is overwritten.
pub(crate) fn issue(folder: &Folder, subject: &Subject, out: &Path, days: u32, now: Timestamp) -> Result<(), CaError> {
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| out.join(name));
    refuse_existing(&files)?;
    let authority = Authority::load(folder)?;
    let authorities: String = trusted(folder)?.iter().map(|der| certificate_pem(der)).collect();
    let pair = authority.make_pair(subject, term(days, now))?;
    make_dir(out).map_err(|source| CaError::Write { path: out.to_owned(), source })?;
    if let Subject::Agent { agent, agency } = subject {
        let _lock = folder.lock()?;
        registry::record_by_hand(folder, agent, agency, &pair.certificate.facts, now)?;
    }
    let [ca_out, cert_out, key_out] = files;
    write_new(&key_out, &pair.key_pem, SECRET_MODE)?;
    write_new(&cert_out, &pair.certificate_pem, PUBLIC_MODE)?;
    write_new(&ca_out, &authorities, PUBLIC_MODE)
}

/// Makes a new CA that issues from now on; both are trusted until the old one is retired.
///
/// # Errors
/// [`CaError`].
pub(crate) fn rotate(folder: &Folder, name: Option<&str>, days: u32, now: Timestamp) -> Result<(), CaError> {
    let _lock = folder.lock()?;
    let old = Authority::load(folder)?;
    if folder.has(folder::PREVIOUS) {
        return Err(CaError::Rotating);
    }
    let name = name.map_or_else(|| next_name(&old.facts.common_name), str::to_owned);
    let term = term(days, now);
    let (certificate, both) = Authority::make(&name, term)?;
    let kept = folder.read(folder::ISSUER, MAX_PEM_BYTES)?;
    // In this order: what is trusted is so before anything is signed by it, and the old key is never lost.
    folder.write(folder::CA, &format!("{certificate}{}", old.pem), PUBLIC_MODE)?;
    folder.write(folder::PREVIOUS, &kept, SECRET_MODE)?;
    folder.write(folder::ISSUER, &both, SECRET_MODE)?;
    let new = Authority::load(folder)?;
    folder.write(folder::BRIDGE, &new.vouch_for(&old, term)?, PUBLIC_MODE)?;
    Ok(())
}

/// Trusts the old CA no more. Without `is_forced` only once every agent knows the new one.
///
/// # Errors
/// [`CaError`].
pub(crate) fn retire(folder: &Folder, is_forced: bool, now: Timestamp) -> Result<(), CaError> {
    let _lock = folder.lock()?;
    let new = Authority::load(folder)?;
    if !folder.has(folder::PREVIOUS) && trusted(folder)?.len() == 1 {
        return Err(CaError::NotRotating);
    }
    let waiting = registry::not_of(folder, &new.facts, now)?;
    if let Some(last) = waiting.iter().max_by_key(|waiting| waiting.until)
        && !is_forced
    {
        let example = last.agent.to_string();
        return Err(CaError::AgentsWaiting { waiting: waiting.len(), until: last.until, example });
    }
    // The collector's certificate first: agents that know the new CA accept it at once.
    if folder.has(folder::SERVER) {
        server_identity::issue_by(folder, &new, now)?;
    }
    folder.write(folder::CA, &new.pem, PUBLIC_MODE)?;
    folder.remove(folder::BRIDGE)?;
    folder.remove(folder::PREVIOUS)?;
    Ok(())
}

/// Returns the hash that a token carries: that of the CA that issues. A collector's certificate of the
/// CA before it leads there by the bridge.
pub(crate) fn issuer_facts(folder: &Folder) -> Result<CertificateFacts, AuthorityError> {
    Authority::load(folder).map(|authority| authority.facts)
}

/// `Canh CA` is followed by `Canh CA 2`, that by `Canh CA 3`.
fn next_name(name: &str) -> String {
    let numbered = name.rsplit_once(' ').and_then(|(base, number)| Some((base, number.parse::<u32>().ok()?)));
    match numbered {
        Some((base, number)) => format!("{base} {}", number.saturating_add(1)),
        None => format!("{name} 2"),
    }
}

fn term(days: u32, now: Timestamp) -> Term {
    Term { issued: now, life: DAY * days }
}

fn refuse_existing(paths: &[PathBuf]) -> Result<(), CaError> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CaError::Exists { path: path.clone() }),
        None => Ok(()),
    }
}

/// Writes a file that must not be there yet, and has it on disk before it returns.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CaError::Exists { path: path.to_owned() },
        _ => CaError::Write { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests;
