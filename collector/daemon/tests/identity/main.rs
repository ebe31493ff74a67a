//! The real collector as a process: who gets a certificate, who is let in, and who must leave (R16).

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod enrolment;
mod floods;
mod handshakes;
#[path = "../delivery/process.rs"]
#[allow(dead_code, reason = "the other test of this process asks for more")]
mod process;
mod renewal;
mod revocation;
mod rotation;
mod site;

/// How a test ends.
type Outcome = anyhow::Result<()>;
