//! From an address to an open session: TCP, TLS 1.3 with both certificates, HELLO, WELCOME.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use canh_event::{AgentId, Timestamp};
use canh_wire::tls::AgentIdentity;
use canh_wire::{
    AgentSession, AgentSessionError, Frame, FrameError, FrameReader, Hello, SPOKEN, StreamState, Welcomed, tls,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::ShipConfig;
use crate::metrics::{SendFailure, ShipMetrics};
use crate::shared::run_blocking;

/// How long a TCP connection may take, name included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the TLS handshake, and then HELLO and WELCOME, may take: twice what the collector
/// allows, for its clock starts later.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name of the software in a HELLO, in bytes.
const SOFTWARE_BYTES: usize = 63;
/// Where Linux says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Certificates that cannot be read or used. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The files do not make a TLS configuration.
    #[error("certificate {} cannot be used", certificate.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// What is wrong, with it or with its key or CA.
        #[source]
        source: Box<tls::TlsError>,
    },
    /// The server's name is no DNS name and no address.
    #[error("server name {name:?} is not valid")]
    ServerName {
        /// The name.
        name: String,
    },
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(
        "the certificate of {agent} expired at {at}: make a token on the collector (canh-collector token create --agent \
         {agent} --replace --agency ...) and run `enrol` on this host; or is this host's clock wrong?"
    )]
    Expired { agent: AgentId, at: Timestamp },
    #[error("the certificate holds from {from} on, and it is {now}: is this host's clock right?")]
    NotYetValid { from: Timestamp, now: Timestamp },
    #[error("no connection")]
    Tcp(#[source] io::Error),
    #[error("no TLS handshake")]
    Tls(#[source] io::Error),
    #[error("the collector speaks another protocol: ALPN {}", String::from_utf8_lossy(tls::ALPN))]
    Protocol,
    #[error("no answer while {what}")]
    Silence { what: &'static str },
    #[error("connection broke before the welcome")]
    Broken(#[source] io::Error),
    #[error("the collector sends what is no frame")]
    Frame(#[source] FrameError),
    #[error("the collector does not welcome")]
    Session(#[from] AgentSessionError),
}

/// What is needed to open connections, checked once.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    server_name: ServerName<'static>,
}

/// What the files make.
struct Loaded {
    config: Arc<ClientConfig>,
    who: Option<AgentIdentity>,
}

/// A session that has been welcomed, and the frames read behind the WELCOME.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) welcomed: Welcomed,
    pub(crate) frames: FrameReader,
}

impl ConnectError {
    /// Returns the reason it is counted under.
    pub(crate) fn failure(&self) -> SendFailure {
        match self {
            Self::Credentials(_) | Self::Expired { .. } | Self::NotYetValid { .. } => SendFailure::Credentials,
            Self::Tcp(_) => SendFailure::Connect,
            Self::Tls(_) => SendFailure::Tls,
            Self::Silence { .. } => SendFailure::Silence,
            Self::Broken(_) => SendFailure::Broken,
            Self::Session(AgentSessionError::Refused { .. } | AgentSessionError::Bye { .. }) => SendFailure::Refused,
            Self::Protocol | Self::Frame(_) | Self::Session(_) => SendFailure::Protocol,
        }
    }
}

impl Credentials {
    /// Checks that the files can be used; they are read again for every connection.
    pub(crate) fn new(config: &ShipConfig) -> Result<Self, CredentialsError> {
        let name = config.server_name.clone();
        let server_name = ServerName::try_from(name)
            .map_err(|_| CredentialsError::ServerName { name: config.server_name.chars().take(255).collect() })?;
        let ShipConfig { ca, certificate, key, .. } = config.clone();
        let credentials = Self { ca, certificate, key, server_name };
        credentials.load().map(drop)?;
        Ok(credentials)
    }

    fn load(&self) -> Result<Loaded, CredentialsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| CredentialsError::Read { path: path.to_path_buf(), source })
        };
        let certificate = read(&self.certificate)?;
        let config = tls::client_config(&read(&self.ca)?, &certificate, &read(&self.key)?);
        let config = config.map_err(|source| CredentialsError::Tls {
            certificate: self.certificate.clone(),
            source: Box::new(source),
        })?;
        // One that names nobody is the collector's to refuse.
        Ok(Loaded { config, who: tls::identity_of_pem(&certificate).ok() })
    }

    /// Opens a TLS connection to a collector; returns also whom the certificate shown is for.
    pub(crate) async fn dial(
        &self,
        address: &str,
        metrics: &ShipMetrics,
    ) -> Result<(TlsStream<TcpStream>, Option<AgentIdentity>), ConnectError> {
        let credentials = self.clone();
        let Loaded { config, who } = run_blocking(move || credentials.load()).await?;
        if let Some(who) = &who {
            metrics.certificate_expiry.set(who.not_after.secs());
            check_time(who, now())?;
        }
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let tcp = connected.map_err(|_| ConnectError::Silence { what: "connecting" })?.map_err(ConnectError::Tcp)?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let handshake = TlsConnector::from(config).connect(self.server_name.clone(), tcp);
        let shaken = timeout(ANSWER_TIMEOUT, handshake).await;
        let stream = shaken.map_err(|_| ConnectError::Silence { what: "shaking hands" })?.map_err(ConnectError::Tls)?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::ALPN) {
            return Err(ConnectError::Protocol);
        }
        Ok((stream, who))
    }
}

