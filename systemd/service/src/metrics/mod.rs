//! Metrics: what a daemon counts, what its process costs, and the port both are read from.

mod listener;
mod process;
mod registry;

pub use listener::{Health, ListenError, MetricsServer, serve};
pub use registry::{Metrics, MetricsError};
