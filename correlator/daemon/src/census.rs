//! How many incidents there are, by state and severity: kept in step with the book change by
//! change, since counting a hundred thousand at each would not do.

use std::collections::HashMap;
use std::sync::Arc;

use canh_incident::{Incident, IncidentBook, IncidentNumber, IncidentState, Severity};

use crate::metrics::Metrics;
use crate::passage::{Progress, gauge, set};

/// The counts, and where each incident stood when it was last counted.
#[derive(Debug)]
pub(crate) struct Census {
    last: HashMap<u32, (IncidentState, Severity)>,
    counts: HashMap<(IncidentState, Severity), u64>,
    metrics: Metrics,
    progress: Arc<Progress>,
}

impl Census {
    /// Counts a whole book.
    pub(crate) fn of(book: &IncidentBook, metrics: Metrics, progress: Arc<Progress>) -> Self {
        let mut census = Self { last: HashMap::new(), counts: HashMap::new(), metrics, progress };
        census.recount(book, book.incidents().map(|incident| incident.number));
        census
    }

    /// Counts again the incidents that changed.
    pub(crate) fn recount(&mut self, book: &IncidentBook, changed: impl IntoIterator<Item = IncidentNumber>) {
        for incident in changed.into_iter().filter_map(|number| book.get(number)) {
            self.put(incident);
        }
        for ((state, severity), count) in &self.counts {
            self.metrics.incidents.with_label_values(&[state.as_str(), severity.as_str()]).set(gauge(*count));
        }
        let open = self.counts.iter().filter(|((state, _), _)| state.is_open()).map(|(_, count)| count).sum();
        set(&self.progress.incidents, book.len() as u64);
        set(&self.progress.incidents_open, open);
    }

    fn put(&mut self, incident: &Incident) {
        let place = (incident.state, incident.severity);
        if let Some(before) = self.last.insert(incident.number.counter(), place)
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count = count.saturating_sub(1);
        }
        *self.counts.entry(place).or_default() += 1;
    }
}
