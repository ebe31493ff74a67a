//! What a run says, on standard output.

use std::io::Write;

/// Says a line.
pub(crate) fn say(text: &str) {
    // Nobody may be listening; the exit code says the same.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
