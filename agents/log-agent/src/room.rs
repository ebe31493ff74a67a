//! What all sources share: which files are known and where they are, the read buffer, the bounds, and
//! who is told of failures.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canh_event::{Figure, GapReason, SourceName};
use canh_ship::Loss;

use crate::batch::Moment;
use crate::metrics::{AgentMetrics, Reason};
use crate::position::FileId;
use crate::tail::Polled;

/// Most complaints that are remembered. Past it all are forgotten, and may be logged once more.
const MAX_COMPLAINTS: usize = 1_024;

/// How files are held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailLimits {
    /// How long a detached file is held after its last growth.
    pub(crate) rotated_wait: Duration,
    /// Files held open; past it, files that are read to their end are closed.
    pub(crate) open_files: usize,
}

/// What all sources share.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) moment: Moment,
    /// Files that some source reads or has read.
    pub(crate) known: HashSet<FileId>,
    /// Files at watched paths as of the last scan: where, and how long they were.
    pub(crate) present: HashMap<FileId, (PathBuf, u64)>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) open_files: usize,
    pub(crate) limits: TailLimits,
    pub(crate) metrics: AgentMetrics,
    complaints: HashSet<(PathBuf, Reason)>,
    losses: Vec<Loss>,
    figures: Vec<(SourceName, Figure, u64)>,
}

impl Room {
    pub(crate) fn new(limits: TailLimits, metrics: AgentMetrics, moment: Moment) -> Self {
        Self {
            moment,
            known: HashSet::new(),
            present: HashMap::new(),
            buffer: Vec::new(),
            open_files: 0,
            limits,
            metrics,
            complaints: HashSet::new(),
            losses: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Counts what a poll did besides handing over lines.
    pub(crate) fn count(&mut self, path: &Path, source: &SourceName, polled: Polled) {
        self.metrics.skipped_bytes.inc_by(polled.skipped);
        if polled.skipped > 0 {
            self.figures.push((source.clone(), Figure::CutBytes, polled.skipped));
        }
        if polled.truncations > 0 {
            self.metrics.truncations.inc_by(polled.truncations);
            tracing::info!(path = ?path, "file was truncated, reading it from its beginning");
        }
    }

    /// Notes that something of a source is lost: the collector is told with the next batch.
    pub(crate) fn lose(&mut self, source: &SourceName, reason: GapReason) {
        let (source, at) = (source.clone(), self.moment.wall);
        self.losses.push(Loss { source, reason, count: 1, first: at, last: at });
    }

    /// Takes out what is to be told of losses.
    pub(crate) fn take_losses(&mut self) -> (Vec<Loss>, Vec<(SourceName, Figure, u64)>) {
        (std::mem::take(&mut self.losses), std::mem::take(&mut self.figures))
    }

    /// Counts a failed attempt, and logs it unless it was logged before: a file that cannot be read
    /// is tried again every second.
    pub(crate) fn complain(&mut self, path: &Path, reason: Reason, error: Option<&io::Error>) {
        self.metrics.error(reason);
        if self.complaints.len() >= MAX_COMPLAINTS {
            self.complaints.clear();
        }
        if self.complaints.insert((path.to_owned(), reason)) {
            let reason = reason.as_str();
            match error {
                Some(error) => tracing::warn!(path = ?path, reason, %error, "file cannot be read now"),
                None => tracing::warn!(path = ?path, reason, "file cannot be read now"),
            }
        }
    }
}
