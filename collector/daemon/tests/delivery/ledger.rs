//! The loss ledger through the real collector and the real shipper: whatever is killed, dropped or put
//! back, what was produced is journalled or lost with a reason, and both ends agree (P3, R9, R17).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use canh_event::{
    GapReason, LossEntry, LossRecord, RecordBatch, Source, SourceName, StoredAccount, StoredGap, Timestamp, sum_counts,
};
use canh_journal::Reader;
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
use canh_ship::{Loss, Priority, RetryPolicy, ShipConfig, ShipError, Shipper, SpoolError, Submission, WhenFull};

use crate::process::{Collector, Site};

type Outcome = anyhow::Result<()>;

const PATIENCE: Duration = Duration::from_secs(60);

/// A shipper's host: its files, and what it has submitted by source.
struct Host {
    config: ShipConfig,
    submitted: BTreeMap<SourceName, u64>,
    turn: u64,
}

impl Host {
    fn new(site: &Site, collectors: Vec<String>) -> anyhow::Result<Self> {
        let files = site.path("agent");
        let config = ShipConfig {
            stream: "log".parse()?,
            software: "canh-test 0".to_owned(),
            spool_dir: site.path("spool"),
            spool_max_bytes: 1 << 20,
            when_full: WhenFull::Wait,
            account_interval: Duration::from_secs(1),
            fail_back: Duration::from_secs(600),
            collectors,
            server_name: "localhost".to_owned(),
            ca: files.join("ca.pem"),
            certificate: files.join("cert.pem"),
            key: files.join("key.pem"),
            retry: RetryPolicy { first: Duration::from_millis(5), longest: Duration::from_millis(50) },
        };
        Ok(Self { config, submitted: BTreeMap::new(), turn: 0 })
    }

    /// Starts the shipper; one before it may still be about to let the spool go.
    async fn start(&self) -> anyhow::Result<Shipper> {
        let begun = Instant::now();
        loop {
            // A stop is asked for already, so that a batch a full spool would wait with is given back.
            let (trigger, shutdown) = Shutdown::new();
            trigger.request();
            let metrics = Metrics::new("canh-test", "0")?;
            match Shipper::start(self.config.clone(), &metrics, shutdown).await {
                Err(ShipError::Spool(SpoolError::Journal(canh_journal::JournalError::Locked { .. })))
                    if begun.elapsed() < PATIENCE =>
                {
                    tokio::task::yield_now().await;
                }
                started => return Ok(started?),
            }
        }
    }

    /// Makes records of a source that is called after its priority, which do not pack well.
    fn submission(&mut self, priority: Priority, count: u64, bytes: usize) -> anyhow::Result<Submission> {
        let mut records = RecordBatch::new();
        let (name, format): (SourceName, _) = (priority.as_str().parse()?, "raw".parse()?);
        let id = records.source(&Source { name: name.clone(), host: "web-01".into(), format, utc_offset_secs: 0 })?;
        let at = Timestamp::from_secs(1_795_489_623);
        for _ in 0..count {
            self.turn += 1;
            let mut state = self.turn;
            let record: Vec<u8> = (0..bytes.max(8))
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .collect();
            records.push(id, at, &record)?;
        }
        *self.submitted.entry(name).or_default() += count;
        Ok(Submission { records, priority, ..Submission::default() })
    }
}

/// Returns everything the collector's journal of losses holds.
fn losses(site: &Site) -> anyhow::Result<(Vec<StoredAccount>, Vec<StoredGap>)> {
    let (mut accounts, mut gaps) = (Vec::new(), Vec::new());
    let dir: PathBuf = site.path("state/losses");
    if !dir.join("durable").exists() {
        return Ok((accounts, gaps));
    }
    let mut reader = Reader::open(&dir)?;
    while let Some(entry) = reader.next()? {
        match LossEntry::decode(entry.body)?.record {
            LossRecord::Account(account) => accounts.push(*account),
            LossRecord::Gap(gap) => gaps.push(gap),
        }
    }
    Ok((accounts, gaps))
}

