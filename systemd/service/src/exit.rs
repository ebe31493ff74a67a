//! Exit codes, and the printer that walks an error's chain to standard error.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::ConfigFaults;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to: 0.
    Done,
    /// It could not: 1.
    Failed,
    /// Its arguments or its configuration are wrong: 2. The unit files do not restart on it.
    Usage,
    /// It did what it was asked to, and found something: 3.
    Findings,
}

impl Exit {
    /// Returns the exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Findings => 3,
        }
    }

    /// Returns how a process ends for an error: [`Exit::Usage`] if a configuration is at fault.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(|cause| cause.is::<ConfigFaults>()) { Self::Usage } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Runs a daemon's `main`: prints what went wrong and gives the exit code.
pub fn run(daemon: &str, main: impl FnOnce() -> anyhow::Result<Exit>) -> ExitCode {
    match main() {
        Ok(exit) => exit.into(),
        Err(error) => {
            report(daemon, error.as_ref());
            Exit::of(&error).into()
        }
    }
}

/// Prints an error and its causes to standard error, `daemon: error: cause: cause`. Text of several
/// lines gets the daemon's name before each.
pub fn report(daemon: &str, error: &(dyn Error + 'static)) {
    // A closed standard error leaves nobody to tell.
    let _ = io::stderr().lock().write_all(chain_text(daemon, error).as_bytes());
}

fn chain_text(daemon: &str, error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.lines().map(|line| format!("{daemon}: {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigFault, ConfigFaults};

    #[test]
    fn chain_is_walked_and_every_line_names_the_daemon() {
        let error = anyhow::anyhow!("disk\nfull").context("while writing the spool");
        assert_eq!(chain_text("canh-x", error.as_ref()), "canh-x: while writing the spool: disk\ncanh-x: full\n");
    }

    #[test]
    fn faults_of_the_configuration_end_with_two_and_others_with_one() {
        let faults = ConfigFaults::new("x.toml".as_ref(), vec![ConfigFault::TooLarge { limit: 1 }]);
        assert_eq!(Exit::of(&anyhow::Error::from(faults).context("while loading")), Exit::Usage);
        assert_eq!(Exit::of(&anyhow::anyhow!("x")), Exit::Failed);
    }
}
