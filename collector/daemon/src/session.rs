//! One agent's connection after the handshake, from HELLO to BYE.
//!
//! A session reads frames, lets the state machine judge them, hands batches to the normalisers, and
//! sends acknowledgements as its streams become durable. It decides nothing about what is new: that
//! is the normaliser's business, who knows all connections of a stream.

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use canh_event::{MAX_BATCH_ROWS, Timestamp};
use canh_service::signals::Shutdown;
use canh_wire::tls::AgentIdentity;
use canh_wire::{
    ByeReason, CollectorEvent, CollectorSession, CollectorSessionError, Frame, FrameError, HELLO_TIMEOUT,
    MAX_BODY_BYTES, MAX_RAW_BODY_BYTES, Nack, NackCode, PING_INTERVAL, Receiving, SPOKEN, Terms, WaitingForHello,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::budget::Budget;
use crate::connection::{Connection, ConnectionError, Incoming};
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::normalise::{Ended, Job, Normalisers, Work};
use crate::quota::{Pace, Quota, Quotas, Scope};
use crate::retry::retry_after;
use crate::streams::{Mark, SessionSignal, Streams};
use crate::throttle::Throttle;

/// How many windows a paused agent may have sent before it is told to leave: one may be on its way when
/// it is paused, and one more is patience.
const PAUSED_WINDOWS: u64 = 2;
/// Longest time a connection is told to stay away for its quota.
const MAX_QUOTA_WAIT: Duration = Duration::from_secs(600);

/// How long a session that was severed has to say so to its agent, before it is cut wherever it is.
const POLITENESS: Duration = Duration::from_secs(2);

/// What every session has a share of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) streams: Arc<Streams>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) normalisers: Normalisers,
    pub(crate) budget: Budget,
    pub(crate) quotas: Quotas,
    /// Holds back lines about quotas.
    pub(crate) quota_talk: Throttle,
    pub(crate) metrics: Metrics,
    /// One permit a connection.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) store: u128,
    pub(crate) window: u64,
    pub(crate) idle_timeout: Duration,
    pub(crate) stop_deadline: Duration,
    pub(crate) shutdown: Shutdown,
}

/// How a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// The agent said BYE, or closed between two frames.
    #[error("the agent has left")]
    Left,
    /// The daemon stops.
    #[error("the collector stops")]
    Stopping,
    /// The agent was refused.
    #[error("the agent was refused: {}", .0.as_str())]
    Refused(NackCode),
    /// The agent broke the protocol.
    #[error("the agent broke the protocol")]
    Protocol(#[source] CollectorSessionError),
    /// The connection cannot go on.
    #[error("the connection cannot go on")]
    Connection(#[source] ConnectionError),
}

/// A session that receives.
struct Session<S> {
    connection: Connection<S>,
    protocol: CollectorSession<Receiving>,
    who: AgentIdentity,
    signal: Arc<SessionSignal>,
    marks: Vec<Arc<Mark>>,
    quota: Quota,
    accounts: Pace,
    /// Until when the agent has no credit, and what it has sent since.
    pause: Option<Pause>,
    shared: Arc<Shared>,
}

/// A session without credit, counted for as long as this lives.
struct Pause {
    until: Instant,
    sent_bytes: u64,
    shown: prometheus::IntGauge,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.shown.dec();
    }
}

/// Serves a connection that has passed the handshake and the gate; `signal` reaches it from outside.
pub(crate) async fn serve<S>(stream: S, who: AgentIdentity, signal: Arc<SessionSignal>, shared: &Arc<Shared>) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection::new(stream, shared.budget.clone(), shared.idle_timeout);
    let severed = Arc::clone(&signal);
    let cut = async {
        severed.severed().await;
        tokio::time::sleep(POLITENESS).await;
    };
    let ending = tokio::select! {
        () = cut => severed.verdict().map_or(Ending::Stopping, |nack| Ending::Refused(nack.code)),
        ending = greet(connection, who, signal, shared) => ending,
    };
    shared.metrics.connections_ended.with_label_values(&[ending.as_str()]).inc();
    ending
}

/// Tells a peer that has passed the handshake why it is not let in.
pub(crate) async fn turn_away<S>(stream: S, nack: Nack, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection::new(stream, shared.budget.clone(), shared.idle_timeout);
    let _ = refuse(connection, nack, SPOKEN.newest, shared).await;
}

