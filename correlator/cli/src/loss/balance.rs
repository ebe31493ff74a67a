//! Entries of the loss ledger summed up: for each stream what its last statement says, for each source
//! the last that names it, and the gaps.
//!
//! Shapes are a promise to scripts: fields are only ever added, and `schema_version` says so.

use std::collections::{BTreeMap, VecDeque};

use canh_event::{
    AccountedSource, AgencyId, AgentId, Counts, Disagreement, Epoch, GapReason, LossEntry, LossRecord, SourceName,
    StoredAccount, StoredGap, StreamName, Timestamp, sum_counts,
};
use serde::Serialize;

/// The version of the JSON shapes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Everything that is shown.
#[derive(Debug, Default, Serialize)]
pub(crate) struct LossReport {
    pub(crate) schema_version: u32,
    /// Whether everything balances.
    pub(crate) balances: bool,
    pub(crate) streams: Vec<StreamBalance>,
    pub(crate) gaps: Vec<GapRow>,
    /// How many gaps there are, those not shown among them.
    pub(crate) gaps_total: u64,
}

/// One stream of one agent, in one life of its spool. `produced = journalled + spooled + dropped + uncounted`.
#[derive(Debug, Serialize)]
pub(crate) struct StreamBalance {
    pub(crate) agent: String,
    pub(crate) agency: String,
    pub(crate) stream: String,
    pub(crate) epoch: String,
    /// Up to this record of the stream both ends have counted.
    pub(crate) position: u64,
    #[serde(serialize_with = "time")]
    pub(crate) stated: Timestamp,
    #[serde(serialize_with = "time")]
    pub(crate) received: Timestamp,
    /// Records given a place in the stream when the statement was made.
    pub(crate) produced: u64,
    pub(crate) journalled: u64,
    /// Records that waited in the spool, not yet at the collector.
    pub(crate) spooled: u64,
    /// Records before the collector began to count.
    pub(crate) uncounted: u64,
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// Those dropped of sources nobody knows.
    pub(crate) dropped_of_unknown_source: u64,
    pub(crate) balances: bool,
    /// What does not add up.
    pub(crate) disagreement: Option<String>,
    pub(crate) sources: Vec<SourceBalance>,
}

/// One source. `produced = journalled + dropped`, but for records dropped of sources nobody knows.
#[derive(Debug, Serialize)]
pub(crate) struct SourceBalance {
    pub(crate) source: String,
    /// Up to this record of the stream it is counted.
    pub(crate) position: u64,
    pub(crate) produced: u64,
    pub(crate) journalled: u64,
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// What the agent says it dropped itself.
    pub(crate) stated_dropped: BTreeMap<&'static str, u64>,
    /// What was lost before it was a record.
    pub(crate) figures: BTreeMap<&'static str, u64>,
}

/// One gap.
#[derive(Debug, Serialize)]
pub(crate) struct GapRow {
    pub(crate) agent: String,
    pub(crate) agency: Option<String>,
    pub(crate) stream: String,
    pub(crate) epoch: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) count: u64,
    pub(crate) reason: &'static str,
    /// Whether records are lost, or only elsewhere.
    pub(crate) is_loss: bool,
    #[serde(serialize_with = "time")]
    pub(crate) received: Timestamp,
    /// The record of the collector's journal that says so.
    pub(crate) journal_position: u64,
    pub(crate) sources: Vec<GapSource>,
}

/// What a gap took from one source.
#[derive(Debug, Serialize)]
pub(crate) struct GapSource {
    pub(crate) source: String,
    pub(crate) count: u64,
    #[serde(serialize_with = "time")]
    pub(crate) first: Timestamp,
    #[serde(serialize_with = "time")]
    pub(crate) last: Timestamp,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) agent: Option<AgentId>,
    pub(crate) agency: Option<AgencyId>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: usize,
}

/// Sums entries up, in their order.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    wanted: Wanted,
    streams: BTreeMap<(AgentId, StreamName, Epoch), Stream>,
    gaps: VecDeque<(u64, StoredGap)>,
    gaps_total: u64,
}

#[derive(Debug)]
struct Stream {
    last: StoredAccount,
    sources: BTreeMap<SourceName, (u64, AccountedSource)>,
}

impl Summary {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes the next entry.
    pub(crate) fn take(&mut self, entry: LossEntry) {
        match entry.record {
            LossRecord::Account(account) => self.take_account(*account),
            LossRecord::Gap(gap) => self.take_gap(entry.position, gap),
        }
    }