/// Waits for a whole account as of what was submitted last, and returns it with the gaps.
fn balanced(site: &Site, host: &Host, total: u64) -> anyhow::Result<(StoredAccount, Vec<StoredGap>)> {
    let begun = Instant::now();
    let account = loop {
        let (accounts, _) = losses(site)?;
        let last = accounts.iter().rfind(|account| account.is_whole && account.position.0 == total);
        if let Some(account) = last {
            break account.clone();
        }
        ensure!(begun.elapsed() < PATIENCE, "no account as of {total}: {:?}", accounts.last());
        std::thread::sleep(Duration::from_millis(20));
    };
    let (accounts, gaps) = losses(site)?;
    for account in &accounts {
        ensure!(account.disagreement().is_none(), "{:?} in {account:?}", account.disagreement());
    }
    ensure!(account.journalled + sum_counts(&account.gaps) == total, "{account:?}");
    for source in &account.sources {
        let submitted = host.submitted.get(&source.stated.source).copied().unwrap_or(0);
        ensure!(source.stated.produced == submitted, "{submitted} were submitted: {source:?}");
    }
    Ok((account, gaps))
}

fn address(collector: &Collector) -> String {
    collector.address.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_below_its_bound_a_spool_loses_nothing_and_above_it_the_oldest_of_low_priority_with_gaps() -> Outcome {
    for (batches, is_over) in [(12, false), (120, true)] {
        let site = Site::new()?;
        let mut host = Host::new(&site, vec!["127.0.0.1:1".to_owned()])?;
        let shipper = host.start().await?;
        for number in 0..batches {
            // Most of what is written matters little, and some of it much.
            let priority = match number % 12 {
                0 => Priority::High,
                1 | 2 => Priority::Normal,
                _ => Priority::Low,
            };
            let submission = host.submission(priority, 10, 2_000)?;
            shipper.submit_all(submission).await?;
        }
        shipper.stop().await;
        let collector = site.start()?;
        host.config.collectors = vec![address(&collector)];
        let shipper = host.start().await?;
        shipper.drain(PATIENCE).await?;
        let (account, gaps) = balanced(&site, &host, batches * 10)?;
        let lost: u64 = gaps.iter().map(|gap| gap.count).sum();
        ensure!((lost > 0) == is_over, "{lost} of {} were lost", batches * 10);
        ensure!(gaps.iter().all(|gap| gap.reason == GapReason::SpoolFull), "{gaps:?}");
        let low = "low".parse()?;
        ensure!(gaps.iter().flat_map(|gap| &gap.sources).all(|loss| loss.source == low), "only of low priority");
        ensure!(account.unplaced == 0, "each is laid to its source");
        if is_over {
            // Oldest first: whatever is lost of low priority came before all that is left of it.
            let last_lost = gaps.iter().map(|gap| gap.last().0).max().context("something is lost")?;
            let rows = site.stored()?;
            let is_low = |sequence: u64| !matches!((sequence - 1) / 10 % 12, 0..=2);
            ensure!(rows.iter().filter(|row| is_low(row.0)).all(|row| row.0 > last_lost), "not the oldest first");
        }
        shipper.stop().await;
        ensure!(collector.scrape()?.contains("\ncanh_collector_ledger_disagreements_total 0\n"), "it balances");
    }
    Ok(())
}

/// Steps of a small generator (splitmix64), so that a run can be repeated by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Drops, losses, kills of either end and broken lines at random: every statement balances, and the last one
/// accounts for everything that was submitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_balances_whatever_is_dropped_killed_or_cut_off() -> Outcome {
    for seed in 1..=3_u64 {
        println!("seed {seed}");
        let (mut dice, site) = (Dice(seed), Site::new()?);
        let mut collector = Some(site.start()?);
        let mut host = Host::new(&site, Vec::new())?;
        host.config.when_full = WhenFull::Drop;
        host.config.spool_max_bytes = 600 << 10;
        for _ in 0..12 {
            if dice.roll(3) == 0
                && let Some(running) = collector.take()
            {
                running.kill()?;
            }
            if collector.is_none() && dice.roll(2) == 0 {
                collector = Some(site.start()?);
            }
            host.config.collectors = vec![collector.as_ref().map_or("127.0.0.1:1".to_owned(), address)];
            let shipper = host.start().await?;
            for _ in 0..dice.roll(30) {
                let priority = Priority::ALL[usize::try_from(dice.roll(3))?];
                let count = 1 + dice.roll(40);
                let before = host.submitted.clone();
                let mut submission = host.submission(priority, count, 500)?;
                if dice.roll(4) == 0 {
                    let (source, count): (SourceName, _) = ("high".parse()?, 1 + dice.roll(9));
                    let at = Timestamp::from_secs(1_795_489_700);
                    *host.submitted.entry(source.clone()).or_default() += count;
                    submission.losses.push(Loss { source, reason: GapReason::QueueFull, count, first: at, last: at });
                }
                match shipper.submit_all(submission).await {
                    // High priority fills the spool: what is lower waits outside, and is no record yet.
                    Err(ShipError::Stopping) => host.submitted = before,
                    taken => taken?,
                }
                if dice.roll(20) == 0
                    && let Some(running) = collector.take()
                {
                    running.kill()?;
                }
            }
            // Killed or stopped: what is not acknowledged stays in the spool.
            if dice.roll(2) == 0 {
                shipper.stop().await;
            }
        }
        let collector = match collector {
            Some(running) => running,
            None => site.start()?,
        };
        host.config.collectors = vec![address(&collector)];
        let shipper = host.start().await?;
        shipper.drain(PATIENCE).await?;
        let total = host.submitted.values().sum();
        let (account, gaps) = balanced(&site, &host, total).with_context(|| format!("seed {seed}"))?;
        ensure!(!gaps.is_empty(), "seed {seed}: the dice were kind");
        let rows = site.stored()?;
        ensure!(rows.len() as u64 == account.journalled, "seed {seed}: {} rows, {account:?}", rows.len());
        ensure!(rows.is_sorted_by(|left, right| left.0 < right.0), "seed {seed}: each once and in order");
        shipper.stop().await;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// R17: the collector's disk is put back to an older copy. What the spool still has comes again, what it has
/// let go is a gap that says why, and the ledger balances: never silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_collector_put_back_from_a_backup_gets_what_is_spooled_and_a_gap_for_the_rest() -> Outcome {
    for let_go in [false, true] {
        let site = Site::new()?;
        let collector = site.start()?;
        let mut host = Host::new(&site, vec![address(&collector)])?;
        let shipper = host.start().await?;
        let submission = host.submission(Priority::Normal, 100, 200)?;
        shipper.submit_all(submission).await?;
        shipper.drain(PATIENCE).await?;
        balanced(&site, &host, 100)?;
        shipper.stop().await;
        collector.signal("TERM")?;
        collector.wait()?;
        copy(&site.path("state"), &site.path("backup"))?;

        let collector = site.start()?;
        host.config.collectors = vec![address(&collector)];
        let shipper = host.start().await?;
        // Little stays in the segment that is being written; much leaves whole segments behind.
        let batches = if let_go { 60 } else { 2 };
        for _ in 0..batches {
            let submission = host.submission(Priority::Normal, 10, 2_000)?;
            shipper.submit_all(submission).await?;
            shipper.drain(PATIENCE).await?;
        }
        shipper.stop().await;
        collector.kill()?;
        std::fs::remove_dir_all(site.path("state"))?;
        std::fs::rename(site.path("backup"), site.path("state"))?;

        let collector = site.start()?;
        host.config.collectors = vec![address(&collector)];
        let shipper = host.start().await?;
        let submission = host.submission(Priority::Normal, 10, 200)?;
        shipper.submit_all(submission).await?;
        shipper.drain(PATIENCE).await?;
        let total = 110 + batches * 10;
        let (account, gaps) = balanced(&site, &host, total)?;
        ensure!(gaps.is_empty() != let_go, "{gaps:?}");
        ensure!(gaps.iter().all(|gap| gap.reason == GapReason::StoreRolledBack && gap.from.0 == 101), "{gaps:?}");
        ensure!(site.stored()?.len() as u64 == account.journalled, "each is there once");
        ensure!((account.journalled == total) != let_go, "{account:?}");
        shipper.stop().await;
    }
    Ok(())
}

/// R17: the collector is killed after its journal is durable and before anybody has heard of it, and an
/// acknowledgement is lost with its line: the mark tells, and nothing is there twice.
#[test]
fn r17_records_durable_and_not_acknowledged_are_neither_lost_nor_doubled() -> Outcome {
    use crate::agent::{Agent, batch, record};
    let site = Site::new()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut welcomed, _) = agent.greet(300)?;
    agent.send(&welcomed.session.send_batch(batch(1, 100)?)?)?;
    collector.metric_becomes("canh_collector_journal_durable_position 1")?;
    // The line breaks with the acknowledgement on it.
    drop(agent);
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut welcomed, next) = agent.greet(300)?;
    ensure!(next == 101, "{next}");
    agent.send(&welcomed.session.send_batch(batch(101, 100)?)?)?;
    collector.metric_becomes("canh_collector_journal_durable_position 2")?;
    collector.kill()?;
    let collector = site.start()?;
    let mut agent = Agent::connect(collector.address, &site.path("agent"))?;
    let (mut welcomed, next) = agent.greet(300)?;
    ensure!(next == 201, "{next}");
    agent.send(&welcomed.session.send_batch(batch(201, 100)?)?)?;
    agent.acknowledged(300)?;
    let expected: Vec<_> = (1..=300).map(|sequence| (sequence, record(sequence))).collect();
    ensure!(site.stored()? == expected, "each once");
    Ok(())
}

