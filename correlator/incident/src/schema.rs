//! The version of everything this crate writes down.

/// Stands in every JSON document of ledger and API as `schema_version`. It is raised only when a
/// field changes its meaning; a field that is added changes nothing for those who read.
pub const SCHEMA_VERSION: u32 = 1;
