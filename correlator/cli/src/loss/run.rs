//! Reads the collector's journal of losses and shows what it says.

use std::path::{Path, PathBuf};

use canh_event::LossEntry;
use canh_journal::{ReadError, Reader};

use crate::exit::{Exit, Failure};
use crate::loss::arguments::LossArguments;
use crate::loss::balance::{LossReport, Summary, Wanted};
use crate::loss::page::render;
use crate::output::Output;

const DEFAULT_STATE: &str = "/var/lib/canh/collector";
const STATE_VARIABLE: &str = "CANH_COLLECTOR_STATE";
const LOSSES_DIR: &str = "losses";

/// Shows the loss ledger.
pub(crate) fn run(arguments: &LossArguments, output: &Output) -> Result<Exit, Failure> {
    let dir = state(arguments).join(LOSSES_DIR);
    let wanted = Wanted {
        agent: arguments.agent.clone(),
        agency: arguments.agency.clone(),
        since: arguments.since.map(|since| since.at(output.view().clock.now())),
        limit: arguments.limit,
    };
    let is_narrow = wanted.agent.is_some() || wanted.agency.is_some();
    let (report, unreadable) = read(&dir, wanted)?;
    output.data(&render(&report, output.page_format(), output.view())?)?;
    if unreadable > 0 {
        output.complain(&Failure::new(Exit::Partial, format!("{unreadable} entries of the ledger cannot be read")));
    }
    if (report.gaps.len() as u64) < report.gaps_total {
        output.talk(&format!(
            "{} of {} gaps shown, the newest; more with --limit",
            report.gaps.len(),
            report.gaps_total
        ));
    }
    if report.streams.is_empty() && report.gaps.is_empty() {
        output.talk("nothing is known yet: an agent states its account about a second after it connects");
        return Ok(if is_narrow { Exit::NotFound } else { Exit::Done });
    }
    Ok(match (report.balances, unreadable) {
        (false, _) => Exit::Integrity,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Partial,
    })
}

fn state(arguments: &LossArguments) -> PathBuf {
    let from_environment = || std::env::var_os(STATE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    arguments.state.clone().or_else(from_environment).unwrap_or_else(|| DEFAULT_STATE.into())
}

/// Reads every entry; returns how many could not be read, besides.
fn read(dir: &Path, wanted: Wanted) -> Result<(LossReport, u64), Failure> {
    let mut reader = Reader::open(dir).map_err(|error| refused(dir, &error))?;
    let (mut summary, mut unreadable) = (Summary::new(wanted), 0);
    loop {
        match reader.next() {
            Ok(Some(entry)) => match LossEntry::decode(entry.body) {
                Ok(entry) => summary.take(entry),
                Err(_) => unreadable += 1,
            },
            Ok(None) => return Ok((summary.report(), unreadable)),
            // The oldest were dropped while they were being read.
            Err(ReadError::Dropped { oldest, .. }) => {
                reader.seek(oldest).map_err(|error| refused(dir, &error))?;
            }
            Err(ReadError::Damaged(damage)) => {
                unreadable += damage.to.0.saturating_sub(damage.from.0) + 1;
                if reader.skip_damage().is_none() {
                    return Ok((summary.report(), unreadable));
                }
            }
            Err(error) => return Err(refused(dir, &error)),
        }
    }
}

fn refused(dir: &Path, error: &ReadError) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut is_forbidden = false;
    while let Some(error) = cause {
        is_forbidden |= error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        cause = error.source();
    }
    let what = format!("the loss ledger in {} cannot be read", dir.display());
    if is_forbidden {
        Failure::new(Exit::Permission, what).because(error).hint("be a member of the collector's group, or root")
    } else {
        let hint = format!("run it on the collector's machine; --state or {STATE_VARIABLE} say where its state is");
        Failure::new(Exit::Unreachable, what).because(error).hint(hint)
    }
}
