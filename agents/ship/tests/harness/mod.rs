//! A small collector in the test's own process: real TLS, the wire's own session, a store in
//! memory that outlives its connections, and a script or dice that say when it misbehaves.

#![expect(clippy::unwrap_used, reason = "part of a test")]
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use canh_event::{Epoch, RecordBatch, RecordSequence, Source, SourceName, StreamName, Timestamp};
use canh_service::metrics::Metrics;
use canh_service::signals::{Shutdown, ShutdownTrigger};
use canh_ship::{RetryPolicy, ShipConfig, ShipError, Shipper, SpoolError, WhenFull};
use canh_wire::{
    Account, Bye, ByeReason, CollectorEvent, CollectorSession, Frame, FrameReader, Gap, Nack, NackCode, Place,
    Receiving, SPOKEN, Terms, Unpacker, WINDOW_BYTES, tls,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) const SERVER_NAME: &str = "collector.test";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A CA and what it has issued.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "web-01");
        params.distinguished_name.push(DnType::OrganizationName, "so-tttt");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// What the collector has, and what it has seen. It outlives every connection.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Tells stores apart; 0 until it is first served.
    pub(crate) id: u128,
    pub(crate) durable: HashMap<(StreamName, Epoch), u64>,
    pub(crate) records: Vec<(Epoch, u64, Vec<u8>)>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) connections: u64,
    pub(crate) software: String,
    pub(crate) faults: Vec<String>,
    /// Longest body and most records of a batch, if not as usual.
    pub(crate) limits: Option<(u32, u32)>,
    /// Most records of a batch there was.
    pub(crate) most_records: u32,
    /// Every account there was, as it balanced.
    pub(crate) accounts: Vec<Account>,
    /// By its own count: what is stored or known to be lost of each source.
    pub(crate) accounted: HashMap<(Epoch, SourceName), u64>,
    /// Records lost of sources nobody knows.
    pub(crate) unplaced: HashMap<Epoch, u64>,
}

impl Store {
    fn note_gap(&mut self, gap: &Gap) {
        let placed: u64 = gap.sources.iter().map(|loss| loss.count).sum();
        *self.unplaced.entry(gap.epoch).or_default() += gap.count - placed;
        for loss in &gap.sources {
            *self.accounted.entry((gap.epoch, loss.source.clone())).or_default() += loss.count;
        }
    }

    /// Holds an account against what was counted: the loss ledger must balance at every statement.
    fn note_account(&mut self, account: Account) {
        let mut missing = 0;
        for source in &account.sources {
            let own = self.accounted.get(&(account.epoch, source.source.clone())).copied().unwrap_or(0);
            match source.produced.checked_sub(own) {
                Some(lacks) => missing += lacks,
                None => self.faults.push(format!("{own} accounted, {source:?} stated")),
            }
        }
        let unplaced = self.unplaced.get(&account.epoch).copied().unwrap_or(0);
        if missing > unplaced {
            self.faults.push(format!("{missing} missing, {unplaced} may be: {account:?}"));
        }
        self.accounts.push(account);
    }
}

/// The next store's id.
static STORES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// Where a collector can misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A TCP connection was accepted.
    Accepted,
    /// A HELLO has come.
    Hello,
    /// The WELCOME is sent.
    Welcomed,
    /// A batch has come and is not stored.
    Batch { first: u64 },
    /// A batch is stored and not acknowledged.
    Stored,
}

/// What it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    GoOn,
    /// Hangs up.
    Drop,
    /// Acknowledges together with what comes next, or after a moment of quiet.
    Delay,
    /// Acknowledges only when the agent says BYE.
    Withhold,
    /// Refuses.
    Nack(NackCode),
    /// Says BYE and hangs up: it stops.
    Bye,
}

pub(crate) type Script = Box<dyn FnMut(Moment) -> Act + Send>;

