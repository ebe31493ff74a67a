//! Matches rules against events: one thread or several, each with a matcher of its own.
//!
//! Comes in: [`Read`]s, the k-th to thread k modulo their number. Goes out: [`Matched`]s, which
//! `decide` takes from the threads in the same turn: whatever the threads' pace, the order is the
//! journal's (promise P9).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use canh_sigma::{Matcher, Routing};

use crate::metrics::Metrics;
use crate::passage::{Matched, Read};

/// Matches until nothing more comes in, or nobody takes what goes out.
pub(crate) fn run(incoming: &Receiver<Read>, outgoing: &SyncSender<Matched>, metrics: &Metrics) {
    let mut next = incoming.recv().ok();
    while let Some(read) = next.take() {
        next = under_one_set_of_rules(read, incoming, outgoing, metrics);
    }
}

/// Matches until the rules change, and returns the first record under the new ones.
fn under_one_set_of_rules(
    first: Read,
    incoming: &Receiver<Read>,
    outgoing: &SyncSender<Matched>,
    metrics: &Metrics,
) -> Option<Read> {
    let rules = Arc::clone(&first.rules);
    let mut matcher = Matcher::new(&rules.program);
    let mut next = Some(first);
    while let Some(read) = next.take() {
        if read.rules.generation != rules.generation {
            return Some(read);
        }
        let mut hits = Vec::new();
        matcher.run(&read.batch, Routing::ByLogsource, &mut hits);
        count(&hits, &read, metrics);
        if outgoing.send(Matched { read, hits }).is_err() {
            return None;
        }
        next = incoming.recv().ok();
    }
    None
}

/// Adds the hits to the counts, once for each rule that was met.
fn count(hits: &[canh_sigma::Hit], read: &Read, metrics: &Metrics) {
    let mut met: Vec<_> = hits.iter().map(|hit| hit.rule).collect();
    met.sort_unstable();
    for same in met.chunk_by(|left, right| left == right) {
        let Some(rule) = same.first().and_then(|index| read.rules.set.rule(*index)) else { continue };
        let times = same.len() as u64;
        read.rules.met(&rule.id, times);
        metrics.hits.with_label_values(&[&rule.id]).inc_by(times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    use crate::testing::{failed_logins, metrics, rules};

    #[test]
    fn records_keep_their_order_and_rules_change_between_two_of_them() {
        let (old, new) = (rules(1), rules(2));
        let (read_in, read_out) = sync_channel(10);
        let (matched_in, matched_out) = sync_channel(10);
        for (position, rules) in [(1, &old), (2, &old), (3, &new), (4, &new)] {
            let count = i64::try_from(position).unwrap();
            read_in.send(Read { position, batch: failed_logins(count), rules: Arc::clone(rules) }).unwrap();
        }
        drop(read_in);
        let metrics = metrics();
        run(&read_out, &matched_in, &metrics);
        drop(matched_in);
        let seen: Vec<_> = matched_out.iter().map(|matched| (matched.read.position, matched.hits.len())).collect();
        assert_eq!(seen, [(1, 1), (2, 2), (3, 3), (4, 4)]);
        assert_eq!(metrics.hits.with_label_values(&["ssh-failed"]).get(), 10);
        assert_eq!((old.list().rules[0].hits, new.list().rules[0].hits), (3, 7));
    }
}
