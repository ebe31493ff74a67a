//! Runs the correlations: events and their hits in journal order go in, detections come out.
//!
//! Comes in: [`Matched`] records, taken from the matchers in turn. Goes out: a [`Finding`] a record,
//! and now and then the state, over one channel: a snapshot is never ahead of the ledger.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use canh_correlate::{Correlator, Counters, Limits};
use canh_incident::{Detection, DetectionKind};
use canh_service::notify::Pulse;
use tokio::sync::mpsc;

use crate::command::Finding;
use crate::config::SnapshotPolicy;
use crate::metrics::Metrics;
use crate::passage::{Matched, Progress, Read, gauge, get, set};
use crate::rules::Rules;

/// How often to look at the clock while nothing comes in.
const TICK: Duration = Duration::from_millis(200);

/// The room that correlates.
#[derive(Debug)]
pub(crate) struct Decide {
    pub(crate) matchers: Vec<Receiver<Matched>>,
    pub(crate) correlator: Correlator,
    pub(crate) rules: Arc<Rules>,
    pub(crate) limits: Limits,
    pub(crate) policy: SnapshotPolicy,
    pub(crate) findings: mpsc::Sender<Finding>,
    pub(crate) metrics: Metrics,
    pub(crate) progress: Arc<Progress>,
    pub(crate) pulse: Pulse,
    pub(crate) met: Met,
}

/// How many detections of each rule have been counted as met.
#[derive(Debug)]
pub(crate) struct Met(HashMap<String, u64>);

/// The owner of the store has ended; it has said why.
struct OwnerGone;

/// What a snapshot would hold that the last one does not.
struct Unsaved {
    /// The last position that was correlated.
    position: u64,
    records: u64,
    since: Instant,
}

impl Decide {
    /// Correlates until nothing more comes in, then saves the state.
    pub(crate) fn run(mut self) {
        let mut unsaved = Unsaved { position: 0, records: 0, since: Instant::now() };
        let mut turn = 0;
        loop {
            self.pulse.beat();
            let Some(matcher) = self.matchers.get(turn % self.matchers.len().max(1)) else { return };
            let done = match matcher.recv_timeout(TICK) {
                Ok(matched) => {
                    turn += 1;
                    unsaved.records += 1;
                    unsaved.position = matched.read.position;
                    self.take(matched)
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let is_due = unsaved.records >= self.policy.every_records || unsaved.since.elapsed() >= self.policy.every;
            let done = if is_due { done.and_then(|()| self.save(&mut unsaved)) } else { done };
            if done.is_err() {
                return;
            }
        }
        // An error says that the owner ended first: the next start reads more of the journal again.
        let _ = self.save(&mut unsaved);
    }

    fn take(&mut self, matched: Matched) -> Result<(), OwnerGone> {
        let Matched { read, hits } = matched;
        if read.rules.generation != self.rules.generation {
            self.change_rules(&read.rules);
        }
        let before = self.correlator.counters();
        let mut detections = Vec::new();
        self.correlator.observe(&read.batch, read.position, &hits, &mut detections);
        self.count(&read, &before, &detections);
        self.count_correlations(&detections);
        let newest = read.batch.rows().map(|row| row.received()).max();
        self.send(Finding::Record { position: read.position, newest, detections })
    }

    /// Goes on under other rules; those that are the same keep their state.
    fn change_rules(&mut self, rules: &Arc<Rules>) {
        let state = self.correlator.snapshot();
        self.correlator = Correlator::restore(&rules.set, &state, self.limits.clone()).unwrap_or_else(|error| {
            tracing::error!(%error, "correlation state could not be taken over, correlations begin anew");
            Correlator::new(&rules.set, self.limits.clone())
        });
        self.rules = Arc::clone(rules);
        self.met = Met::of(&self.correlator);
    }

    fn count(&self, read: &Read, before: &Counters, detections: &[Detection]) {
        let after = self.correlator.counters();
        let events = read.batch.len() as u64;
        let late = after.late.saturating_sub(before.late);
        let dropped = after.groups_dropped.saturating_sub(before.groups_dropped);
        let metrics = &self.metrics;
        metrics.records.inc();
        metrics.events.inc_by(events);
        metrics.events_late.inc_by(late);
        metrics.groups.set(gauge(after.groups));
        metrics.groups_dropped.inc_by(dropped);
        for detection in detections {
            metrics.detections.with_label_values(&[detection.level.as_str()]).inc();
        }
        let progress = &self.progress;
        progress.saw_events(&read.batch);
        set(&progress.events, get(&progress.events) + events);
        set(&progress.events_late, get(&progress.events_late) + late);
        set(&progress.groups, after.groups);
        set(&progress.groups_dropped, get(&progress.groups_dropped) + dropped);
    }

    /// Counts correlations as met. An update of a growing detection is none, and only the
    /// correlator knows which is which.
    fn count_correlations(&mut self, detections: &[Detection]) {
        let is_correlation = |detection: &&Detection| detection.kind == DetectionKind::Correlation;
        let ids: HashSet<&str> =
            detections.iter().filter(is_correlation).map(|detection| detection.rule_id.as_str()).collect();
        if ids.is_empty() {
            return;
        }
        for (id, counters) in self.correlator.rule_counters().filter(|(id, _)| ids.contains(id)) {
            let before = self.met.0.insert(id.to_owned(), counters.detections).unwrap_or(0);
            self.rules.met(id, counters.detections.saturating_sub(before));
        }
    }

    fn save(&self, unsaved: &mut Unsaved) -> Result<(), OwnerGone> {
        if unsaved.records > 0 {
            self.send(Finding::Snapshot { position: unsaved.position, state: self.correlator.snapshot() })?;
        }
        *unsaved = Unsaved { records: 0, since: Instant::now(), ..*unsaved };
        Ok(())
    }

    fn send(&self, finding: Finding) -> Result<(), OwnerGone> {
        self.findings.blocking_send(finding).map_err(|_| OwnerGone)
    }
}

impl Met {
    /// Returns the counts of a correlator: what it detected before is not met anew.
    pub(crate) fn of(correlator: &Correlator) -> Self {
        Self(correlator.rule_counters().map(|(id, counters)| (id.to_owned(), counters.detections)).collect())
    }
}
