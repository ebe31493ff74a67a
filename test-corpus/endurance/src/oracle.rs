//! What was written, and what of it was promised. At the end the journal is held against it.
//!
//! A line is *written* once its number is given out, and *acknowledged* once whoever made it durable
//! has said so. A line that may be absent is *excused*: the file it stood in was taken away on purpose.

use anyhow::ensure;

use crate::line::digest;
use crate::view::View;

/// How many examples of a problem are named.
const EXAMPLES: usize = 5;

/// What is known of one line.
#[derive(Clone, Copy, Debug)]
struct Known {
    digest: u64,
    promise: Promise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Written,
    Acknowledged,
    Excused,
}

/// What must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Every line that was acknowledged; the others may be on their way.
    Acknowledged,
    /// Every line that is not excused.
    Everything,
}

/// All lines of a run, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    lines: Vec<Known>,
    lost_files: u64,
}

impl Oracle {
    /// Gives out the next number and returns the line made with it.
    pub(crate) fn issue(&mut self, make: impl FnOnce(u64) -> String) -> (u64, String) {
        let id = self.lines.len() as u64;
        let line = make(id);
        self.lines.push(Known { digest: digest(line.as_bytes()), promise: Promise::Written });
        (id, line)
    }

    /// Notes that a line was promised to be kept.
    pub(crate) fn acknowledge(&mut self, id: u64) {
        self.promise(id, Promise::Acknowledged);
    }

    /// Notes that a line which was not acknowledged may be absent.
    pub(crate) fn excuse(&mut self, id: u64) {
        if self.at(id).is_some_and(|known| known.promise == Promise::Written) {
            self.promise(id, Promise::Excused);
        }
    }

    /// Notes that a log file was taken away, read or not: a gap may tell of it.
    pub(crate) fn lose_file(&mut self) {
        self.lost_files += 1;
    }

    /// Returns how many lines there are.
    pub(crate) fn written(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Returns how many of them were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.count(Promise::Acknowledged)
    }

    /// Returns how many of them must be in the journal at the end.
    pub(crate) fn expected(&self) -> u64 {
        self.written() - self.count(Promise::Excused)
    }

    /// Holds a view of the journal against what is known.
    ///
    /// # Errors
    /// A line is missing, doubled, changed or unknown; or the journal says that something will
    /// never come, or has holes.
    pub(crate) fn check(&self, view: &View, demand: Demand) -> anyhow::Result<()> {
        let (mut missing, mut doubled, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (id, known) in (0..).zip(&self.lines) {
            let (count, digest) = view.line(id);
            let is_wanted = match demand {
                Demand::Acknowledged => known.promise == Promise::Acknowledged,
                Demand::Everything => known.promise != Promise::Excused,
            };
            match count {
                0 if is_wanted => missing.push(id),
                0 => {}
                1 if digest != known.digest => changed.push(id),
                1 => {}
                _ => doubled.push(id),
            }
        }
        let unknown: Vec<u64> = (self.written()..view.end()).filter(|id| view.line(*id).0 > 0).collect();
        for (what, ids) in [("missing", missing), ("doubled", doubled), ("changed", changed), ("unknown", unknown)] {
            ensure!(
                ids.is_empty(),
                "of {} lines {} are {what}: {:?}",
                self.written(),
                ids.len(),
                ids.iter().take(EXAMPLES).collect::<Vec<_>>()
            );
        }
        let told = view.lost_files();
        ensure!(told <= self.lost_files, "{told} files were told of as lost, {} were taken away", self.lost_files);
        view.must_be_whole()
    }

    fn at(&self, id: u64) -> Option<&Known> {
        self.lines.get(usize::try_from(id).ok()?)
    }

    fn promise(&mut self, id: u64, promise: Promise) {
        if let Some(known) = usize::try_from(id).ok().and_then(|index| self.lines.get_mut(index)) {
            known.promise = promise;
        }
    }

    fn count(&self, promise: Promise) -> u64 {
        self.lines.iter().filter(|known| known.promise == promise).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(oracle: &mut Oracle) -> String {
        oracle.issue(|id| format!("x id={id} text")).1
    }

    fn complaint(oracle: &Oracle, lines: &[&str], demand: Demand) -> String {
        let mut view = View::default();
        lines.iter().for_each(|line| view.note(line.as_bytes()));
        oracle.check(&view, demand).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_is_missing_doubled_changed_or_unknown_is_found() {
        let mut oracle = Oracle::default();
        let (first, second) = (issue(&mut oracle), issue(&mut oracle));
        let (first, second) = (first.as_str(), second.as_str());
        let everything = Demand::Everything;
        assert_eq!(complaint(&oracle, &[second, first], everything), "");
        assert!(complaint(&oracle, &[first], everything).contains("1 are missing: [1]"));
        assert!(complaint(&oracle, &[first, second, first], everything).contains("1 are doubled: [0]"));
        assert!(complaint(&oracle, &[first, "x id=1 other"], everything).contains("1 are changed: [1]"));
        assert!(complaint(&oracle, &[first, second, "x id=9 text"], everything).contains("1 are unknown: [9]"));
        assert!(complaint(&oracle, &[first, second, "no number"], everything).contains("no number"));
    }

    #[test]
    fn only_what_was_promised_is_demanded() {
        let mut oracle = Oracle::default();
        let lines: Vec<String> = (0..3).map(|_| issue(&mut oracle)).collect();
        oracle.acknowledge(0);
        assert_eq!(complaint(&oracle, &[&lines[0]], Demand::Acknowledged), "");
        assert!(complaint(&oracle, &[&lines[1]], Demand::Acknowledged).contains("missing: [0]"));
        oracle.excuse(0);
        oracle.excuse(2);
        assert_eq!((oracle.acknowledged(), oracle.expected()), (1, 2), "what was promised is never excused");
        assert_eq!(complaint(&oracle, &[&lines[0], &lines[1]], Demand::Everything), "");
        assert_eq!(complaint(&oracle, &[&lines[0], &lines[1], &lines[2]], Demand::Everything), "");
    }
}
