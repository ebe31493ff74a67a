//! A certificate authority in a folder: enough to begin with, and nothing an operator must learn.
//!
//! `ca init` makes `ca.pem` and `ca.key`; `ca issue` makes `ca.pem`, `cert.pem` and `key.pem` in a
//! folder of their own, for an agent (common name = agent, organisation = agency, for clients only)
//! or for the collector (its host names and addresses, for servers only). Keys are P-256, readable
//! by their owner only. Nothing is ever overwritten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use canh_event::{AgencyId, AgentId};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// How long before now certificates begin to hold: clocks of agents may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(86_400);
const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o755;

/// Why a certificate was not made. The operator's fault, but for [`CaError::Certificate`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaError {
    /// A file is there already.
    #[error("{} exists already and is not overwritten; remove it or choose another folder", path.display())]
    Exists { path: PathBuf },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The CA's own files are no certificate and key.
    #[error("{} and its key are no usable CA; make one with `canh-collector ca init`", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: rcgen::Error,
    },
    /// A host is no host name.
    #[error("{host:?} is neither a host name nor an address")]
    Host { host: String },
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
}

/// Whom a certificate is for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// An agent of an agency.
    Agent { agent: AgentId, agency: AgencyId },
    /// The collector, by its host names and addresses; at least one.
    Server { hosts: Vec<String> },
}

/// Makes a CA in `dir`.
///
/// # Errors
/// [`CaError`]; nothing is overwritten.
pub(crate) fn init(dir: &Path, name: &str, days: u32) -> Result<(), CaError> {
    let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    refuse_existing(&[&certificate, &key])?;
    make_dir(dir)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    hold_for(&mut params, days);
    let pair = KeyPair::generate()?;
    let pem = params.self_signed(&pair)?.pem();
    write_new(&key, &pair.serialize_pem(), KEY_MODE)?;
    write_new(&certificate, &pem, CERTIFICATE_MODE)
}

/// Makes a certificate and its key in `out`, vouched for by the CA in `dir`.
///
/// # Errors
/// [`CaError`]; nothing is overwritten.
pub(crate) fn issue(dir: &Path, subject: &Subject, out: &Path, days: u32) -> Result<(), CaError> {
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| out.join(name));
    refuse_existing(&files.each_ref().map(PathBuf::as_path))?;
    let ca_path = dir.join("ca.pem");
    let ca_pem = read(&ca_path)?;
    let authority = |source| CaError::Authority { path: ca_path.clone(), source };
    let ca_key = KeyPair::from_pem(&read(&dir.join("ca.key"))?).map_err(authority)?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).map_err(authority)?;
    let params = params_of(subject, days)?;
    let pair = KeyPair::generate()?;
    let pem = params.signed_by(&pair, &issuer)?.pem();
    make_dir(out)?;
    let [ca_out, cert_out, key_out] = files;
    write_new(&key_out, &pair.serialize_pem(), KEY_MODE)?;
    write_new(&cert_out, &pem, CERTIFICATE_MODE)?;
    write_new(&ca_out, &ca_pem, CERTIFICATE_MODE)
}

fn params_of(subject: &Subject, days: u32) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    hold_for(&mut params, days);
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

fn alternative_name(host: &str) -> Result<SanType, CaError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || CaError::Host { host: host.chars().take(80).collect() };
    let is_host = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'*'));
    if !is_host {
        return Err(refused());
    }
    Ok(SanType::DnsName(host.to_owned().try_into().map_err(|_| refused())?))
}

fn hold_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + DAY * days;
}

fn refuse_existing(paths: &[&Path]) -> Result<(), CaError> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CaError::Exists { path: path.to_path_buf() }),
        None => Ok(()),
    }
}

fn make_dir(dir: &Path) -> Result<(), CaError> {
    let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir);
    made.map_err(|source| CaError::File { action: "make", path: dir.to_owned(), source })
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(|source| CaError::File { action: "read", path: path.to_owned(), source })
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
        _ => CaError::File { action: "write", path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn agent() -> Subject {
        Subject::Agent { agent: "web-01".parse().unwrap(), agency: "so-tttt".parse().unwrap() }
    }

    #[test]
    fn issued_certificates_make_usable_ends_and_name_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, server, client) = (dir.path().join("ca"), dir.path().join("server"), dir.path().join("agent"));
        init(&ca, "Canh CA", 30).unwrap();
        let hosts = vec!["collector.test".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        issue(&ca, &Subject::Server { hosts }, &server, 30).unwrap();
        issue(&ca, &agent(), &client, 30).unwrap();
        let read = |dir: &Path, name| fs::read(dir.join(name)).unwrap();
        let files = |dir: &Path| (read(dir, "ca.pem"), read(dir, "cert.pem"), read(dir, "key.pem"));
        let (ca_pem, cert, key) = files(&server);
        canh_wire::tls::server_config(&ca_pem, &cert, &key).unwrap();
        let (ca_pem, cert, key) = files(&client);
        canh_wire::tls::client_config(&ca_pem, &cert, &key).unwrap();
    }

    #[test]
    fn keys_are_their_owners_only() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), "Canh CA", 30).unwrap();
        issue(dir.path(), &agent(), &dir.path().join("out"), 30).unwrap();
        for key in [dir.path().join("ca.key"), dir.path().join("out/key.pem")] {
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, out) = (dir.path().join("ca"), dir.path().join("out"));
        init(&ca, "Canh CA", 30).unwrap();
        let before = fs::read(ca.join("ca.key")).unwrap();
        assert!(matches!(init(&ca, "Canh CA", 30), Err(CaError::Exists { .. })));
        assert_eq!(fs::read(ca.join("ca.key")).unwrap(), before);
        issue(&ca, &agent(), &out, 30).unwrap();
        assert!(matches!(issue(&ca, &agent(), &out, 30), Err(CaError::Exists { .. })));
        fs::remove_file(out.join("cert.pem")).unwrap();
        fs::remove_file(out.join("ca.pem")).unwrap();
        assert!(matches!(issue(&ca, &agent(), &out, 30), Err(CaError::Exists { .. })), "a key alone is kept too");
    }

    #[test]
    fn folder_without_a_ca_and_hosts_that_are_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        assert!(matches!(issue(dir.path(), &agent(), &out, 30), Err(CaError::File { .. })));
        init(dir.path(), "Canh CA", 30).unwrap();
        let hosts = vec!["a b".to_owned()];
        assert!(matches!(issue(dir.path(), &Subject::Server { hosts }, &out, 30), Err(CaError::Host { .. })));
        assert!(!out.exists(), "a refused request leaves nothing behind");
    }
}
