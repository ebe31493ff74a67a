//! `tracing` to standard error.
//!
//! In a terminal: time, colours by level. Under systemd (`JOURNAL_STREAM` names this very standard
//! error): no time, since the journal has its own, and the level as the `<3>` prefix that the
//! journal reads as a priority. Otherwise: time, no colours.
//!
//! `CANH_LOG` sets the level: `debug`, or by target, `info,canh_ship=trace`. The default is `info`.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt::layer};

/// The environment variable that sets the level.
pub const LEVEL_VARIABLE: &str = "CANH_LOG";

/// Begins to log. A second call, as in tests, changes nothing.
///
/// A level that cannot be read is itself logged, and `info` stands in.
pub fn init(daemon: &str) {
    let wanted = std::env::var(LEVEL_VARIABLE).ok();
    let (targets, refused) = targets(wanted.as_deref());
    let is_journal = is_journal();
    let base = layer().with_writer(io::stderr).with_ansi(!is_journal && io::stderr().is_terminal());
    let output = if is_journal {
        base.event_format(JournalFormat(Format::default().without_time().with_target(false))).boxed()
    } else {
        base.with_target(false).boxed()
    };
    if tracing_subscriber::registry().with(output.with_filter(targets)).try_init().is_err() {
        return;
    }
    if let Some(text) = refused {
        tracing::warn!(daemon, variable = LEVEL_VARIABLE, %text, "log level not understood, using info");
    }
}

fn targets(wanted: Option<&str>) -> (Targets, Option<String>) {
    let default = Targets::new().with_default(LevelFilter::INFO);
    match wanted.map(|text| (text, text.parse::<Targets>())) {
        None | Some(("", _)) => (default, None),
        Some((_, Ok(targets))) => (targets, None),
        Some((text, Err(_))) => (default, Some(text.chars().take(80).flat_map(char::escape_debug).collect())),
    }
}

/// Whether standard error is the journal's socket, systemd.exec(5), `$JOURNAL_STREAM`: the variable
/// is inherited by children whose output goes elsewhere, so the device and inode are compared.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let own = fs::metadata("/proc/self/fd/2").ok().map(|it| format!("{}:{}", it.dev(), it.ino()));
    named.is_some() && named == own
}

/// The line as usual, with the priority that sd-daemon(3) describes before it.
struct JournalFormat(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str(priority(*event.metadata().level()))?;
        self.0.format_event(context, out, event)
    }
}

const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_is_taken_by_target_and_nonsense_gives_info() {
        let (by_target, refused) = targets(Some("warn,canh_ship=trace"));
        assert_eq!(refused, None);
        assert!(by_target.would_enable("canh_ship::send", &Level::TRACE));
        assert!(!by_target.would_enable("canh_service", &Level::INFO));
        let (fallback, refused) = targets(Some("canh=loud\u{1b}[2J"));
        assert_eq!(refused.as_deref(), Some("canh=loud\\u{1b}[2J"));
        assert!(fallback.would_enable("x", &Level::INFO) && !fallback.would_enable("x", &Level::DEBUG));
    }

    #[test]
    fn standard_error_of_a_test_is_not_the_journal() {
        assert!(!is_journal());
    }
}
