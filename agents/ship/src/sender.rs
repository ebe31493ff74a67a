//! The task that gets the spool to a collector: connection after connection, collector after
//! collector, until it is asked to stop.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use canh_event::RecordSequence;
use canh_wire::{Advice, AgentSessionError, Nack, Resume, Welcome, Welcomed};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::config::ShipConfig;
use crate::connect::{ConnectError, Credentials, Greeted, greet};
use crate::conversation::{Conversation, Ended, StreamPlace, Surroundings};
use crate::feed::{Feed, FeedStart};
use crate::ledger::Ledger;
use crate::metrics::{ConnectionState, SendFailure};
use crate::parts::FrameLimits;
use crate::renew::Renewal;
use crate::shared::{Shared, run_blocking};
use crate::spool::Spool;

/// Longest wait that a collector's refusal can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);
/// Most refused batches that are remembered; past it the oldest is sent, and refused, again.
const MAX_REFUSED: usize = 1_024;

/// The sending task.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    config: ShipConfig,
    credentials: Credentials,
    backoff: Backoff,
    ledger: Ledger,
    renewal: Renewal,
    refused: BTreeSet<RecordSequence>,
    stop: watch::Receiver<bool>,
    /// Which collector is next.
    collector: usize,
    /// The last failure that was logged: the same one again is not.
    logged: Option<SendFailure>,
}

/// How one connection went.
enum Outcome {
    NotConnected(ConnectError),
    /// The spool has been rolled back; it has begun a new epoch.
    NewEpoch,
    Talked {
        ended: Ended,
        is_useful: bool,
    },
    /// A collector before this one is back.
    FailBack {
        is_useful: bool,
    },
}

/// What to do next.
enum Next {
    Stop,
    Connect { after: Duration },
}

