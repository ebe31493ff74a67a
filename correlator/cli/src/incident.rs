//! The verbs that work on incidents.

pub(crate) mod act;
pub(crate) mod list;
mod page;
pub(crate) mod show;
