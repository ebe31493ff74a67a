//! What the correlator's API says and is told: the shapes of its JSON. Server and client are both
//! written against these; fields are only ever added.

mod actions;
mod incidents;
mod query;
mod status;

pub use actions::{ActionOutcome, ActionRequest, ActionResult, OutcomeKind};
pub use incidents::{IncidentDetail, IncidentPage, IncidentSummary};
pub use query::{DEFAULT_LIMIT, IncidentQuery, MAX_LIMIT, QueryError};
pub use status::{ApiError, CorrelatorStatus, RefusedRule, RuleList, RuleStatus};
