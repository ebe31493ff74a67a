//! Takes a case's records the way the daemons take them: parse, match, correlate.

use canh_correlate::{Correlator, Limits};
use canh_incident::Detection;
use canh_parse::Parser;
use canh_sigma::{Hit, Matcher, Program, Routing, RuleSet};

use crate::exit::Failure;
use crate::rules::case::Case;
use crate::rules::event::{batches, understand};

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// Every detection, updates included, in order.
    pub(crate) detections: Vec<Detection>,
    /// How many records no parser claims.
    pub(crate) unclaimed: usize,
}

/// Replays a case from nothing: no case sees what another left behind.
pub(crate) fn replay(rules: &RuleSet, program: &Program, case: &Case) -> Result<Replayed, Failure> {
    let mut matcher = Matcher::new(program);
    let mut correlator = Correlator::new(rules, Limits::default());
    let mut parser = Parser::new();
    let mut replayed = Replayed { detections: Vec::new(), unclaimed: 0 };
    let mut hits: Vec<Hit> = Vec::new();
    let lines: Vec<&str> = case.input.lines().collect();
    for (position, records) in (1..).zip(batches(&lines, &case.source, case.received)?) {
        let understood = understand(&mut parser, &case.origin, &records)?;
        let is_unclaimed = |format: &&&str| matches!(**format, "unparsed" | "too_large");
        replayed.unclaimed += understood.formats.iter().filter(is_unclaimed).count();
        hits.clear();
        matcher.run(&understood.events, Routing::ByLogsource, &mut hits);
        correlator.observe(&understood.events, position, &hits, &mut replayed.detections);
    }
    Ok(replayed)
}