    fn take_account(&mut self, account: StoredAccount) {
        if !self.is_wanted(&account.agent, Some(&account.agency)) {
            return;
        }
        let key = (account.agent.clone(), account.stream.clone(), account.epoch);
        let position = account.position.0;
        let sources = account.sources.clone();
        let stream = match self.streams.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => {
                let stream = known.into_mut();
                stream.last = account;
                stream
            }
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Stream { last: account, sources: BTreeMap::new() })
            }
        };
        for source in sources {
            stream.sources.insert(source.stated.source.clone(), (position, source));
        }
    }

    fn take_gap(&mut self, position: u64, gap: StoredGap) {
        let is_recent = self.wanted.since.is_none_or(|since| gap.received >= since);
        if !is_recent || !self.is_wanted(&gap.agent, gap.agency.as_ref()) {
            return;
        }
        self.gaps_total += 1;
        self.gaps.push_back((position, gap));
        if self.gaps.len() > self.wanted.limit {
            self.gaps.pop_front();
        }
    }

    fn is_wanted(&self, agent: &AgentId, agency: Option<&AgencyId>) -> bool {
        let Wanted { agent: wanted_agent, agency: wanted_agency, .. } = &self.wanted;
        wanted_agent.as_ref().is_none_or(|wanted| wanted == agent)
            && wanted_agency.as_ref().is_none_or(|wanted| Some(wanted) == agency)
    }

    /// Returns the report.
    pub(crate) fn report(self) -> LossReport {
        let streams: Vec<StreamBalance> = self.streams.into_values().map(balance_of).collect();
        LossReport {
            schema_version: SCHEMA_VERSION,
            balances: streams.iter().all(|stream| stream.balances),
            streams,
            gaps: self.gaps.into_iter().map(gap_row).collect(),
            gaps_total: self.gaps_total,
        }
    }
}

fn balance_of(stream: Stream) -> StreamBalance {
    let Stream { last, sources } = stream;
    let disagreement = last.disagreement();
    let sources = sources.into_values().map(|(position, source)| SourceBalance {
        source: source.stated.source.to_string(),
        position,
        produced: source.stated.produced,
        journalled: source.journalled,
        dropped: by_word(&source.gaps),
        stated_dropped: by_word(&source.stated.dropped),
        figures: source.stated.figures.iter().map(|(figure, count)| (figure.as_str(), *count)).collect(),
    });
    StreamBalance {
        agent: last.agent.to_string(),
        agency: last.agency.to_string(),
        stream: last.stream.to_string(),
        epoch: last.epoch.to_string(),
        position: last.position.0,
        stated: last.stated,
        received: last.received,
        produced: last.spooled.0,
        journalled: last.journalled,
        spooled: last.spooled.0.saturating_sub(last.position.0),
        uncounted: last.uncounted,
        dropped: by_word(&last.gaps),
        dropped_of_unknown_source: last.unplaced,
        balances: disagreement.is_none(),
        disagreement: disagreement.as_ref().map(told),
        sources: sources.collect(),
    }
}

fn gap_row((position, gap): (u64, StoredGap)) -> GapRow {
    let to = gap.last().0;
    let source = |loss: canh_event::SourceLoss| GapSource {
        source: loss.source.to_string(),
        count: loss.count,
        first: loss.first,
        last: loss.last,
    };
    GapRow {
        agent: gap.agent.to_string(),
        agency: gap.agency.map(|agency| agency.to_string()),
        stream: gap.stream.to_string(),
        epoch: gap.epoch.to_string(),
        from: gap.from.0,
        to,
        count: gap.count,
        reason: gap.reason.as_str(),
        is_loss: gap.reason.is_loss(),
        received: gap.received,
        journal_position: position,
        sources: gap.sources.into_iter().map(source).collect(),
    }
}

fn by_word(counts: &Counts<GapReason>) -> BTreeMap<&'static str, u64> {
    debug_assert!(sum_counts(counts) < u64::MAX, "counts are of records");
    counts.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}

/// Says what does not add up.
fn told(disagreement: &Disagreement) -> String {
    match disagreement {
        Disagreement::TooMany { source, produced, accounted } => {
            format!("{source}: {produced} produced, {accounted} accounted for")
        }
        Disagreement::Missing { source, produced, accounted, missing, unplaced } => format!(
            "{missing} records are missing and {unplaced} may be, most of {source}: {produced} produced, {accounted} accounted for"
        ),
        Disagreement::Stream { position, accounted } => {
            format!("the stream has come to record {position}, {accounted} are accounted for")
        }
        _ => "it does not add up".to_owned(),
    }
}

fn time<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[cfg(test)]
pub(crate) mod tests {
    use canh_event::{Figure, RecordSequence, SourceAccount, SourceLoss};

    use super::*;

    const HOSTILE: &str = "=cmd|'/c calc'!A1\u{202e}";

