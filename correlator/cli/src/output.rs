//! Where the answer goes and how it is to look: data to stdout, talk to stderr.

use std::io::{IsTerminal, Write};

use canh_event::Timestamp;

use crate::arguments::{Format, Global};
use crate::exit::Failure;
use crate::style::Style;
use crate::times::Clock;

/// How text for people is to look.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Whether to paint.
    pub(crate) style: Style,
    /// The zone and the present.
    pub(crate) clock: Clock,
    /// The terminal's width, if there is a terminal.
    pub(crate) width: Option<usize>,
}

/// The two streams, and how to write on them.
#[derive(Debug)]
pub(crate) struct Output {
    format: Option<Format>,
    is_terminal: bool,
    is_quiet: bool,
    view: View,
}

impl Output {
    /// Decides from the flags, the environment and what stdout is.
    pub(crate) fn new(global: &Global, now: Timestamp) -> Result<Self, Failure> {
        let is_terminal = std::io::stdout().is_terminal();
        let style = Style::decide(global.color, is_terminal);
        let view = View { style, clock: Clock::of_zone(&global.tz, now)?, width: terminal_width(is_terminal) };
        Ok(Self { format: global.output, is_terminal, is_quiet: global.quiet, view })
    }

    /// Returns how text for people is to look.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Returns whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Returns whether silence was asked for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Returns the format that was asked for.
    pub(crate) fn stated_format(&self) -> Option<Format> {
        self.format
    }

    /// Returns the format of a list: columns on a terminal, tabs into a pipe.
    pub(crate) fn list_format(&self) -> Format {
        self.format.unwrap_or(if self.is_terminal { Format::Table } else { Format::Tsv })
    }

    /// Returns the format of something that is read as a page.
    pub(crate) fn page_format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// Writes the answer.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Says something beside the answer, unless silence was asked for.
    pub(crate) fn talk(&self, line: &str) {
        if !self.is_quiet {
            // Talk is not the answer: when nobody listens, the work goes on.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    /// Says what went wrong with a part of the work, asked for or not.
    pub(crate) fn complain(&self, failure: &Failure) {
        failure.print(&mut std::io::stderr().lock());
    }
}

fn terminal_width(is_terminal: bool) -> Option<usize> {
    if !is_terminal {
        return None;
    }
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    asked
        .or_else(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col)))
        .filter(|width| *width > 0)
}

#[cfg(test)]
impl View {
    /// Returns a view without colour, in UTC, at noon of 24 November 2026.
    pub(crate) fn plain_utc() -> Self {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        Self { style: Style::PLAIN, clock: Clock::of_zone("utc", now).unwrap(), width: None }
    }
}
