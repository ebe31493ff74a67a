//! What the tests of identity have beside the real collector: its CA's key, hosts that enrol, and peers
//! that come from wherever and show whatever a test wants.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use canh_event::{Epoch, RecordSequence, Timestamp};
use canh_ship::{EnrolError, EnrolOrder, Enrolled, enrol};
use canh_wire::{Frame, FrameReader, Hello, NackCode, SPOKEN, StreamState, tls};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};

use crate::process::{Collector, Site};

/// Longer than anything a test waits for, shorter than anybody's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

impl Site {
    /// Makes a token; `more` is added to the command line.
    pub(crate) fn token(&self, more: &[&str]) -> anyhow::Result<String> {
        self.run(&[&["token", "create", "--agency", "so-tttt"], more].concat())
    }

    /// Returns a file in the CA's folder.
    pub(crate) fn identity(&self, name: &str) -> PathBuf {
        self.path("state/identity").join(name)
    }

    /// Returns the CA, to sign what no collector would.
    pub(crate) fn issuer(&self) -> anyhow::Result<Issuer<'static, KeyPair>> {
        let text = std::fs::read_to_string(self.identity("issuer.pem"))?;
        let key = KeyPair::try_from(&PrivateKeyDer::from_pem_slice(text.as_bytes())?)?;
        Ok(Issuer::from_ca_cert_pem(&text, key)?)
    }

    /// Returns what an agent has that shows a certificate with these parameters, signed by `issuer`.
    pub(crate) fn forge(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        params: &CertificateParams,
    ) -> anyhow::Result<Arc<ClientConfig>> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?.pem();
        let ca = std::fs::read(self.identity("ca.pem"))?;
        Ok(tls::client_config(&ca, certificate.as_bytes(), key.serialize_pem().as_bytes())?)
    }

    /// Enrols a host whose folder is `folder`.
    pub(crate) fn enrol(&self, collector: &Collector, token: &str, folder: &str) -> Result<Enrolled, EnrolError> {
        self.enrol_at(&collector.address.to_string(), token, folder, false)
    }

    pub(crate) fn enrol_at(
        &self,
        collector: &str,
        token: &str,
        folder: &str,
        is_forced: bool,
    ) -> Result<Enrolled, EnrolError> {
        self.enrol_as(collector, None, token, folder, is_forced)
    }

    pub(crate) fn enrol_as(
        &self,
        collector: &str,
        server_name: Option<&str>,
        token: &str,
        folder: &str,
        is_forced: bool,
    ) -> Result<Enrolled, EnrolError> {
        let order = EnrolOrder {
            collector: collector.to_owned(),
            server_name: server_name.map(str::to_owned),
            token: token.parse().unwrap(),
            name: None,
            host_name: Some(folder.parse().unwrap()),
            dir: self.path(folder),
            is_forced,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(enrol(&order))
    }

    /// Returns what an enrolled host connects with.
    pub(crate) fn config_of(&self, folder: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let identity = std::fs::read(self.path(folder).join("agent.pem"))?;
        let ca = std::fs::read(self.path(folder).join("ca.pem"))?;
        Ok(tls::client_config(&ca, &identity, &identity)?)
    }

    pub(crate) fn serial_of(&self, folder: &str) -> anyhow::Result<String> {
        let identity = std::fs::read(self.path(folder).join("agent.pem"))?;
        Ok(tls::identity_of_pem(&identity)?.serial.to_string())
    }
}

/// A connection that does what a test says.
pub(crate) struct Peer {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    reader: FrameReader,
}

/// How a collector answers a HELLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Welcome,
    Nack(NackCode),
    /// No frame: the handshake was refused, or the connection closed.
    Nothing,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        Self::over(connect_from(None, address)?, config)
    }

    pub(crate) fn over(socket: TcpStream, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
        Ok(Self { stream: StreamOwned::new(connection, socket), reader: FrameReader::new() })
    }

    /// Says HELLO and tells how it was answered.
    pub(crate) fn greet(&mut self, boot: u128) -> Answer {
        let (stream, oldest) = ("log".parse().unwrap(), RecordSequence(1));
        let streams = vec![StreamState { stream, epoch: Epoch(boot), oldest, last: RecordSequence(0) }];
        let (versions, clock, software) = (SPOKEN, Timestamp::EPOCH, Box::from("scripted 1"));
        let mut bytes = Vec::new();
        Frame::Hello(Hello { versions, boot, clock, software, capabilities: 0, streams }).encode(1, &mut bytes);
        let sent = self.stream.write_all(&bytes).and_then(|()| self.stream.flush());
        if sent.is_err() {
            return Answer::Nothing;
        }
        match self.next() {
            Some(Frame::Welcome(_)) => Answer::Welcome,
            Some(Frame::Nack(nack)) => Answer::Nack(nack.code),
            _ => Answer::Nothing,
        }
    }

    /// Returns the next frame; nothing if there is none to come.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Ok(Some(frame)) = self.reader.next_frame() {
                return Some(frame);
            }
            match self.stream.read(self.reader.room()) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.reader.filled(count),
            }
        }
    }
}

/// Connects once and tells how a HELLO was answered.
pub(crate) fn answer(collector: &Collector, config: &Arc<ClientConfig>) -> Answer {
    Peer::connect(collector.address, config).map_or(Answer::Nothing, |mut peer| peer.greet(1))
}

/// Opens a TCP connection from an address of this host.
pub(crate) fn connect_from(from: Option<IpAddr>, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let Some(from) = from else { return Ok(TcpStream::connect(to)?) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(to).await?.into_std()
    };
    let stream = runtime.block_on(connecting)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Asks again and again until it is so; returns how long that took.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while !is_so() {
        ensure!(begin.elapsed() < PATIENCE, "never came about: {what}");
        std::thread::yield_now();
    }
    Ok(begin.elapsed())
}

/// Returns the value of a sample.
pub(crate) fn sample(collector: &Collector, name: &str) -> anyhow::Result<f64> {
    let page = collector.scrape()?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.with_context(|| format!("{name} is missing"))?.parse().with_context(|| format!("{name} is no number"))
}