impl Sender {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: ShipConfig,
        credentials: Credentials,
        seed: u64,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            shared,
            backoff: Backoff::new(config.retry, seed),
            renewal: Renewal::of(&config),
            config,
            credentials,
            ledger: Ledger::default(),
            refused: BTreeSet::new(),
            stop,
            collector: 0,
            logged: None,
        }
    }

    /// Sends until asked to stop.
    pub(crate) async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            self.shared.metrics.set_state(ConnectionState::Connecting);
            let outcome = self.connect_and_talk().await;
            let Next::Connect { after } = self.judge(outcome) else { break };
            self.shared.metrics.set_state(ConnectionState::Waiting);
            tokio::select! {
                _ = stop.wait_for(|is_stopping| *is_stopping) => break,
                () = sleep(after) => self.shared.metrics.reconnects.inc(),
            }
        }
        self.shared.metrics.set_state(ConnectionState::Stopped);
    }

    async fn connect_and_talk(&mut self) -> Outcome {
        let mut stop = self.stop.clone();
        let address = self.config.collectors.get(self.collector).cloned().unwrap_or_default();
        let connecting = async {
            let (mut stream, who) = self.credentials.dial(&address, &self.shared.metrics).await?;
            let name = self.config.stream.clone();
            let state = self.shared.with_spool(move |spool| spool.stream_state(&name)).await;
            let greeted = greet(&mut stream, &self.config.software, state).await?;
            Ok((stream, who, greeted))
        };
        let connected = tokio::select! {
            _ = stop.wait_for(|is_stopping| *is_stopping) => {
                return Outcome::Talked { ended: Ended::Stopped, is_useful: false };
            }
            connected = connecting => connected,
        };
        let (stream, who, Greeted { welcomed, frames }) = match connected {
            Ok(connected) => connected,
            Err(error) => return Outcome::NotConnected(error),
        };
        let Welcomed { session, welcome, resume } = welcomed;
        info!(collector = %address, version = welcome.version, window = welcome.terms.window, "connected");
        self.shared.metrics.connections.inc();
        self.renewal.begin(who.as_ref());
        self.shared.metrics.set_state(ConnectionState::Open);
        self.logged = None;
        let (place, feed) = match self.resume(resume, &welcome).await {
            Ok(Some(resumed)) => resumed,
            Ok(None) => return Outcome::NewEpoch,
            Err(ended) => return Outcome::Talked { ended, is_useful: false },
        };
        let (leave, leaving) = watch::channel(false);
        let companion = self.companion(leave);
        let mut leaving = leaving;
        let around = Surroundings {
            shared: &self.shared,
            ledger: &mut self.ledger,
            renewal: &mut self.renewal,
            refused: &self.refused,
            stop: &mut leaving,
            account_interval: self.config.account_interval,
        };
        let conversation = Conversation::new(stream, session, frames, welcome.terms, feed, place, around);
        let (ended, is_useful) = tokio::select! {
            outcome = conversation.run() => outcome,
            never = companion => match never {},
        };
        self.shared.with_dropped(crate::dropped::DroppedIndex::close);
        match ended {
            Ended::Stopped if !*self.stop.borrow() => Outcome::FailBack { is_useful },
            ended => Outcome::Talked { ended, is_useful },
        }
    }

    /// Ends the conversation when the agent stops, or when a collector before the one in use can be
    /// reached again.
    fn companion(&self, leave: watch::Sender<bool>) -> impl Future<Output = Infallible> + use<> {
        let (mut stop, credentials, pause) = (self.stop.clone(), self.credentials.clone(), self.config.fail_back);
        let shared = Arc::clone(&self.shared);
        let before: Vec<String> = self.config.collectors.iter().take(self.collector).cloned().collect();
        async move {
            let reachable = async {
                if before.is_empty() {
                    return std::future::pending().await;
                }
                loop {
                    sleep(pause).await;
                    for address in &before {
                        if credentials.dial(address, &shared.metrics).await.is_ok() {
                            return info!(collector = %address, "a collector before this one is back");
                        }
                    }
                }
            };
            tokio::select! {
                _ = stop.wait_for(|is_stopping| *is_stopping) => {}
                () = reachable => {}
            }
            leave.send_replace(true);
            std::future::pending().await
        }
    }

    /// Finds where to go on; nothing if the spool had to begin a new epoch.
    async fn resume(&mut self, resume: Vec<Resume>, welcome: &Welcome) -> Result<Option<(StreamPlace, Feed)>, Ended> {
        let (next, begins) = match resume.into_iter().next() {
            Some(Resume::From { next, .. }) => (next, next),
            Some(Resume::AfterGap(gap)) => (gap.from, RecordSequence(gap.last().0.saturating_add(1))),
            Some(Resume::SpoolBehind { durable, .. }) => {
                warn!(durable = durable.0, "the collector has more than was ever spooled here: spool rolled back");
                self.shared.with_spool(|spool| spool.renew_epoch()).await?;
                return Ok(None);
            }
            // The session answers for every stream of the HELLO, and there is one.
            None => return Ok(None),
        };
        let (store, durable) = (welcome.store, RecordSequence(next.0.saturating_sub(1)));
        self.refused = self.refused.split_off(&next);
        self.ledger.welcome(durable, &self.shared.metrics);
        let before = self.shared.with_spool(move |spool| spool.welcome(store, durable)).await;
        if let Some(before) = before {
            self.shared.metrics.stores_rolled_back.inc();
            error!(
                acknowledged = before.0,
                durable = durable.0,
                "the collector has less than it acknowledged: its store was put back; what is still spooled is sent again"
            );
        }
        self.shared.acknowledge(store, durable).await?;
        self.shared.with_dropped(|dropped| dropped.open(durable));
        let spooled = self.shared.spooled.subscribe();
        let look = move |spool: &mut Spool| (spool.dir(), spool.places_of(begins), spool.epoch(), spool.acknowledged());
        let (dir, places, epoch, acknowledged) = self.shared.with_spool(look).await;
        let start = FeedStart { dir, places, wanted: begins, limits: FrameLimits::of(&welcome.terms) };
        let feed = run_blocking(move || Feed::open(start, spooled)).await?;
        let (stream, rolled_back) = (self.config.stream.clone(), before.unwrap_or_default());
        Ok(Some((StreamPlace { stream, epoch, store, next, begins, rolled_back, acknowledged }, feed)))
    }

    /// Decides when and where to connect next.
    fn judge(&mut self, outcome: Outcome) -> Next {
        match outcome {
            Outcome::NewEpoch => Next::Connect { after: self.backoff.next() },
            Outcome::FailBack { is_useful } => {
                if is_useful {
                    self.backoff.reset();
                }
                info!("leaving for a collector before this one");
                self.collector = 0;
                Next::Connect { after: Duration::ZERO }
            }
            Outcome::NotConnected(error) => {
                self.note_failure(error.failure(), &error);
                match error {
                    ConnectError::Session(AgentSessionError::Refused { nack }) => self.refused_by(&nack),
                    _ => self.try_next_collector(Duration::ZERO),
                }
            }
            Outcome::Talked { ended: Ended::Stopped, .. } => Next::Stop,
            Outcome::Talked { ended, is_useful } => {
                if is_useful {
                    self.backoff.reset();
                }
                match ended.failure() {
                    Some(failure) => self.note_failure(failure, &ended),
                    None => info!(reason = %ended, "connection over"),
                }
                match ended {
                    Ended::Refused(nack) => self.refused_by(&nack),
                    // The same collector at once, to show it that the new certificate has arrived.
                    Ended::Renewed => Next::Connect { after: Duration::ZERO },
                    _ => self.try_next_collector(Duration::ZERO),
                }
            }
        }
    }

    fn refused_by(&mut self, nack: &Nack) -> Next {
        self.shared.metrics.count_refusal(nack.code);
        let retry_after = nack.retry_after.min(MAX_RETRY_AFTER);
        match (nack.code.advice(), &nack.place) {
            (Advice::Skip, Some(place)) => {
                if self.refused.len() >= MAX_REFUSED {
                    self.refused.pop_first();
                }
                self.refused.insert(place.first);
                Next::Connect { after: self.backoff.next().max(retry_after) }
            }
            (Advice::ComeBack | Advice::Skip, _) => self.try_next_collector(retry_after),
            (Advice::Stop, _) => {
                let longest = self.backoff.longest();
                self.try_next_collector(longest.max(retry_after))
            }
        }
    }

    /// Goes on with the next collector at once; after the last one waits and begins with the first.
    fn try_next_collector(&mut self, least: Duration) -> Next {
        self.collector += 1;
        if self.collector < self.config.collectors.len() {
            return Next::Connect { after: Duration::ZERO };
        }
        self.collector = 0;
        Next::Connect { after: self.backoff.next().max(least) }
    }

    fn note_failure(&mut self, failure: SendFailure, error: &(dyn std::error::Error + 'static)) {
        self.shared.metrics.count_failure(failure);
        let collector = self.config.collectors.get(self.collector).map(String::as_str).unwrap_or_default();
        let reason = failure.as_str();
        if self.logged == Some(failure) {
            debug!(collector, reason, error, "not connected");
        } else {
            warn!(collector, reason, error, "not connected");
            self.logged = Some(failure);
        }
    }
}
