//! How a host becomes an agent: with a token, once, and without anybody copying files.
//!
//! ```text
//!  key made here ─ TLS, collector known by the hash in the token ─ ENROL ─► CREDENTIAL ─ written whole
//! ```
//!
//! It is safe to run again: where a valid certificate is, nothing is asked and nothing changes.

use std::io;
use std::path::{Path, PathBuf};

use canh_event::{AgentId, Timestamp};
use canh_wire::tls::AgentIdentity;
use canh_wire::{Credential, DenialCode, Enrol, EnrolToken, Frame, FrameError, FrameReader, SPOKEN, first_contact};
use rustls::CertificateError;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::now;
use crate::identity::{IdentityFiles, IdentityFilesError, PendingKey};

/// How long connecting may take, and how long the handshake, and how long the answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What an operator wants.
#[derive(Clone, Debug)]
pub struct EnrolOrder {
    /// The collector, as `host:port`.
    pub collector: String,
    /// The name in the collector's certificate; without it the host of `collector`.
    pub server_name: Option<String>,
    /// The token.
    pub token: EnrolToken,
    /// The agent's name, where the token does not say one; without it `host_name`.
    pub name: Option<AgentId>,
    /// This host's own name, proposed if neither the token nor the operator says one.
    pub host_name: Option<AgentId>,
    /// The folder for certificate and key.
    pub dir: PathBuf,
    /// Whether a valid certificate that is there is replaced.
    pub is_forced: bool,
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// The host is an agent now.
    Now(AgentIdentity),
    /// It was one before, and nothing was done.
    Already(AgentIdentity),
}

/// Why the host is no agent. Nothing has changed on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The name to check the collector's certificate for is none.
    #[error("{name:?} is no host name and no address: say --collector HOST:PORT")]
    ServerName {
        /// The name.
        name: String,
    },
    /// No connection.
    #[error("cannot connect to {collector}: check the address, the port, and that a firewall lets it through")]
    Connect {
        /// Whom.
        collector: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("{collector} does not answer while {what}: is it a collector, and is the line up?")]
    Silence {
        /// Who.
        collector: String,
        /// What was being done.
        what: &'static str,
    },
    /// The collector is another one than the token's.
    #[error(
        "{collector} is not the collector the token was made on, or somebody listens in between: check the address; \
         if it is right, make a new token there"
    )]
    OtherCollector {
        /// Who.
        collector: String,
    },
    /// Its certificate is for other names.
    #[error(
        "the certificate of {collector} is not for the name {name:?}: give one of its names with --server-name, or add \
         this name to the file `hosts` beside the collector's CA"
    )]
    OtherName {
        /// Who.
        collector: String,
        /// The name that was expected.
        name: String,
    },
    /// Its certificate does not hold now.
    #[error("the certificate of {collector} does not hold at {now}: is this host's clock right?")]
    Clock {
        /// Who.
        collector: String,
        /// Our clock.
        now: Timestamp,
    },
    /// The handshake failed otherwise.
    #[error("no TLS handshake with {collector}: is it a canh-collector of this release, with a CA of its own?")]
    Tls {
        /// Who.
        collector: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The connection broke before the answer.
    #[error(
        "the connection to {collector} broke before its answer: run this again; if the token was used up by then, make \
         a new one for this agent with --replace"
    )]
    Broken {
        /// Who.
        collector: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The answer is none.
    #[error("{collector} answers with what is no answer: is it a canh-collector of this release?")]
    Answer {
        /// Who.
        collector: String,
        /// What is wrong with its bytes, if they are no frames.
        #[source]
        source: Option<FrameError>,
    },
    /// The collector says no.
    #[error("{collector} refuses: {}", advice(*code))]
    Denied {
        /// Who.
        collector: String,
        /// Why.
        code: DenialCode,
    },
    /// Key or certificate cannot be kept.
    #[error(transparent)]
    Files(#[from] IdentityFilesError),
    /// The TLS library cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[from] canh_wire::tls::TlsError),
}

/// Makes this host an agent, unless it is one.
///
/// # Errors
/// [`EnrolError`]; nothing has changed on this host then.
pub async fn enrol(order: &EnrolOrder) -> Result<Enrolled, EnrolError> {
    let files = IdentityFiles::in_dir(&order.dir);
    let valid = files.who().filter(|who| who.not_after > now() && files.are_usable());
    if let Some(who) = valid.filter(|_| !order.is_forced) {
        return Ok(Enrolled::Already(who));
    }
    writable(&order.dir)?;
    let pending = PendingKey::make()?;
    let credential = match ask(order, &pending, order.name.clone()).await {
        // The token leaves the name to the host; it was not used up by asking.
        Err(EnrolError::Denied { code: DenialCode::NameMissing, .. }) if order.host_name.is_some() => {
            ask(order, &pending, order.host_name.clone()).await?
        }
        asked => asked?,
    };
    Ok(Enrolled::Now(files.install(&pending, &credential, now())?))
}

/// Says early, before the token is used up, whether the folder can be written.
fn writable(dir: &Path) -> Result<(), EnrolError> {
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".canh-enrol.{}", std::process::id()));
    let written = std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe));
    let path = dir.to_owned();
    written.map_err(|source| IdentityFilesError::System { action: "write into", path, source }.into())
}

