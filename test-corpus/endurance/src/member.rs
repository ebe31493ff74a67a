//! One agent of a herd: connects, says HELLO, sends an event a second while it is told to, keeps what
//! is not acknowledged, and comes back with the same waits as a real agent.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use canh_event::{Epoch, RecordBatch, RecordSequence, Source, Timestamp};
use canh_wire::{
    AgentEvent, AgentSession, Batch, Frame, FrameReader, Hello, Open, Resume, SPOKEN, StreamState, Terms, Welcomed, tls,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::chance::Chance;
use crate::flock::{Flock, name_of};
use crate::line::{digest, now};

/// How long TCP, the TLS handshake, and HELLO may take each: as in a real agent.
const PATIENCE: Duration = Duration::from_secs(10);
/// The waits between connections: at random up to the first, twice as long after each failure, up to
/// the longest. As in a real agent.
const FIRST_WAIT: u64 = 500;
const LONGEST_WAIT: u64 = 30_000;
/// How often an event is sent.
const EVERY: Duration = Duration::from_secs(1);
/// Agents that share a source address: a /24 of 127.1.0.0/16 each, one address an agent.
const PER_NETWORK: u64 = 250;

/// One agent.
pub(crate) struct Member {
    herd: Arc<Flock>,
    number: u64,
    config: Arc<ClientConfig>,
    epoch: Epoch,
    /// Sequences that are not acknowledged: the last of them is the last sent.
    held: VecDeque<u64>,
    acknowledged: u64,
    failures: u32,
    chance: Chance,
}

/// What a connection has led to.
struct Greeted {
    stream: TlsStream<TcpStream>,
    reader: FrameReader,
    session: AgentSession<Open>,
    terms: Terms,
}

/// Returns the number in an agent's event, without holes over all agents.
pub(crate) fn id_of(agents: u64, number: u64, sequence: u64) -> u64 {
    number + agents * (sequence - 1)
}

/// Returns an agent's event.
pub(crate) fn event(agents: u64, number: u64, sequence: u64) -> String {
    let (id, name) = (id_of(agents, number, sequence), name_of(number));
    let sum = digest(name.as_bytes()) ^ sequence;
    format!(
        "2026-11-24T03:00:00Z {name} endurance[7]: id={id} sum={sum:016x} one event of many, as a quiet host has them"
    )
}

impl Member {
    /// Returns a member with the certificate in a folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn new(herd: &Arc<Flock>, number: u64, files: &Path, mut chance: Chance) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read(files.join(name)).with_context(|| format!("while reading {name}"));
        let config = tls::client_config(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)?;
        let (epoch, held) = (Epoch(u128::from(chance.next())), VecDeque::new());
        Ok(Self { herd: Arc::clone(herd), number, config, epoch, held, acknowledged: 0, failures: 0, chance })
    }

    /// Connects again and again, for as long as the process lives.
    pub(crate) async fn run(mut self) {
        loop {
            if let Ok(greeted) = self.connect().await {
                self.herd.connected.fetch_add(1, Ordering::AcqRel);
                // However it ends, there is a next one.
                let _ = self.talk(greeted).await;
                self.herd.connected.fetch_sub(1, Ordering::AcqRel);
            }
            self.herd.failures.fetch_add(1, Ordering::AcqRel);
            let longest = FIRST_WAIT.checked_shl(self.failures).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
            self.failures = (self.failures + 1).min(16);
            sleep(self.chance.millis(0, longest)).await;
        }
    }

    async fn connect(&mut self) -> anyhow::Result<Greeted> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(self.source()?)?;
        let tcp = timeout(PATIENCE, socket.connect(self.herd.collector)).await??;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let shaken = TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp);
        let mut stream = timeout(PATIENCE, shaken).await??;
        let state = StreamState {
            stream: "log".parse()?,
            epoch: self.epoch,
            oldest: RecordSequence(self.acknowledged + 1),
            last: RecordSequence(self.acknowledged + self.held.len() as u64),
        };
        let software = Box::from("canh-endurance herd");
        let (versions, clock, streams) = (SPOKEN, now(), vec![state]);
        let greeting = AgentSession::new(Hello { versions, boot: 1, clock, software, capabilities: 0, streams });
        let mut bytes = Vec::new();
        greeting.hello().encode(SPOKEN.newest, &mut bytes);
        let mut reader = FrameReader::new();
        let exchange = async {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            next_frame(&mut stream, &mut reader).await
        };
        let first = timeout(PATIENCE, exchange).await??;
        let Welcomed { session, welcome, resume } = greeting.receive(first)?;
        reader.settle(welcome.version);
        self.resume(resume.first().context("the welcome tells of no stream")?)?;
        Ok(Greeted { stream, reader, session, terms: welcome.terms })
    }

    /// Takes over where the collector is, and holds it against what it has acknowledged.
    fn resume(&mut self, resume: &Resume) -> anyhow::Result<()> {
        let durable = match resume {
            Resume::From { next, .. } => next.0.saturating_sub(1),
            Resume::AfterGap(gap) => gap.from.0.saturating_sub(1),
            Resume::SpoolBehind { durable, .. } => durable.0,
        };
        let sent = self.acknowledged + self.held.len() as u64;
        if durable < self.acknowledged || durable > sent {
            let (name, acknowledged) = (name_of(self.number), self.acknowledged);
            self.herd.complain(format!("{name}: {acknowledged} of {sent} acknowledged, the collector has {durable}"));
            bail!("a promise is broken");
        }
        self.settle(durable);
        Ok(())
    }

    async fn talk(&mut self, greeted: Greeted) -> anyhow::Result<()> {
        let Greeted { mut stream, mut reader, mut session, terms } = greeted;
        let phase = self.chance.millis(0, 1_000);
        let mut ticks = interval_at(Instant::now() + phase, EVERY);
        let mut pings = interval_at(Instant::now() + terms.ping_interval, terms.ping_interval);
        // What was sent on an earlier connection is sent again, each event as it was.
        for sequence in self.held.clone() {
            self.send(&mut session, &mut stream, sequence).await?;
        }
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if self.herd.is_sending.load(Ordering::Acquire) {
                        let sequence = self.acknowledged + self.held.len() as u64 + 1;
                        self.held.push_back(sequence);
                        self.herd.sent.fetch_add(1, Ordering::AcqRel);
                        self.send(&mut session, &mut stream, sequence).await?;
                    }
                }
                _ = pings.tick() => write(&mut stream, &session.ping(1, now()), session.version()).await?,
                count = stream.read(reader.room()) => {
                    let count = count?;
                    ensure!(count > 0, "the collector hung up");
                    reader.filled(count);
                    while let Some(frame) = reader.next_frame()? {
                        self.take(&mut session, &mut stream, frame).await?;
                    }
                }
            }
        }
    }

    async fn take(
        &mut self,
        session: &mut AgentSession<Open>,
        stream: &mut TlsStream<TcpStream>,
        frame: Frame,
    ) -> anyhow::Result<()> {
        match session.receive(frame, now())? {
            AgentEvent::Acknowledged(ack) => {
                self.failures = 0;
                self.settle(ack.durable.0);
            }
            AgentEvent::Answer(frame) => write(stream, &frame, session.version()).await?,
            AgentEvent::Window(_) | AgentEvent::Heard(_) => {}
            AgentEvent::Renewed(_) | AgentEvent::NotRenewed(_) => bail!("a certificate that nobody asked for"),
            AgentEvent::Refused(nack) => bail!("refused: {}", nack.code.as_str()),
            AgentEvent::Bye(reason) => bail!("bye: {}", reason.as_str()),
        }
        Ok(())
    }

    fn settle(&mut self, durable: u64) {
        while self.acknowledged < durable && self.held.pop_front().is_some() {
            self.acknowledged += 1;
            self.herd.acknowledged.fetch_add(1, Ordering::AcqRel);
        }
    }

    async fn send(
        &mut self,
        session: &mut AgentSession<Open>,
        stream: &mut TlsStream<TcpStream>,
        sequence: u64,
    ) -> anyhow::Result<()> {
        let mut records = RecordBatch::new();
        let host = name_of(self.number).into_boxed_str();
        let (name, format) = ("/var/log/app.log".parse()?, "syslog".parse()?);
        let source = records.source(&Source { name, host, format, utc_offset_secs: 0 })?;
        let received: Timestamp = now();
        records.push(source, received, event(self.herd.agents, self.number, sequence).as_bytes())?;
        let body = self.herd.packer.lock().map_err(|_| anyhow!("a member panicked"))?.pack(&records)?;
        let (first, log) = (RecordSequence(sequence), "log".parse()?);
        let frame = session.send_batch(Batch { stream: log, epoch: self.epoch, first, count: 1, body })?;
        write(stream, &frame, session.version()).await
    }

    /// Returns an address of this agent's own network in 127.1.0.0/16.
    fn source(&self) -> anyhow::Result<SocketAddr> {
        let (network, host) = (self.number / PER_NETWORK, self.number % PER_NETWORK + 1);
        Ok(SocketAddr::from((Ipv4Addr::new(127, 1, u8::try_from(network)?, u8::try_from(host)?), 0)))
    }
}

async fn write(stream: &mut TlsStream<TcpStream>, frame: &Frame, version: u8) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(version, &mut bytes);
    stream.write_all(&bytes).await?;
    Ok(stream.flush().await?)
}

async fn next_frame(stream: &mut TlsStream<TcpStream>, reader: &mut FrameReader) -> anyhow::Result<Frame> {
    loop {
        if let Some(frame) = reader.next_frame()? {
            return Ok(frame);
        }
        let count = stream.read(reader.room()).await?;
        ensure!(count > 0, "the collector hung up");
        reader.filled(count);
    }
}