/// Takes the HELLO and answers it.
async fn greet<S>(
    mut connection: Connection<S>,
    who: AgentIdentity,
    signal: Arc<SessionSignal>,
    shared: &Arc<Shared>,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let waiting = CollectorSession::<WaitingForHello>::new(SPOKEN);
    let first = match timeout(HELLO_TIMEOUT, connection.next()).await {
        Err(_) => return Ending::Connection(ConnectionError::Idle { span: HELLO_TIMEOUT }),
        Ok(Ok(Some(Incoming { frame, .. }))) => frame,
        Ok(Ok(None)) => return Ending::Left,
        Ok(Err(error)) => return fail(connection, error, shared).await,
    };
    let welcoming = match waiting.receive(first) {
        Ok(welcoming) => welcoming,
        Err(error) => {
            refuse(connection, error.nack(retry_after(error.code())), SPOKEN.newest, shared).await;
            return Ending::Protocol(error);
        }
    };
    let overload = Nack { code: NackCode::Overload, retry_after: retry_after(NackCode::Overload), place: None };
    // Declared before the marks: whether they may be forgotten is looked at when this is dropped.
    let (Ok(_slot), Some(_admission)) =
        (Arc::clone(&shared.connections).try_acquire_owned(), shared.streams.admit(&who.agent))
    else {
        return refuse(connection, overload, SPOKEN.newest, shared).await;
    };
    let marks = match shared.streams.open(&who.agent, &welcoming.hello().streams, &signal) {
        Ok(marks) => marks,
        Err(error) => {
            tracing::warn!(%error, "an agent is refused");
            return refuse(connection, overload, SPOKEN.newest, shared).await;
        }
    };
    let hello = welcoming.hello();
    shared.gate.note_boot(&who, hello.boot);
    tracing::info!(agent = %who.agent, agency = %who.agency, software = ?hello.software, "agent connected");
    let durable: Vec<_> = marks.iter().map(|mark| mark.durable()).collect();
    for (state, durable) in hello.streams.iter().zip(&durable).filter(|(state, durable)| state.last < **durable) {
        shared.metrics.spools_behind.inc();
        let (agent, stream, last) = (&who.agent, &state.stream, state.last.0);
        tracing::warn!(%agent, %stream, last, durable = durable.0, "the agent's spool is behind what it has sent: rolled back, or cloned");
    }
    let (protocol, welcome) = welcoming.welcome(shared.store, now(), terms(shared), &durable);
    if let Err(error) = connection.write(&[welcome], protocol.version()).await {
        return Ending::Connection(error);
    }
    connection.settle(protocol.version());
    let quota = shared.quotas.of(&who.agent, &who.agency, StdInstant::now());
    let (accounts, pause, shared) = (Pace::default(), None, Arc::clone(shared));
    let session = Session { connection, protocol, who, signal, marks, quota, accounts, pause, shared };
    session.run().await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(mut self) -> Ending {
        let shared = Arc::clone(&self.shared);
        let signal = Arc::clone(&self.signal);
        let stopping = shared.shutdown.wait();
        tokio::pin!(stopping);
        // A new connection is no way out of a debt.
        if let Some((wait, scope)) = self.quota.wait(StdInstant::now())
            && let Err(ending) = self.withhold(wait, scope, 0).await
        {
            return self.end(ending).await;
        }
        loop {
            let resumes = self.pause.as_ref().map(|pause| pause.until);
            let step = tokio::select! {
                biased;
                () = &mut stopping => return self.leave(ByeReason::Stopping, Ending::Stopping).await,
                () = signal.woken() => self.acknowledge().await.map(|()| None),
                () = at(resumes) => self.resume().await.map(|()| None),
                next = self.connection.next() => match next {
                    Ok(Some(incoming)) => self.take(incoming).await,
                    Ok(None) => return Ending::Left,
                    Err(error) => Err(Ending::Connection(error)),
                },
            };
            match step {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    tracing::debug!(agent = %self.who.agent, reason = reason.as_str(), "agent says bye");
                    return self.leave(ByeReason::Answering, Ending::Left).await;
                }
                Err(ending) => return self.end(ending).await,
            }
        }
    }

    /// Takes a frame; returns the agent's reason if it was a BYE.
    async fn take(&mut self, incoming: Incoming) -> Result<Option<ByeReason>, Ending> {
        let Incoming { frame, room } = incoming;
        let again = self.again(&frame);
        let event = self.protocol.receive(frame, now()).map_err(Ending::Protocol)?;
        match event {
            CollectorEvent::Batch(accepted) => {
                let batch = accepted.batch;
                self.shared.metrics.received_bytes.inc_by(batch.body.bytes().len() as u64);
                self.shared.metrics.raw_bytes.inc_by(batch.body.raw_len() as u64);
                let memory = self.shared.budget.work(batch.body.raw_len()).await.ok();
                // What was set aside for reading is given back only now, when the work has its own.
                drop(room);
                let mark = self.mark_of(&batch.stream)?;
                let (bytes, records) = (batch.body.raw_len() as u64, u64::from(batch.count));
                self.submit(mark, Work::Batch(batch), memory).await?;
                self.charge(bytes, records).await?;
            }
            CollectorEvent::Gap(gap) => {
                let mark = self.mark_of(&gap.stream)?;
                self.submit(mark, Work::Gap { gap, received: now() }, None).await?;
                self.charge(0, 1).await?;
            }
            CollectorEvent::Account(account) => {
                if self.accounts.allows_account(StdInstant::now()) {
                    let mark = self.mark_of(&account.stream)?;
                    let memory = self.shared.budget.work(canh_wire::LEDGER_LIMIT).await.ok();
                    self.submit(mark, Work::Account { account, received: now() }, memory).await?;
                } else {
                    self.shared.metrics.accounts.with_label_values(&["stale"]).inc();
                }
            }
            CollectorEvent::Duplicate(ack) => {
                self.write(&[Frame::Ack(ack)]).await?;
                // Whether it is the same is looked at where records are unpacked.
                if let Some(batch) = again {
                    let memory = self.shared.budget.work(batch.body.raw_len()).await.ok();
                    let mark = self.mark_of(&batch.stream)?;
                    let (bytes, records) = (batch.body.raw_len() as u64, u64::from(batch.count));
                    self.submit(mark, Work::Batch(batch), memory).await?;
                    self.charge(bytes, records).await?;
                }
            }
            CollectorEvent::Answer(frame) => self.write(&[frame]).await?,
            CollectorEvent::Heard(_) => {}
            CollectorEvent::Renew(renew) => {
                let answer = match self.shared.gate.issuing.renew(self.who.clone(), renew).await {
                    Ok(credential) => Frame::Credential(credential),
                    Err(denied) => Frame::Denied(denied),
                };
                self.write(&[answer]).await?;
            }
            CollectorEvent::Bye(reason) => return Ok(Some(reason)),
        }
        self.acknowledge().await?;
        self.connection.excuse();
        Ok(None)
    }

    /// Returns a batch that the stream has been given before.
    fn again(&self, frame: &Frame) -> Option<canh_wire::Batch> {
        let Frame::Batch(batch) = frame else { return None };
        let mark = self.mark_of(&batch.stream).ok()?;
        (batch.last() <= mark.submitted()).then(|| batch.clone())
    }

    /// Charges what was sent, and withholds credit from an agent whose quota is used up.
    async fn charge(&mut self, bytes: u64, records: u64) -> Result<(), Ending> {
        let over = self.quota.charge(bytes, records, StdInstant::now());
        match over {
            None => Ok(()),
            Some((wait, scope)) => self.withhold(wait, scope, bytes).await,
        }
    }

    /// Takes the credit back until the quota has room again: what the agent has not sent waits in its spool.
    /// One that goes on sending is told to leave.
    async fn withhold(&mut self, wait: Duration, scope: Scope, bytes: u64) -> Result<(), Ending> {
        let until = Instant::now() + wait;
        if let Some(pause) = &mut self.pause {
            pause.until = until;
            pause.sent_bytes = pause.sent_bytes.saturating_add(bytes);
            if pause.sent_bytes > self.shared.window.saturating_mul(PAUSED_WINDOWS) {
                let nack = Nack { code: NackCode::Quota, retry_after: wait.min(MAX_QUOTA_WAIT), place: None };
                self.shared.metrics.nacks.with_label_values(&[nack.code.as_str()]).inc();
                self.write(&[Frame::Nack(nack)]).await?;
                return Err(Ending::Refused(NackCode::Quota));
            }
            return Ok(());
        }
        self.shared.metrics.quota_pauses.with_label_values(&[scope.as_str()]).inc();
        if let Some(held_back) = self.shared.quota_talk.pass(StdInstant::now()) {
            let (agent, agency, scope) = (&self.who.agent, &self.who.agency, scope.as_str());
            tracing::warn!(%agent, %agency, scope, wait_secs = wait.as_secs_f64(), held_back, "quota used up, records wait in the agent's spool");
        }
        let shown = self.shared.metrics.quota_paused.clone();
        shown.inc();
        self.pause = Some(Pause { until, sent_bytes: 0, shown });
        let credit = self.protocol.set_window(0);
        self.write(&[credit]).await
    }

    /// Gives the credit back, if the quota has room.
    async fn resume(&mut self) -> Result<(), Ending> {
        if let (Some(pause), Some((wait, _))) = (&mut self.pause, self.quota.wait(StdInstant::now())) {
            pause.until = Instant::now() + wait;
            return Ok(());
        }
        self.pause = None;
        let credit = self.protocol.set_window(self.shared.window);
        self.write(&[credit]).await
    }

    fn mark_of(&self, stream: &canh_event::StreamName) -> Result<Arc<Mark>, Ending> {
        let mark = self.marks.iter().find(|mark| mark.stream() == stream);
        // The state machine lets only announced streams through, and each has a mark.
        mark.cloned().ok_or(Ending::Refused(NackCode::Protocol))
    }

    async fn submit(
        &mut self,
        mark: Arc<Mark>,
        work: Work,
        memory: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<(), Ending> {
        let (agency, session) = (self.who.agency.clone(), Arc::clone(&self.signal));
        let job = Job { mark, agency, session, work, memory, read_at: std::time::Instant::now() };
        self.shared.normalisers.submit(job).await.map_err(|Ended| Ending::Refused(NackCode::Storage))
    }

    /// Sends what has become durable, and ends if somebody has refused the session.
    async fn acknowledge(&mut self) -> Result<(), Ending> {
        let mut acks = Vec::new();
        for mark in &self.marks {
            acks.extend(self.protocol.acknowledge(mark.stream(), mark.durable()));
        }
        self.write(&acks).await?;
        match self.signal.verdict() {
            None => Ok(()),
            Some(nack) => {
                self.shared.metrics.nacks.with_label_values(&[nack.code.as_str()]).inc();
                let code = nack.code;
                self.write(&[Frame::Nack(nack)]).await?;
                Err(Ending::Refused(code))
            }
        }
    }

    async fn write(&mut self, frames: &[Frame]) -> Result<(), Ending> {
        self.connection.write(frames, self.protocol.version()).await.map_err(Ending::Connection)
    }

    /// Reads no more, acknowledges what is under way, says BYE and closes.
    async fn leave(mut self, reason: ByeReason, ending: Ending) -> Ending {
        let deadline = Instant::now() + self.shared.stop_deadline;
        let signal = Arc::clone(&self.signal);
        while !self.protocol.is_idle() {
            if let Err(error) = self.acknowledge().await {
                return error;
            }
            if self.protocol.is_idle() {
                break;
            }
            if timeout_at(deadline, signal.woken()).await.is_err() {
                tracing::warn!(agent = %self.who.agent, "not everything under way became durable before the deadline");
                break;
            }
        }
        if let Err(error) = self.write(&[Frame::Bye(canh_wire::Bye { reason })]).await {
            return error;
        }
        self.connection.close().await;
        ending
    }

    /// Ends for a reason that is the agent's or the line's.
    async fn end(mut self, ending: Ending) -> Ending {
        match ending {
            Ending::Protocol(error) => {
                let nack = error.nack(retry_after(error.code()));
                self.shared.metrics.nacks.with_label_values(&[nack.code.as_str()]).inc();
                if self.write(&[Frame::Nack(nack)]).await.is_ok() {
                    self.connection.close().await;
                }
                Ending::Protocol(error)
            }
            Ending::Connection(ConnectionError::Idle { span }) => {
                let bye = Frame::Bye(canh_wire::Bye { reason: ByeReason::Idle });
                if self.write(&[bye]).await.is_ok() {
                    self.connection.close().await;
                }
                Ending::Connection(ConnectionError::Idle { span })
            }
            Ending::Connection(error @ ConnectionError::Frame(_)) => {
                let shared = Arc::clone(&self.shared);
                fail(self.connection, error, &shared).await
            }
            Ending::Refused(code) => {
                self.connection.close().await;
                Ending::Refused(code)
            }
            other => other,
        }
    }
}

