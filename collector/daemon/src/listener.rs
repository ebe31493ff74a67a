//! Accepts connections and takes them through the TLS handshake; what passes becomes a session.
//!
//! Before it has shown a certificate of our CA a peer costs one of a bounded number of places, for
//! at most five seconds, and can send nothing that is looked at. Why it got no further is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canh_service::signals::Shutdown;
use canh_wire::HANDSHAKE_TIMEOUT;
use canh_wire::tls::{ALPN, AgentIdentity, identity};
use rustls::{CertificateError, ServerConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::session::{self, Ending, Shared};
use crate::throttle::Throttle;

/// Connections the kernel keeps until we accept them: all agents of a province at once.
const BACKLOG: u32 = 4_096;
/// How long to wait after a failed accept (no descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than the sessions' own deadline to wait for them at a stop.
const STOP_SLACK: Duration = Duration::from_secs(3);

/// The listener's parts.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    handshakes: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// What all connections share that is not a session's.
#[derive(Debug)]
struct Door {
    shared: Arc<Shared>,
    refusals: Throttle,
    endings: Throttle,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the handshake was not done in time")]
    Timeout,
    #[error("the handshake failed")]
    Tls(#[source] io::Error),
    #[error("the peer does not speak this protocol")]
    Protocol,
    #[error("the certificate names no agent")]
    Identity(#[from] canh_wire::tls::IdentityError),
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(crate) fn bind(
        address: SocketAddr,
        handshakes: usize,
        tls: watch::Receiver<Arc<ServerConfig>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let handshakes = Arc::new(Semaphore::new(handshakes));
        Ok(Self { socket: socket.listen(BACKLOG)?, tls, handshakes, shared })
    }

    /// Returns the bound address; its port is a real one even if 0 was asked for.
    ///
    /// # Errors
    /// The socket is gone.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until the shutdown, then waits for every session to acknowledge and leave.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let second = Duration::from_secs(1);
        let (shared, refusals, endings) = (Arc::clone(&self.shared), Throttle::new(second), Throttle::new(second));
        let door = Arc::new(Door { shared, refusals, endings });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (accepted, slot) = tokio::select! {
                next = self.accept() => next,
                () = shutdown.wait() => break,
            };
            match (accepted, slot) {
                (Ok((stream, peer)), Ok(slot)) => {
                    let tls = TlsAcceptor::from(Arc::clone(&self.tls.borrow()));
                    connections.spawn(serve(stream, peer, tls, slot, Arc::clone(&door)));
                }
                (Ok(_), Err(_)) => break,
                (Err(error), _) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(self.shared.stop_deadline + STOP_SLACK, all).await.is_err() {
            tracing::warn!(left = connections.len(), "connections did not end in time and are cut");
        }
        connections.shutdown().await;
    }

    async fn accept(
        &self,
    ) -> (io::Result<(TcpStream, SocketAddr)>, Result<OwnedSemaphorePermit, tokio::sync::AcquireError>) {
        let slot = Arc::clone(&self.handshakes).acquire_owned().await;
        (self.socket.accept().await, slot)
    }
}

/// One connection's whole life.
async fn serve(stream: TcpStream, peer: SocketAddr, tls: TlsAcceptor, slot: OwnedSemaphorePermit, door: Arc<Door>) {
    // An acknowledgement is small and somebody waits for it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    let shaken = Box::pin(shake_hands(stream, tls)).await;
    drop(slot);
    let metrics = &door.shared.metrics;
    let (stream, who) = match shaken {
        Ok(shaken) => shaken,
        Err(refusal) => {
            metrics.handshakes_refused.with_label_values(&[refusal.as_str()]).inc();
            if let Some(held_back) = door.refusals.pass(Instant::now()) {
                let error = &refusal as &dyn std::error::Error;
                tracing::warn!(%peer, reason = refusal.as_str(), error, held_back, "handshake refused");
            }
            return;
        }
    };
    metrics.connections_total.inc();
    metrics.connections.inc();
    let agent = who.agent.clone();
    let ending = Box::pin(session::serve(stream, who, &door.shared)).await;
    metrics.connections.dec();
    match &ending {
        Ending::Left | Ending::Stopping => tracing::info!(%agent, "agent disconnected"),
        ending => {
            if let Some(held_back) = door.endings.pass(Instant::now()) {
                let error = ending as &dyn std::error::Error;
                tracing::warn!(%agent, %peer, reason = ending.as_str(), error, held_back, "connection ended");
            }
        }
    }
}

async fn shake_hands(stream: TcpStream, tls: TlsAcceptor) -> Result<(TlsStream<TcpStream>, AgentIdentity), Refusal> {
    let shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    let stream = shaken.map_err(|_| Refusal::Timeout)?.map_err(Refusal::Tls)?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(Refusal::Protocol);
    }
    let who = identity(connection.peer_certificates().unwrap_or_default())?;
    Ok((stream, who))
}

impl Refusal {
    /// Returns one word for it, for a label.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Identity(_) => "identity",
            Self::Tls(error) => match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
                Some(error) => reason_of(error),
                None => "hung_up",
            },
        }
    }
}

fn reason_of(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::NoCertificatesPresented => "no_certificate",
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown_authority",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
            CertificateError::Revoked => "revoked",
            _ => "certificate",
        },
        // The peer did not like ours.
        rustls::Error::AlertReceived(_) => "refused_by_peer",
        rustls::Error::PeerIncompatible(_) => "incompatible",
        rustls::Error::NoApplicationProtocol => "protocol",
        _ => "not_tls",
    }
}
