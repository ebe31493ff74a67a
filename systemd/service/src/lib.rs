//! What a daemon owes its host: a configuration file that is checked whole, logs, metrics, signals,
//! readiness, a watchdog and an exit code. Every daemon of Canh owes the same, so it is written once.
//!
//! ```text
//!  /etc/canh/<daemon>.toml ──► config ──► Settings ──► the daemon's own Config
//!  stderr ◄── log              metrics ──► http://127.0.0.1:PORT/metrics, /healthz
//!  SIGTERM, SIGINT ──► signals::Shutdown      SIGHUP ──► signals::Reloads
//!  NOTIFY_SOCKET ◄── notify (READY, STATUS, RELOADING, STOPPING, WATCHDOG)
//!  exit status ◄── exit (0 done, 1 failed, 2 usage or configuration, 3 findings)
//! ```
//!
//! * [`config`]: one table of keys ([`config::Schema`]) is the parser, the checker, the reference
//!   page and the shipped example. All faults of a file are named at once, each with its line.
//! * [`metrics`]: a registry, and a listener that a slow or stuck scraper cannot fill.
//! * [`signals`]: one token that ends every task, and a stream of requests to reload.
//! * [`notify`]: what systemd is told, and a watchdog that stops when the daemon's loops stop.
//! * [`log`]: `tracing` to standard error, in the form that a terminal or the journal wants.
//! * [`exit`]: exit codes, and the printer that walks an error's chain.
//!
//! The crate imports nothing of ours. It expects a tokio runtime with time, net and signal enabled;
//! a current-thread one is enough.
//!
//! # Example
//!
//! ```
//! use canh_service::config::{Key, Kind, Schema};
//!
//! const KEYS: &[Key] = &[
//!     Key::with_default("metrics.address", Kind::Address, "127.0.0.1:0", "Where metrics are served."),
//!     Key::required("host.name", Kind::Label, "web-01", "The host's name."),
//! ];
//! const SCHEMA: Schema = Schema::new("canh-example", KEYS);
//!
//! let settings = SCHEMA.parse("example.toml".as_ref(), "[host]\nname = \"db-02\"\n")?;
//! assert_eq!(settings.text("host.name"), "db-02");
//!
//! let faults = SCHEMA.parse("example.toml".as_ref(), "[host]\nnaem = \"db-02\"\n").unwrap_err();
//! assert!(faults.to_string().contains("example.toml:2: unknown key `host.naem`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod config;
pub mod exit;
mod generated;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod signals;