/// Says here what a collector would only say as an alert.
fn check_time(who: &AgentIdentity, now: Timestamp) -> Result<(), ConnectError> {
    if now >= who.not_after {
        return Err(ConnectError::Expired { agent: who.agent.clone(), at: who.not_after });
    }
    if now < who.not_before {
        return Err(ConnectError::NotYetValid { from: who.not_before, now });
    }
    Ok(())
}

/// Says HELLO and waits for the WELCOME.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    software: &str,
    state: StreamState,
) -> Result<Greeted, ConnectError> {
    let hello = Hello {
        versions: SPOKEN,
        boot: run_blocking(boot_id).await,
        clock: now(),
        software: cut(software, SOFTWARE_BYTES).into(),
        capabilities: 0,
        streams: vec![state],
    };
    let session = AgentSession::new(hello);
    let mut bytes = Vec::new();
    session.hello().encode(SPOKEN.newest, &mut bytes);
    let exchange = async {
        stream.write_all(&bytes).await.map_err(ConnectError::Broken)?;
        stream.flush().await.map_err(ConnectError::Broken)?;
        first_frame(stream).await
    };
    let silence = ConnectError::Silence { what: "waiting for a welcome" };
    let (frame, mut frames) = timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_| silence)??;
    let welcomed = session.receive(frame)?;
    frames.settle(welcomed.welcome.version);
    Ok(Greeted { welcomed, frames })
}

async fn first_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Frame, FrameReader), ConnectError> {
    let mut frames = FrameReader::new();
    loop {
        if let Some(frame) = frames.next_frame().map_err(ConnectError::Frame)? {
            return Ok((frame, frames));
        }
        match stream.read(frames.room()).await.map_err(ConnectError::Broken)? {
            0 => return Err(ConnectError::Broken(io::ErrorKind::UnexpectedEof.into())),
            count => frames.filled(count),
        }
    }
}

/// Returns the time of this host's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Returns the id of this boot, 0 if the system does not say.
fn boot_id() -> u128 {
    let text = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("canh", 63), "canh");
        assert_eq!(cut("aấb", 3), "a");
        assert_eq!(cut("aấb", 4), "aấ");
    }

    #[test]
    fn boot_has_an_id_where_linux_says_so() {
        assert_eq!(boot_id() != 0, Path::new(BOOT_ID).exists());
    }
}