/// A stop drains: what was sent is acknowledged, and the agent is at the next collector at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_a_collector_that_stops_are_at_the_next_one_at_once_and_come_back() -> Outcome {
    let (first_site, second_site) = (Site::new()?, Site::new()?);
    second_site.share_authority(&first_site)?;
    let (first, second) = (first_site.start()?, second_site.start()?);
    let mut host = Host::new(&first_site, vec![address(&first), address(&second)])?;
    host.config.fail_back = Duration::from_secs(1);
    host.config.retry = RetryPolicy { first: Duration::from_secs(30), longest: Duration::from_secs(60) };
    let shipper = host.start().await?;
    let submission = host.submission(Priority::Normal, 10, 100)?;
    shipper.submit_all(submission).await?;
    shipper.drain(PATIENCE).await?;
    first.signal("TERM")?;
    let (port, status) = (first.address.port(), first.wait()?);
    ensure!(status.success(), "{status}");
    let begun = Instant::now();
    let submission = host.submission(Priority::Normal, 10, 100)?;
    shipper.submit_all(submission).await?;
    shipper.drain(PATIENCE).await?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "it waited {:?}", begun.elapsed());
    // What the first has acknowledged and the spool still holds is there too; nothing is missing.
    ensure!(second_site.stored()?.len() == 20, "the spool had let nothing go");

    first_site.configure_listen(port)?;
    let first = first_site.start()?;
    let begun = Instant::now();
    while !first.scrape()?.contains("\ncanh_collector_connections 1\n") {
        ensure!(begun.elapsed() < PATIENCE, "it never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shipper.stop().await;
    Ok(())
}