/// The collector.
pub(crate) struct Collector {
    pub(crate) address: String,
    pub(crate) store: Arc<Mutex<Store>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub(crate) async fn start(authority: &Authority, window: u64, script: Script) -> Self {
        Self::start_with(authority, window, script, Arc::default()).await
    }

    pub(crate) async fn start_with(
        authority: &Authority,
        window: u64,
        script: Script,
        store: Arc<Mutex<Store>>,
    ) -> Self {
        let (certificate, key) = authority.issue(&[SERVER_NAME], ExtendedKeyUsagePurpose::ServerAuth);
        let config = tls::server_config(authority.pem().as_bytes(), certificate.as_bytes(), key.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        {
            let mut store = store.lock().unwrap();
            if store.id == 0 {
                store.id = u128::from(STORES.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            }
        }
        let served = Arc::clone(&store);
        let task = tokio::spawn(async move {
            let mut script = script;
            let limits = store_limits(&served);
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if script(Moment::Accepted) == Act::Drop {
                    continue;
                }
                // One at a time: an agent has one connection.
                let Ok(stream) = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await else { continue };
                let (frames, store, script) = (FrameReader::new(), &*served, &mut script);
                let _ = Serving { stream, frames, store, script, window, limits, owes: false }.serve().await;
            }
        });
        Self { address, store, task }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

/// Frames a test wants to be shorter than usual.
fn store_limits(store: &Mutex<Store>) -> (u32, u32) {
    store.lock().unwrap().limits.unwrap_or((u32::MAX, 4_096))
}

struct Serving<'a> {
    stream: TlsStream<TcpStream>,
    frames: FrameReader,
    store: &'a Mutex<Store>,
    script: &'a mut Script,
    window: u64,
    limits: (u32, u32),
    owes: bool,
}

/// The connection is over; why does not matter to the collector.
struct Over;

impl Serving<'_> {
    async fn serve(mut self) -> Result<(), Over> {
        let hello = self.read().await?;
        let session = CollectorSession::new(SPOKEN).receive(hello).map_err(|error| self.fault(&error))?;
        {
            let mut store = self.store.lock().unwrap();
            store.connections += 1;
            store.software = session.hello().software.to_string();
        }
        self.act(Moment::Hello).await?;
        let durable: Vec<_> = {
            let store = self.store.lock().unwrap();
            let streams = session.hello().streams.iter();
            let durable = streams.map(|state| store.durable.get(&(state.stream.clone(), state.epoch)).copied());
            durable.map(|durable| RecordSequence(durable.unwrap_or(0))).collect()
        };
        let terms = Terms {
            window: self.window,
            max_body_bytes: self.limits.0,
            max_raw_bytes: u32::MAX,
            max_records: self.limits.1,
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(90),
        };
        let id = self.store.lock().unwrap().id;
        let (session, welcome) = session.welcome(id, Timestamp::EPOCH, terms, &durable);
        self.send(&welcome).await?;
        self.frames.settle(session.version());
        self.act(Moment::Welcomed).await?;
        self.receive(session).await
    }

    async fn receive(&mut self, mut session: CollectorSession<Receiving>) -> Result<(), Over> {
        loop {
            let frame = match timeout(self.patience(), self.read()).await {
                Ok(frame) => frame?,
                Err(_) => {
                    self.settle_all(&mut session).await?;
                    continue;
                }
            };
            match session.receive(frame, Timestamp::EPOCH).map_err(|error| self.fault(&error))? {
                CollectorEvent::Batch(accepted) => {
                    let (first, place) = (accepted.batch.first.0, accepted.batch.place());
                    self.act_on(Moment::Batch { first }, Some(place)).await?;
                    let batch = &accepted.batch;
                    let records = Unpacker::try_new().unwrap().unpack(&batch.body, batch.count).unwrap();
                    {
                        let mut store = self.store.lock().unwrap();
                        store.most_records = store.most_records.max(batch.count);
                        for (record, sequence) in records.iter().zip(first..).skip(accepted.skip as usize) {
                            *store.accounted.entry((batch.epoch, record.source.name.clone())).or_default() += 1;
                            store.records.push((batch.epoch, sequence, record.bytes.to_vec()));
                        }
                        store.durable.insert((batch.stream.clone(), batch.epoch), batch.last().0);
                    }
                    self.settle(&mut session, &batch.stream, batch.last()).await?;
                }
                CollectorEvent::Gap(gap) => {
                    let (stream, last) = (gap.stream.clone(), gap.last());
                    {
                        let mut store = self.store.lock().unwrap();
                        store.durable.insert((gap.stream.clone(), gap.epoch), last.0);
                        store.note_gap(&gap);
                        store.gaps.push(gap);
                    }
                    self.settle(&mut session, &stream, last).await?;
                }
                CollectorEvent::Account(account) => self.store.lock().unwrap().note_account(account),
                CollectorEvent::Duplicate(ack) => self.send(&Frame::Ack(ack)).await?,
                CollectorEvent::Answer(frame) => self.send(&frame).await?,
                CollectorEvent::Heard(_) | CollectorEvent::Renew(_) => {}
                CollectorEvent::Bye(_) => return self.settle_all(&mut session).await,
            }
        }
    }

    async fn settle(
        &mut self,
        session: &mut CollectorSession<Receiving>,
        stream: &StreamName,
        last: RecordSequence,
    ) -> Result<(), Over> {
        match self.act(Moment::Stored).await? {
            Act::Withhold => return Ok(()),
            Act::Delay => {
                self.owes = true;
                return Ok(());
            }
            _ => {}
        }
        match session.acknowledge(stream, last) {
            Some(ack) => self.send(&ack).await,
            None => Ok(()),
        }
    }

    async fn settle_all(&mut self, session: &mut CollectorSession<Receiving>) -> Result<(), Over> {
        self.owes = false;
        let streams: Vec<_> = self.store.lock().unwrap().durable.clone().into_iter().collect();
        for ((stream, _), durable) in streams {
            if let Some(ack) = session.acknowledge(&stream, RecordSequence(durable)) {
                self.send(&ack).await?;
            }
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        if self.owes { Duration::from_millis(2) } else { PATIENCE }
    }

    async fn act(&mut self, moment: Moment) -> Result<Act, Over> {
        self.act_on(moment, None).await
    }

    async fn act_on(&mut self, moment: Moment, place: Option<Place>) -> Result<Act, Over> {
        match (self.script)(moment) {
            Act::Drop => Err(Over),
            Act::Bye => {
                self.send(&Frame::Bye(Bye { reason: ByeReason::Stopping })).await?;
                Err(Over)
            }
            Act::Nack(code) => {
                self.send(&Frame::Nack(Nack { code, retry_after: Duration::ZERO, place })).await?;
                Err(Over)
            }
            act => Ok(act),
        }
    }

    fn fault(&self, error: &canh_wire::CollectorSessionError) -> Over {
        self.store.lock().unwrap().faults.push(error.to_string());
        Over
    }

    async fn read(&mut self) -> Result<Frame, Over> {
        loop {
            match self.frames.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => {
                    self.store.lock().unwrap().faults.push(error.to_string());
                    return Err(Over);
                }
            }
            match self.stream.read(self.frames.room()).await {
                Ok(0) | Err(_) => return Err(Over),
                Ok(count) => self.frames.filled(count),
            }
        }
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), Over> {
        let mut bytes = Vec::new();
        frame.encode(SPOKEN.newest, &mut bytes);
        self.stream.write_all(&bytes).await.map_err(|_| Over)?;
        self.stream.flush().await.map_err(|_| Over)
    }
}

/// A script that always goes on.
pub(crate) fn honest() -> Script {
    Box::new(|_| Act::GoOn)
}

/// A small generator of numbers, the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// An agent's directory and configuration.
pub(crate) struct Agent {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: ShipConfig,
    pub(crate) metrics: Metrics,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) shutdown: Shutdown,
}

