//! What sudo says.
//!
//! ```text
//!     lan : TTY=pts/4 ; PWD=/home/lan ; USER=root ; COMMAND=/usr/bin/tail /var/log/syslog
//!     lan : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/bin/ls
//! ```
//! The first `COMMAND=` ends the keys and takes the rest: a directory named after a key can shorten
//! what we see of the keys, but it cannot hide a word of the command.

use crate::fields::Fields;

/// Keys that sudo writes, all kept under its own names. Source: sudo's `lib/eventlog/eventlog.c`.
const KEYS: [&str; 9] = ["TTY", "PWD", "CWD", "USER", "GROUP", "TSID", "ENV", "CHROOT", "HOST"];

/// Adds the fields of a message.
pub(crate) fn fill(message: &str, fields: &mut Fields<'_, '_>) {
    let body = message.trim();
    let Some((user, rest)) = body.split_once(" : ") else { return };
    let (reason, rest) = split_reason(rest);
    if rest.is_empty() && reason.is_empty() {
        return;
    }
    fields.action("sudo", if reason.is_empty() { "success" } else { "failure" });
    fields.text("User", user.trim_end());
    fields.text("FailureReason", reason);
    fill_keys(rest, fields);
}

/// Splits the reason of a refusal, which stands where otherwise the first key does.
fn split_reason(text: &str) -> (&str, &str) {
    if is_key(text) {
        return ("", text);
    }
    // A reason may itself hold ` ; `: the next key ends it.
    let end = text.match_indices(" ; ").find(|(at, mark)| text.get(at + mark.len()..).is_some_and(is_key));
    match end {
        Some((at, mark)) => (text.get(..at).unwrap_or(text), text.get(at + mark.len()..).unwrap_or_default()),
        None => ("", ""),
    }
}

fn is_key(text: &str) -> bool {
    let Some((key, _)) = text.split_once('=') else { return false };
    key == "COMMAND" || KEYS.contains(&key)
}

fn fill_keys(text: &str, fields: &mut Fields<'_, '_>) {
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(command) = rest.strip_prefix("COMMAND=") {
            fields.text("COMMAND", command);
            fields.text("CommandLine", command);
            return;
        }
        let (part, after) = rest.split_once(" ; ").unwrap_or((rest, ""));
        rest = after;
        let Some((key, value)) = part.split_once('=') else { continue };
        if let Some(name) = KEYS.iter().find(|known| **known == key) {
            fields.text(name, value);
        }
        if key == "USER" {
            fields.text("TargetUser", value);
        }
    }
}
