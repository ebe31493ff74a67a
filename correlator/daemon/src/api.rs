//! What analysts and their programs reach: HTTP/1.1 with JSON on a Unix socket.
//!
//! ```text
//! listen ─ peer (who, by SO_PEERCRED) ─► routes ─Command─► persist
//! ```

pub(crate) mod listen;
mod peer;
mod refusal;
pub(crate) mod routes;
mod users;
