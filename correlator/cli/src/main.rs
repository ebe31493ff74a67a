//! `canh`: incidents and rules from a terminal.
//!
//! ```text
//! arguments ─► run ─► verb ─► client ─► the correlator's Unix socket, or the collector's files
//!                      │
//!                      ├─► render: pure, from an answer to text in the format wanted
//!                      └─► output: data to stdout, talk to stderr ─► exit code
//! ```
//!
//! Text that came from logs is an attacker's: every renderer escapes it for where it goes.
//! Ctrl-C ends the process as the shell expects (130); a reader that goes away ends it quietly.

mod arguments;
mod client;
mod eval;
mod exit;
mod incident;
mod json;
mod loss;
mod output;
mod query;
mod rules;
mod run;
#[cfg(test)]
mod samples;
mod status;
mod style;
mod table;
mod targets;
mod times;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::exit::Exit;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to stdout and are no error; a reader that has gone away is none either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Done.code() });
        }
    };
    match run::run(arguments) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => {
            if failure.exit() != Exit::Done {
                failure.print(&mut std::io::stderr().lock());
            }
            ExitCode::from(failure.exit().code())
        }
    }
}
