//! The registry of a daemon's metrics, and the page that documents them.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::generated;
use crate::metrics::process::ProcessCollector;

/// A metric that cannot be registered: its name is malformed, or taken. A bug of ours.
#[derive(Debug, thiserror::Error)]
#[error("metric {name} cannot be registered")]
pub struct MetricsError {
    name: String,
    #[source]
    source: prometheus::Error,
}

/// A daemon's metrics. Clones are the same registry.
///
/// It begins with `canh_build_info{daemon, version}` and the `process_*` metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    daemon: Arc<str>,
    registry: Registry,
    described: Arc<Mutex<Vec<Described>>>,
}

#[derive(Clone, Debug)]
struct Described {
    name: String,
    kind: &'static str,
    labels: String,
    help: String,
}

macro_rules! single {
    ($(#[$doc:meta])* $method:ident, $type:ty, $kind:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// The name is malformed or taken.
        pub fn $method(&self, name: &str, help: &str) -> Result<$type, MetricsError> {
            let metric = <$type>::with_opts(Opts::new(name, help)).map_err(|source| refused(name, source))?;
            self.add(name, $kind, &[], help, metric)
        }
    };
}

macro_rules! labelled {
    ($(#[$doc:meta])* $method:ident, $type:ty, $kind:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// The name or a label is malformed, or the name is taken.
        pub fn $method(&self, name: &str, help: &str, labels: &[&str]) -> Result<$type, MetricsError> {
            let metric = <$type>::new(Opts::new(name, help), labels).map_err(|source| refused(name, source))?;
            self.add(name, $kind, labels, help, metric)
        }
    };
}

impl Metrics {
    /// Returns a registry that holds what every daemon shows.
    ///
    /// # Errors
    /// None but for a bug of ours.
    pub fn new(daemon: &str, version: &str) -> Result<Self, MetricsError> {
        let metrics = Self { daemon: Arc::from(daemon), registry: Registry::new(), described: Arc::default() };
        let help = "Which program and version this is; always 1.";
        let build = metrics.gauges("canh_build_info", help, &["daemon", "version"])?;
        build.with_label_values(&[daemon, version]).set(1);
        let process = ProcessCollector::new().map_err(|source| refused("process_*", source))?;
        for (name, kind, help) in process.described() {
            metrics.describe(name, kind, &[], help);
        }
        metrics.registry.register(Box::new(process)).map_err(|source| refused("process_*", source))?;
        Ok(metrics)
    }

    single! {
        /// Registers a counter.
        counter, IntCounter, "counter"
    }
    single! {
        /// Registers a gauge of whole numbers.
        gauge, IntGauge, "gauge"
    }
    single! {
        /// Registers a gauge of fractions.
        float_gauge, Gauge, "gauge"
    }
    labelled! {
        /// Registers counters told apart by labels from closed sets.
        counters, IntCounterVec, "counter"
    }
    labelled! {
        /// Registers gauges of whole numbers told apart by labels from closed sets.
        gauges, IntGaugeVec, "gauge"
    }
    labelled! {
        /// Registers gauges of fractions told apart by labels from closed sets.
        float_gauges, GaugeVec, "gauge"
    }

    /// Registers a histogram with the upper bounds of its buckets.
    ///
    /// # Errors
    /// The name or the buckets are malformed, or the name is taken.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let metric = Histogram::with_opts(options).map_err(|source| refused(name, source))?;
        self.add(name, "histogram", &[], help, metric)
    }

    /// Registers histograms told apart by labels from closed sets.
    ///
    /// # Errors
    /// The name, a label or the buckets are malformed, or the name is taken.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let metric = HistogramVec::new(options, labels).map_err(|source| refused(name, source))?;
        self.add(name, "histogram", labels, help, metric)
    }

    /// Returns the registry itself, for a collector of one's own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns all metrics in the Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// A collector gave families without a metric or name: a bug of ours.
    pub fn encode(&self) -> Result<String, MetricsError> {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).map_err(|source| refused("(all)", source))
    }

    /// Returns the path of `docs/reference/metrics-<daemon>.md` under the workspace's root if it differs
    /// from what is registered. For a test of each daemon; with `UPDATE_GOLDEN` set in the environment
    /// the page is written instead.
    ///
    /// # Errors
    /// The page cannot be written.
    pub fn stale_page(&self, root: &Path) -> io::Result<Option<PathBuf>> {
        let path = root.join("docs/reference").join(format!("metrics-{}.md", self.daemon));
        let made = "Made from the code; a test holds it in step.";
        let text = format!("# Metrics of {}\n\n{made}\n\n{}", self.daemon, self.reference_markdown());
        generated::stale(path, &text)
    }

    /// Returns what has been registered as rows of Markdown, sorted by name.
    pub fn reference_markdown(&self) -> String {
        let mut described = self.described().clone();
        described.sort_by(|left, right| left.name.cmp(&right.name));
        let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
        for it in described {
            let labels = if it.labels.is_empty() { "-" } else { &it.labels };
            let _ = writeln!(out, "| `{}` | {} | {labels} | {} |", it.name, it.kind, it.help.replace('|', "\\|"));
        }
        out
    }

    fn add<M: Collector + Clone + 'static>(
        &self,
        name: &str,
        kind: &'static str,
        labels: &[&str],
        help: &str,
        metric: M,
    ) -> Result<M, MetricsError> {
        self.registry.register(Box::new(metric.clone())).map_err(|source| refused(name, source))?;
        self.describe(name, kind, labels, help);
        Ok(metric)
    }

    fn describe(&self, name: &str, kind: &'static str, labels: &[&str], help: &str) {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.described().push(Described { name, kind, labels: labels.join(", "), help });
    }

    fn described(&self) -> MutexGuard<'_, Vec<Described>> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(name: &str, source: prometheus::Error) -> MetricsError {
    MetricsError { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_encoded_and_documented() {
        let metrics = Metrics::new("canh-test", "1.2.3").unwrap();
        let lines = metrics.counters("canh_test_lines_total", "Lines.", &["reason"]).unwrap();
        lines.with_label_values(&["cut"]).inc_by(3);
        metrics.histogram("canh_test_wait_seconds", "Waits.", &[0.1, 1.0]).unwrap().observe(0.5);
        let text = metrics.encode().unwrap();
        for part in [
            "canh_build_info{daemon=\"canh-test\",version=\"1.2.3\"} 1\n",
            "# TYPE canh_test_lines_total counter\ncanh_test_lines_total{reason=\"cut\"} 3\n",
            "canh_test_wait_seconds_bucket{le=\"1\"} 1\n",
            "# TYPE process_cpu_seconds_total counter\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(metrics.reference_markdown().contains("| `canh_test_lines_total` | counter | reason | Lines. |\n"));
    }

    #[test]
    fn name_that_is_taken_or_malformed_is_refused() {
        let metrics = Metrics::new("canh-test", "1.2.3").unwrap();
        metrics.gauge("canh_test_x", "X.").unwrap();
        assert!(metrics.gauge("canh_test_x", "X.").is_err());
        assert!(metrics.counter("not a name", "X.").is_err());
    }
}