async fn ask(order: &EnrolOrder, pending: &PendingKey, name: Option<AgentId>) -> Result<Credential, EnrolError> {
    let collector = || order.collector.clone();
    let mut stream = connect(order).await?;
    let EnrolToken { id, secret, .. } = order.token.clone();
    let enrol = Enrol { token: id, secret, name, request: pending.request.clone() };
    let mut bytes = Vec::new();
    Frame::Enrol(enrol).encode(SPOKEN.newest, &mut bytes);
    let exchange = async {
        let broken = |source| EnrolError::Broken { collector: collector(), source };
        stream.write_all(&bytes).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut frames = FrameReader::new();
        loop {
            let answer = |source| EnrolError::Answer { collector: collector(), source };
            match frames.next_frame().map_err(|error| answer(Some(error)))? {
                Some(Frame::Credential(credential)) => return Ok(credential),
                Some(Frame::Denied(denied)) => {
                    return Err(EnrolError::Denied { collector: collector(), code: denied.code });
                }
                Some(_) => return Err(answer(None)),
                None => {}
            }
            match stream.read(frames.room()).await.map_err(broken)? {
                0 => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                count => frames.filled(count),
            }
        }
    };
    let silence = |_| EnrolError::Silence { collector: collector(), what: "making the certificate" };
    timeout(PATIENCE, exchange).await.map_err(silence)?
}

async fn connect(order: &EnrolOrder) -> Result<TlsStream<TcpStream>, EnrolError> {
    let collector = order.collector.clone();
    let name = order.server_name.clone().unwrap_or_else(|| host_of(&collector).to_owned());
    let server_name = ServerName::try_from(name.clone())
        .map_err(|_| EnrolError::ServerName { name: name.chars().take(255).collect() })?;
    let silence = |what| {
        let collector = collector.clone();
        move |_| EnrolError::Silence { collector, what }
    };
    let tcp = timeout(PATIENCE, TcpStream::connect(&collector)).await.map_err(silence("connecting"))?;
    let tcp = tcp.map_err(|source| EnrolError::Connect { collector: collector.clone(), source })?;
    let config = first_contact::client_config(order.token.authority)?;
    let shaken = timeout(PATIENCE, TlsConnector::from(config).connect(server_name, tcp)).await;
    let stream =
        shaken.map_err(silence("shaking hands"))?.map_err(|source| why_no_handshake(&collector, &name, source))?;
    if stream.get_ref().1.alpn_protocol() != Some(first_contact::ALPN) {
        return Err(EnrolError::Answer { collector, source: None });
    }
    Ok(stream)
}

fn why_no_handshake(collector: &str, name: &str, source: io::Error) -> EnrolError {
    let collector = collector.to_owned();
    let error = source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(error)) = error else { return EnrolError::Tls { collector, source } };
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => EnrolError::OtherCollector { collector },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            EnrolError::OtherName { collector, name: name.to_owned() }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => EnrolError::Clock { collector, now: now() },
        _ => EnrolError::Tls { collector, source },
    }
}

/// Returns what a refusal means and what to do about it.
pub(crate) const fn advice(code: DenialCode) -> &'static str {
    match code {
        DenialCode::TokenUnknown => "it knows no such token; copy the token again, or make one there",
        DenialCode::TokenUsed => {
            "the token was used before, and each is good once; if it was not you, revoke the agent that used it \
             (`canh-collector token list`); else make a new one, with --replace if this host's name is taken"
        }
        DenialCode::TokenExpired => "the token's time is over; make a new one (`canh-collector token create`)",
        DenialCode::TokenRevoked => "the token was called back; ask whoever did (`canh-collector token list`)",
        DenialCode::NameTaken => {
            "an agent of this name is enrolled; choose another with --name, or, if this host takes its place, make a \
             token with --agent NAME --replace"
        }
        DenialCode::NameOther => "the token is for an agent of another name; leave --name out, or make another token",
        DenialCode::NameMissing => {
            "neither the token nor this host says a usable name; give one with --name: a-z, 0-9, '-', '_', '.'"
        }
        DenialCode::Unavailable => "it cannot issue certificates now; its log says why",
        DenialCode::Busy => "too many ask at the same time; run this again in a few seconds",
        DenialCode::Superseded => {
            "a newer certificate of this agent is in use; if on no other host, enrol this one anew"
        }
        DenialCode::Revoked => "this agent is revoked; enrol it with a token made with --agent NAME --replace",
        _ => "it does not accept the certificate request; are both of the same release?",
    }
}

/// Returns the host of `host:port`, an IPv6 address without its brackets.
fn host_of(endpoint: &str) -> &str {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
