//! The collector's own certificate, where the CA's folder holds it: made when it is missing, renewed at
//! two thirds of its life, and changed to a new CA once every agent knows that one.

use std::time::Duration;

use canh_event::Timestamp;
use canh_wire::CertificateFacts;

use crate::authority::{Authority, AuthorityError, Subject, Term, issued_at};
use crate::folder::{self, Folder, FolderError, MAX_PEM_BYTES, PUBLIC_MODE, SECRET_MODE};
use crate::registry::{self, RegistryError};
use crate::tokens::{self, TokensError};

/// How long the collector's certificate holds; it renews itself, and a stolen one is of use for no longer.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// Longest list of hosts.
const MAX_HOSTS_BYTES: u64 = 8 << 10;
/// What the line of hosts begins with, before the certificate: text outside of PEM blocks is a remark.
const REMARK: &str = "hosts: ";

/// Why the collector has no certificate of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerIdentityError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Nobody has said what the collector is called.
    #[error("{} names no host that agents reach the collector by, one a line", path.display())]
    NoHosts { path: std::path::PathBuf },
}

/// Says whether hosts can stand in a certificate.
pub(crate) fn check_hosts(hosts: &[String]) -> Result<(), AuthorityError> {
    hosts.iter().try_for_each(|host| crate::authority::check_host(host))
}

/// Writes down the names of the collector.
pub(crate) fn set_hosts(folder: &Folder, hosts: &[String]) -> Result<(), ServerIdentityError> {
    check_hosts(hosts)?;
    Ok(folder.write(folder::HOSTS, &format!("{}\n", hosts.join("\n")), PUBLIC_MODE)?)
}

/// Makes the collector's certificate anew if it should be: none there, other hosts, two thirds of its
/// life over, or another CA. Returns whether it did.
///
/// # Contract
/// The caller holds the folder's lock.
pub(crate) fn keep_current(folder: &Folder, now: Timestamp) -> Result<bool, ServerIdentityError> {
    let authority = authority_to_show(folder, now)?;
    if is_current(folder, &authority, now)? {
        return Ok(false);
    }
    issue_by(folder, &authority, now)?;
    Ok(true)
}

/// Makes the collector's certificate anew.
pub(crate) fn issue_by(folder: &Folder, authority: &Authority, now: Timestamp) -> Result<(), ServerIdentityError> {
    let hosts = hosts(folder)?;
    let remark = hosts.join(" ");
    let pair = authority.make_pair(&Subject::Server { hosts }, Term { issued: now, life: LIFE })?;
    let text = format!("{REMARK}{remark}\n{}{}", pair.certificate_pem, pair.key_pem);
    Ok(folder.write(folder::SERVER, &text, SECRET_MODE)?)
}

/// Returns the CA whose certificate agents and open tokens can check: the one before, until all know the
/// one that issues.
fn authority_to_show(folder: &Folder, now: Timestamp) -> Result<Authority, ServerIdentityError> {
    let issuer = Authority::load(folder)?;
    if !folder.has(folder::PREVIOUS) {
        return Ok(issuer);
    }
    let all_know = registry::not_of(folder, &issuer.facts, now)?.is_empty()
        && tokens::open_of_other_than(folder, &issuer.facts.fingerprint, now)? == 0;
    if all_know { Ok(issuer) } else { Ok(Authority::load_from(folder, folder::PREVIOUS)?) }
}

fn is_current(folder: &Folder, authority: &Authority, now: Timestamp) -> Result<bool, ServerIdentityError> {
    let text = match folder.read(folder::SERVER, MAX_PEM_BYTES) {
        Err(error) if error.is_missing() => return Ok(false),
        text => text?,
    };
    let Ok(facts) = CertificateFacts::of_pem(text.as_bytes()) else { return Ok(false) };
    let same_hosts = text.lines().next() == Some(&format!("{REMARK}{}", hosts(folder)?.join(" ")));
    Ok(same_hosts && authority.facts.is_issuer_of(&facts) && !is_due(&facts, now))
}

/// Returns whether two thirds of a certificate's life are over.
fn is_due(facts: &CertificateFacts, now: Timestamp) -> bool {
    let issued = issued_at(facts.not_before);
    now >= issued.saturating_add(facts.not_after.since(issued) / 3 * 2)
}

fn hosts(folder: &Folder) -> Result<Vec<String>, ServerIdentityError> {
    let text = folder.read(folder::HOSTS, MAX_HOSTS_BYTES)?;
    let hosts: Vec<String> = text.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect();
    if hosts.is_empty() { Err(ServerIdentityError::NoHosts { path: folder.path(folder::HOSTS) }) } else { Ok(hosts) }
}