/// Waits until a time; for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Says what was wrong with the peer's bytes, as far as it can still be said.
async fn fail<S>(connection: Connection<S>, error: ConnectionError, shared: &Shared) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let ConnectionError::Frame(error) = &error {
        let code = match error {
            FrameError::Version { .. } => NackCode::Version,
            _ => NackCode::Protocol,
        };
        refuse(connection, Nack { code, retry_after: retry_after(code), place: None }, SPOKEN.newest, shared).await;
    }
    Ending::Connection(error)
}

async fn refuse<S>(mut connection: Connection<S>, nack: Nack, version: u8, shared: &Shared) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let code = nack.code;
    shared.metrics.nacks.with_label_values(&[code.as_str()]).inc();
    if connection.write(&[Frame::Nack(nack)], version).await.is_ok() {
        connection.close().await;
    }
    Ending::Refused(code)
}

fn terms(shared: &Shared) -> Terms {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Terms {
        window: shared.window,
        max_body_bytes: size(MAX_BODY_BYTES),
        max_raw_bytes: size(MAX_RAW_BODY_BYTES),
        max_records: size(MAX_BATCH_ROWS),
        ping_interval: PING_INTERVAL.min(shared.idle_timeout / 3),
        idle_timeout: shared.idle_timeout,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.saturating_add(since)
}

impl Ending {
    /// Returns one word for it, for a label.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Stopping => "stopping",
            Self::Refused(_) => "refused",
            Self::Protocol(_) => "protocol",
            Self::Connection(error) => error.as_str(),
        }
    }
}

#[cfg(test)]
mod tests;