    fn source(name: &str, produced: u64, journalled: u64, gaps: Counts<GapReason>) -> AccountedSource {
        let account = SourceAccount::new(name.parse().unwrap());
        let figures = vec![(Figure::KernelPackets, 70)];
        AccountedSource { stated: SourceAccount { produced, figures, ..account }, journalled, gaps, is_known: true }
    }

    fn account(agent: &str, position: u64, lost: u64, sources: Vec<AccountedSource>) -> LossEntry {
        let account = StoredAccount {
            agent: agent.parse().unwrap(),
            agency: "so-tttt".parse().unwrap(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            position: RecordSequence(position),
            spooled: RecordSequence(position + 5),
            stated: Timestamp::from_secs(1_795_489_623),
            received: Timestamp::from_secs(1_795_489_624),
            is_whole: false,
            journalled: position - lost,
            uncounted: 0,
            gaps: vec![(GapReason::SpoolFull, lost)],
            unplaced: 0,
            sources,
        };
        LossEntry { position: 5, record: LossRecord::Account(Box::new(account)) }
    }

    fn gap(agent: &str, from: u64, received: i64) -> LossEntry {
        let (first, last) = (Timestamp::from_secs(received - 9), Timestamp::from_secs(received - 2));
        let gap = StoredGap {
            agent: agent.parse().unwrap(),
            agency: "so-tttt".parse().ok(),
            stream: "log".parse().unwrap(),
            epoch: Epoch(9),
            from: RecordSequence(from),
            count: 3,
            reason: GapReason::SpoolFull,
            received: Timestamp::from_secs(received),
            sources: vec![SourceLoss { source: HOSTILE.parse().unwrap(), count: 3, first, last }],
        };
        LossEntry { position: 4, record: LossRecord::Gap(gap) }
    }

    /// A report with a hostile name, an agent that balances and one that does not.
    pub(crate) fn report() -> LossReport {
        let mut summary = Summary::new(Wanted { limit: 10, ..Wanted::default() });
        summary.take(gap("web-01", 4, 1_795_489_600));
        let lost = vec![(GapReason::SpoolFull, 3)];
        summary.take(account("web-01", 10, 3, vec![source(HOSTILE, 7, 4, lost)]));
        summary.take(account("web-02", 10, 0, vec![source("/a", 9, 10, Vec::new())]));
        summary.report()
    }

    #[test]
    fn produced_is_journalled_and_spooled_and_dropped() {
        let report = report();
        let [first, second] = &report.streams[..] else { panic!("{report:?}") };
        let dropped: u64 = first.dropped.values().sum();
        assert_eq!(first.produced, first.journalled + first.spooled + dropped + first.uncounted);
        assert_eq!((first.produced, first.journalled, first.spooled, dropped), (15, 7, 5, 3));
        assert!(first.balances && !second.balances && !report.balances);
        assert_eq!(second.disagreement.as_deref(), Some("/a: 9 produced, 10 accounted for"));
    }

    #[test]
    fn last_statement_counts_for_each_source_and_those_before_for_the_rest() {
        let mut summary = Summary::new(Wanted::default());
        summary.take(account("web-01", 10, 0, vec![source("/a", 4, 4, Vec::new()), source("/b", 6, 6, Vec::new())]));
        summary.take(account("web-01", 20, 0, vec![source("/b", 16, 16, Vec::new())]));
        let report = summary.report();
        let sources = &report.streams[0].sources;
        let shown: Vec<_> = sources.iter().map(|it| (it.source.as_str(), it.position, it.produced)).collect();
        assert_eq!((report.streams[0].position, shown), (20, vec![("/a", 10, 4), ("/b", 20, 16)]));
    }

    #[test]
    fn only_what_is_asked_for_is_shown_and_the_newest_gaps() {
        let wanted = |agent: &str, since: i64, limit| Wanted {
            agent: agent.parse().ok(),
            since: Some(Timestamp::from_secs(since)),
            limit,
            ..Wanted::default()
        };
        let shown = |wanted: Wanted| {
            let mut summary = Summary::new(wanted);
            for (agent, from, received) in
                [("web-01", 1, 100), ("web-01", 4, 200), ("web-02", 1, 200), ("web-01", 7, 300)]
            {
                summary.take(gap(agent, from, received));
            }
            summary.take(account("web-02", 10, 3, Vec::new()));
            let report = summary.report();
            (report.gaps.iter().map(|gap| gap.from).collect::<Vec<_>>(), report.gaps_total, report.streams.len())
        };
        assert_eq!(shown(wanted("web-01", 150, 10)), (vec![4, 7], 2, 0));
        assert_eq!(shown(wanted("web-01", 0, 2)), (vec![4, 7], 3, 0));
        assert_eq!(shown(Wanted { agency: "xa-lan".parse().ok(), limit: 9, ..Wanted::default() }), (vec![], 0, 0));
    }
}
