//! When the agent states its account, and of which sources: the half of a conversation that has nothing
//! to do with records.
//!
//! While there is a backlog a statement names the sources of the batches sent since the last one. Once
//! everything spooled is sent it names every source there is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use canh_event::{MAX_LEDGER_SOURCES, SourceAccount, SourceLoss, SourceName};
use tokio::time::Instant;

/// How soon after another a statement may follow, whatever has happened.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// What is to be stated.
#[derive(Debug)]
pub(crate) struct Statement {
    interval: Duration,
    /// When the last one was made, or would have been.
    at: Instant,
    /// The sources of the batches that were sent since.
    news: BTreeMap<SourceName, SourceAccount>,
    /// The spool's turn when every source was stated.
    whole_at: Option<u64>,
    /// Whether a gap was sent since: somebody will want to know what it means.
    has_gap: bool,
    /// Whether what was sent last is the end of a batch, or a gap: there the accounts hold.
    is_at_border: bool,
}

impl Statement {
    /// Returns what a new connection has to state: everything, soon.
    pub(crate) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        let at = now.checked_sub(interval.saturating_sub(LEAST_PAUSE)).unwrap_or(now);
        Self { interval, at, news: BTreeMap::new(), whole_at: None, has_gap: false, is_at_border: true }
    }

    /// Notes a part that was sent; `closes` is there if it was the last of its batch.
    pub(crate) fn note_sent(&mut self, closes: Option<Arc<[SourceAccount]>>) {
        self.is_at_border = closes.is_some();
        for account in closes.iter().flat_map(|closes| closes.iter()) {
            self.news.insert(account.source.clone(), account.clone());
        }
    }

    /// Notes a gap that was sent instead of a part.
    pub(crate) fn note_lost(&mut self, closes: Option<Arc<[SourceAccount]>>) {
        self.note_sent(closes);
        self.has_gap = true;
    }

    /// Notes a gap that was sent for whole batches that are no longer there; what they said of their
    /// sources is not read any more, so it is made up for.
    pub(crate) fn note_gap(&mut self, sources: &[SourceLoss]) {
        for loss in sources {
            if let Some(account) = self.news.get_mut(&loss.source) {
                account.produced = account.produced.saturating_add(loss.count);
            }
        }
        (self.is_at_border, self.has_gap) = (true, true);
    }

    /// Returns when the next statement is to be made; `turn` is the spool's.
    pub(crate) fn due(&self, turn: u64) -> Option<Instant> {
        if self.news.is_empty() && self.whole_at == Some(turn) && !self.has_gap {
            return None;
        }
        Some(self.at + if self.has_gap { LEAST_PAUSE } else { self.interval })
    }

    /// Returns whether a statement can and should be made now.
    pub(crate) fn is_due(&self, turn: u64) -> bool {
        self.is_at_border && self.due(turn).is_some_and(|due| due <= Instant::now())
    }

    /// Returns whether there is something to state that can be stated.
    pub(crate) fn has_news(&self, turn: u64) -> bool {
        self.is_at_border && self.due(turn).is_some()
    }

    /// Notes that all accounts are stated as of a turn.
    pub(crate) fn stated_whole(&mut self, turn: u64) {
        self.news.clear();
        self.whole_at = Some(turn);
        (self.has_gap, self.at) = (false, Instant::now());
    }

    /// Takes the news there are, in portions of as many as one frame holds.
    pub(crate) fn take_news(&mut self) -> Vec<Vec<SourceAccount>> {
        (self.has_gap, self.at) = (false, Instant::now());
        portions(std::mem::take(&mut self.news).into_values().collect())
    }
}

/// Cuts accounts, which are in order, into as many as one frame holds; there is always one portion.
pub(crate) fn portions(accounts: Vec<SourceAccount>) -> Vec<Vec<SourceAccount>> {
    if accounts.is_empty() {
        return vec![Vec::new()];
    }
    accounts.chunks(MAX_LEDGER_SOURCES).map(<[SourceAccount]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: usize) -> SourceAccount {
        SourceAccount::new(format!("/{number:04}").parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn statements_are_made_at_borders_when_there_is_news_and_not_too_often() {
        let interval = Duration::from_secs(60);
        let mut statement = Statement::new(interval);
        assert!(!statement.is_due(5), "soon, not at once");
        tokio::time::advance(LEAST_PAUSE).await;
        assert!(statement.is_due(5));
        statement.stated_whole(5);
        assert_eq!(statement.due(5), None, "nothing has happened since");
        statement.note_sent(None);
        statement.note_sent(Some(Arc::from([account(1)])));
        tokio::time::advance(interval - LEAST_PAUSE).await;
        assert!(!statement.is_due(6));
        tokio::time::advance(LEAST_PAUSE).await;
        assert!(statement.is_due(6));
        statement.note_sent(None);
        assert!(!statement.is_due(6), "in the middle of a batch accounts do not hold");
        statement.note_sent(Some(Arc::from([account(2)])));
        assert_eq!(statement.take_news(), [[account(1), account(2)]]);
    }

    #[tokio::test(start_paused = true)]
    async fn gap_is_stated_soon() {
        let mut statement = Statement::new(Duration::from_secs(60));
        statement.stated_whole(5);
        statement.note_gap(&[]);
        assert!(!statement.is_due(5));
        tokio::time::advance(LEAST_PAUSE).await;
        assert!(statement.is_due(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_dropped_batches_would_have_said_is_made_up_for() {
        let mut statement = Statement::new(Duration::from_secs(60));
        statement.note_sent(Some(Arc::from([SourceAccount { produced: 10, ..account(1) }])));
        let at = canh_event::Timestamp::EPOCH;
        let loss = |number| SourceLoss { source: account(number).source, count: 5, first: at, last: at };
        statement.note_gap(&[loss(1), loss(2)]);
        assert_eq!(statement.take_news(), [[SourceAccount { produced: 15, ..account(1) }]]);
    }

    #[test]
    fn many_sources_take_several_frames_and_none_takes_one() {
        let portions = portions((0..600).map(account).collect());
        assert_eq!(portions.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
        assert_eq!(super::portions(Vec::new()), [Vec::<SourceAccount>::new()]);
    }
}