impl Agent {
    pub(crate) fn new(authority: &Authority, collectors: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.issue(&[], ExtendedKeyUsagePurpose::ClientAuth);
        let write = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = ShipConfig {
            stream: "log".parse().unwrap(),
            software: "canh-test 0".to_owned(),
            spool_dir: dir.path().join("spool"),
            spool_max_bytes: 16 << 20,
            when_full: WhenFull::Wait,
            account_interval: Duration::from_secs(1),
            fail_back: Duration::from_secs(600),
            collectors: collectors.iter().map(ToString::to_string).collect(),
            server_name: SERVER_NAME.to_owned(),
            ca: write("ca.pem", &authority.pem()),
            certificate: write("agent.pem", &certificate),
            key: write("agent.key", &key),
            retry: RetryPolicy { first: Duration::from_millis(1), longest: Duration::from_millis(5) },
        };
        let (trigger, shutdown) = Shutdown::new();
        Self { dir, config, metrics: Metrics::new("canh-test", "0").unwrap(), trigger, shutdown }
    }

    /// Starts a shipper; a former one may still be about to let the spool go.
    pub(crate) async fn start(&mut self) -> Shipper {
        let begun = std::time::Instant::now();
        loop {
            self.metrics = Metrics::new("canh-test", "0").unwrap();
            match Shipper::start(self.config.clone(), &self.metrics, self.shutdown.clone()).await {
                Err(ShipError::Spool(SpoolError::Journal(canh_journal::JournalError::Locked { .. })))
                    if begun.elapsed() < PATIENCE =>
                {
                    tokio::task::yield_now().await;
                }
                started => return started.unwrap(),
            }
        }
    }

