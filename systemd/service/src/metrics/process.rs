//! What the process costs its host, read from `/proc/self` when somebody asks; the names are those
//! of every Prometheus client. `/proc/stat` is not read: the hardened units hide it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge};

/// Ticks in a second of `/proc/self/stat`: `USER_HZ`, 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

type Description = (&'static str, &'static str, &'static str);

const CPU: Description = ("process_cpu_seconds_total", "counter", "Processor time used, in user and in kernel mode.");
const RESIDENT: Description = ("process_resident_memory_bytes", "gauge", "Memory held in RAM.");
const VIRTUAL: Description = ("process_virtual_memory_bytes", "gauge", "Address space mapped.");
const OPEN_FDS: Description = ("process_open_fds", "gauge", "File descriptors open.");
const MAX_FDS: Description = ("process_max_fds", "gauge", "File descriptors that may be open.");
const THREADS: Description = ("process_threads", "gauge", "Threads.");
const STARTED: Description = ("process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.");

#[derive(Debug)]
pub(crate) struct ProcessCollector {
    cpu: Counter,
    resident: IntGauge,
    virtual_memory: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    threads: IntGauge,
    started: Gauge,
}

impl ProcessCollector {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let started = Gauge::new(STARTED.0, STARTED.2)?;
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        Ok(Self {
            cpu: Counter::new(CPU.0, CPU.2)?,
            resident: IntGauge::new(RESIDENT.0, RESIDENT.2)?,
            virtual_memory: IntGauge::new(VIRTUAL.0, VIRTUAL.2)?,
            open_fds: IntGauge::new(OPEN_FDS.0, OPEN_FDS.2)?,
            max_fds: IntGauge::new(MAX_FDS.0, MAX_FDS.2)?,
            threads: IntGauge::new(THREADS.0, THREADS.2)?,
            started,
        })
    }

    /// Returns name, type and meaning of each metric.
    pub(crate) const fn described(&self) -> [Description; 7] {
        [CPU, RESIDENT, VIRTUAL, OPEN_FDS, MAX_FDS, THREADS, STARTED]
    }

    fn refresh(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name| status_number(&status, name).map(|it| it.saturating_mul(1_024));
        set(&self.resident, kilobytes("VmRSS:"));
        set(&self.virtual_memory, kilobytes("VmSize:"));
        set(&self.threads, status_number(&status, "Threads:"));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        set(&self.max_fds, status_number(&limits, "Max open files"));
        // One of them is the directory that is being read.
        let fds = fs::read_dir("/proc/self/fd").ok().and_then(|entries| i64::try_from(entries.count()).ok());
        set(&self.open_fds, fds.map(|count| count - 1));
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&stat) {
            // A counter is only ever added to; two scrapes at once may each add a tick's rounding.
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
    }

    fn all(&self) -> [&dyn Collector; 7] {
        [&self.cpu, &self.resident, &self.virtual_memory, &self.open_fds, &self.max_fds, &self.threads, &self.started]
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

fn set(gauge: &IntGauge, value: Option<i64>) {
    if let Some(value) = value {
        gauge.set(value);
    }
}

/// Returns the number after a line's name.
fn status_number(text: &str, name: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns user and system time, fields 14 and 15 of proc(5), `/proc/pid/stat`. The second field is
/// the program's name in parentheses and may hold anything, so counting begins after the last one.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_costs_are_read() {
        let process = ProcessCollector::new().unwrap();
        process.refresh();
        assert!(process.resident.get() > 100_000, "{}", process.resident.get());
        assert!(process.virtual_memory.get() >= process.resident.get());
        assert!(process.open_fds.get() >= 3 && process.max_fds.get() >= process.open_fds.get());
        assert!(process.threads.get() >= 1);
    }

    #[test]
    fn program_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }
}
