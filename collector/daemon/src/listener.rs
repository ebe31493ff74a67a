//! Accepts connections and takes them through the TLS handshake; what passes becomes a session.
//!
//! ```text
//!  accept ─ network? ─ ClientHello ─┬─ canh/1 ─ certificate ─ gate ─► session
//!                                   └─ canh-enrol/1 ─────────────► one request, one answer
//! ```
//!
//! Before it has shown a certificate of our CA a peer costs one of a bounded number of places, for at
//! most five seconds (two while most places are taken), and as much again if it enrols. What it can send
//! is a handshake and one short frame. Why it got no further is counted, and held against its network.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use canh_service::signals::Shutdown;
use canh_wire::HANDSHAKE_TIMEOUT;
use canh_wire::first_contact;
use canh_wire::tls::{ALPN, AgentIdentity, identity};
use rustls::CertificateError;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::enrol;
use crate::gate::TurnedAway;
use crate::networks::Networks;
use crate::session::{self, Ending, Shared};
use crate::streams::SessionSignal;
use crate::throttle::Throttle;
use crate::tls_plan::Tls;

/// Connections the kernel keeps until we accept them: all agents of a province at once.
const BACKLOG: u32 = 4_096;
/// How long to wait after a failed accept (no descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How much longer than the sessions' own deadline to wait for them at a stop.
const STOP_SLACK: Duration = Duration::from_secs(3);

/// How long a handshake may take while most places are taken.
const PRESSED_TIMEOUT: Duration = Duration::from_secs(2);
/// What a failed enrolment costs a network: a secret is not guessed, but each try costs a look at the disk.
const ENROLMENT_POINTS: f64 = 4.0;

/// The listener's parts.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    tls: watch::Receiver<Tls>,
    handshakes: Arc<Semaphore>,
    places: usize,
    shared: Arc<Shared>,
}

/// What all connections share that is not a session's.
#[derive(Debug)]
struct Door {
    shared: Arc<Shared>,
    networks: Networks,
    refusals: Throttle,
    endings: Throttle,
}

/// What a handshake has led to.
enum Shaken {
    Agent(Box<(TlsStream<TcpStream>, AgentIdentity)>),
    Host(Box<TlsStream<TcpStream>>),
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
    #[error("there is no CA to enrol with")]
    NoAuthority,
    #[error("nothing good has come from its network lately")]
    Network,
    #[error(transparent)]
    TurnedAway(#[from] TurnedAway),
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
        tls: watch::Receiver<Tls>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let places = handshakes;
        let handshakes = Arc::new(Semaphore::new(places));
        Ok(Self { socket: socket.listen(BACKLOG)?, tls, handshakes, places, shared })
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
        let door = Arc::new(Door { shared, networks: Networks::default(), refusals, endings });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (accepted, slot) = tokio::select! {
                next = self.accept() => next,
                () = shutdown.wait() => break,
            };
            match (accepted, slot) {
                (Ok((stream, peer)), Ok(slot)) => {
                    if !door.networks.may_try(peer.ip(), Instant::now()) {
                        door.refuse(peer, &Refusal::Network);
                        continue;
                    }
                    let is_pressed = self.handshakes.available_permits() < self.places / 2;
                    let patience = if is_pressed { PRESSED_TIMEOUT } else { HANDSHAKE_TIMEOUT };
                    let tls = self.tls.borrow().clone();
                    connections.spawn(serve(stream, peer, tls, patience, slot, Arc::clone(&door)));
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

impl Door {
    /// Counts and logs why somebody got no further.
    fn refuse(&self, peer: SocketAddr, refusal: &Refusal) {
        let reason = refusal.as_str();
        self.shared.metrics.handshakes_refused.with_label_values(&[reason]).inc();
        if let Some(held_back) = self.refusals.pass(Instant::now()) {
            let error = refusal as &dyn std::error::Error;
            tracing::warn!(%peer, reason, error, held_back, "handshake refused");
        }
    }

    fn note_failure(&self, peer: SocketAddr, points: f64) {
        self.networks.note_failure(peer.ip(), points, Instant::now());
    }
}

/// One connection's whole life.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Tls,
    patience: Duration,
    slot: OwnedSemaphorePermit,
    door: Arc<Door>,
) {
    // An acknowledgement is small and somebody waits for it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    let shaken = Box::pin(timeout(patience, shake_hands(stream, tls))).await;
    match shaken.map_err(|_| Refusal::Timeout).and_then(|shaken| shaken) {
        Ok(Shaken::Agent(agent)) => {
            drop(slot);
            door.networks.note_success(peer.ip(), Instant::now());
            Box::pin(serve_agent(agent, peer, &door)).await;
        }
        Ok(Shaken::Host(stream)) => {
            // It has shown nothing yet, so it keeps its place.
            Box::pin(serve_host(*stream, peer, &door)).await;
            drop(slot);
        }
        Err(refusal) => {
            door.note_failure(peer, 1.0);
            door.refuse(peer, &refusal);
        }
    }
}

async fn serve_host(stream: TlsStream<TcpStream>, peer: SocketAddr, door: &Door) {
    if let Err(fruitless) = enrol::serve(stream, peer.ip(), &door.shared.gate.issuing).await {
        door.note_failure(peer, ENROLMENT_POINTS);
        if let Some(held_back) = door.refusals.pass(Instant::now()) {
            let error = &fruitless as &dyn std::error::Error;
            tracing::warn!(%peer, reason = fruitless.as_str(), error, held_back, "a host left without a certificate");
        }
    }
}

async fn serve_agent(agent: Box<(TlsStream<TcpStream>, AgentIdentity)>, peer: SocketAddr, door: &Door) {
    let (stream, who) = *agent;
    let (shared, signal) = (&door.shared, Arc::new(SessionSignal::default()));
    let _place = match shared.gate.enter(&who, peer.ip(), &signal).await {
        Ok(place) => place,
        Err(turned_away) => {
            door.refuse(peer, &turned_away.into());
            return session::turn_away(stream, turned_away.nack(), shared).await;
        }
    };
    shared.metrics.connections_total.inc();
    shared.metrics.connections.inc();
    let agent = who.agent.clone();
    let ending = Box::pin(session::serve(stream, who, signal, shared)).await;
    shared.metrics.connections.dec();
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

/// Takes a peer through the handshake it has asked for by its protocol's name.
async fn shake_hands(stream: TcpStream, tls: Tls) -> Result<Shaken, Refusal> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(Refusal::Tls)?;
    let wants_to_enrol =
        hello.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == first_contact::ALPN));
    if wants_to_enrol {
        let config = tls.first_contact.ok_or(Refusal::NoAuthority)?;
        return Ok(Shaken::Host(Box::new(hello.into_stream(config).await.map_err(Refusal::Tls)?)));
    }
    let stream = hello.into_stream(tls.session).await.map_err(Refusal::Tls)?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(Refusal::Protocol);
    }
    let who = identity(connection.peer_certificates().unwrap_or_default())?;
    Ok(Shaken::Agent(Box::new((stream, who))))
}

impl Refusal {
    /// Returns one word for it, for a label.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::NoAuthority => "no_authority",
            Self::Network => "network",
            Self::TurnedAway(turned_away) => turned_away.as_str(),
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