    /// Returns a metric's value.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("missing");
        line.parse().unwrap_or_else(|_| panic!("{name} is {line}\n{text}"))
    }
}

pub(crate) fn source() -> Source {
    Source {
        name: "/var/log/test".parse().unwrap(),
        host: Box::from("web-01"),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 0,
    }
}

/// The line with a number.
pub(crate) fn line(number: u64) -> Vec<u8> {
    format!("line {number} {}", "x".repeat((number % 61) as usize)).into_bytes()
}

/// Lines `first` to `last` as a batch, and the cursor after them.
pub(crate) fn lines(first: u64, last: u64) -> (RecordBatch, Vec<(SourceName, Vec<u8>)>) {
    let mut batch = RecordBatch::new();
    let id = batch.source(&source()).unwrap();
    for number in first..=last {
        batch.push(id, Timestamp::EPOCH, &line(number)).unwrap();
    }
    (batch, vec![(source().name, last.to_le_bytes().to_vec())])
}

/// The last line that is spooled, as the cursor says.
pub(crate) fn position(shipper: &Shipper) -> u64 {
    let cursors = shipper.cursors();
    cursors.get(&source().name).map_or(0, |cursor| u64::from_le_bytes(cursor.as_slice().try_into().unwrap()))
}

/// Checks that the store has lines 1 to `last`, each once and in order, in one epoch.
pub(crate) fn has_all_lines(store: &Store, last: u64) {
    assert_eq!(store.faults, Vec::<String>::new());
    assert_eq!(store.gaps, []);
    assert_eq!(store.records.len() as u64, last);
    let first_epoch = store.records.first().map(|(epoch, ..)| *epoch);
    for (number, (epoch, sequence, bytes)) in (1..).zip(&store.records) {
        assert_eq!((*sequence, Some(*epoch)), (number, first_epoch));
        assert_eq!(*bytes, line(number), "line {number}");
    }
}

pub(crate) fn usual_window() -> u64 {
    WINDOW_BYTES
}

/// Waits until something holds; the other tasks run meanwhile.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
