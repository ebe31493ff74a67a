//! What PAM modules say, in whichever program they run.
//!
//! ```text
//! pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.7  user=root
//! └module┘ └ service:type ┘ └ text
//! ```
//! Old PAM puts the module behind the program's name (`sshd(pam_unix)[12]: text`), and sshd counts
//! by itself (`PAM 5 more authentication failures; logname=...`).

use crate::address::fill_source;
use crate::fields::Fields;

/// Returns module, `service:type` and text if the message is a PAM module's.
pub(crate) fn split<'a>(module: &'a str, message: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    if module.starts_with("pam_") {
        return Some((module, "", message));
    }
    if message.starts_with("pam_") {
        let (head, text) = message.split_once("): ")?;
        let (module, place) = head.split_once('(')?;
        let is_word = |text: &str| !text.bytes().any(|byte| byte == b' ');
        return (is_word(module) && is_word(place)).then_some((module, place, text));
    }
    let more = message.strip_prefix("PAM ")?;
    let is_counted = more.starts_with("service(") || more.as_bytes().first().is_some_and(u8::is_ascii_digit);
    is_counted.then_some(("", "", message))
}

/// Adds the fields of a module's text.
pub(crate) fn fill(module: &str, place: &str, text: &str, fields: &mut Fields<'_, '_>) {
    fields.text("PamModule", module);
    fields.text("PamService", place.split_once(':').map_or(place, |(service, _)| service));
    fields.text("PamType", place.split_once(':').map_or("", |(_, kind)| kind));
    let text = text.trim_end();
    if let Some(rest) = text.strip_prefix("session opened for user ") {
        session_opened(rest, fields);
    } else if let Some(user) = text.strip_prefix("session closed for user ") {
        fields.action("session_close", "");
        session_user(user, fields);
    } else if let Some(rest) = text.strip_prefix("authentication failure; ") {
        authentication_failure(rest, fields);
    } else if text == "check pass; user unknown" {
        fields.action("invalid_user", "failure");
    } else if let Some((count, rest)) = more_failures(text) {
        fields.number("RepeatCount", count);
        authentication_failure(rest, fields);
    } else if let Some(rest) = text.strip_prefix("password changed for ") {
        fields.action("password_change", "success");
        fields.text("TargetUser", rest);
    } else if let Some(rest) = text.strip_prefix("Consecutive login failures for user ") {
        fields.action("account_lock", "success");
        fields.text("TargetUser", rest.strip_suffix(" account temporarily locked").unwrap_or(rest));
    }
}

/// `USER[(uid=N)] by [NAME](uid=N)`; the last ` by ` ends the user's name.
fn session_opened(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("session_open", "success");
    let (user, by) = rest.rsplit_once(" by ").unwrap_or((rest, ""));
    session_user(user, fields);
    fields.text("SourceUser", by.split_once('(').map_or(by, |(name, _)| name));
}

/// `USER[(uid=N)]`
fn session_user(user: &str, fields: &mut Fields<'_, '_>) {
    let (name, id) = user.rsplit_once("(uid=").unwrap_or((user, ""));
    fields.text("User", name);
    fields.number("UserId", id.trim_end_matches(')'));
}

/// `logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.7  user=root`; `user` is last and is missing
/// for users that do not exist.
fn authentication_failure(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("authentication", "failure");
    let Some((head, tail)) = rest.split_once("rhost=") else { return };
    let (host, user) = tail.split_once(' ').unwrap_or((tail, ""));
    if !host.is_empty() {
        fill_source(host, fields);
    }
    fields.text("User", user.trim_start().strip_prefix("user=").unwrap_or_default());
    for (key, name) in [("tty=", "TTY"), ("ruser=", "SourceUser")] {
        let word = head.split(' ').find_map(|word| word.strip_prefix(key));
        fields.text(name, word.unwrap_or_default());
    }
}

/// `PAM N more authentication failure[s]; ...`
fn more_failures(text: &str) -> Option<(&str, &str)> {
    let (count, rest) = text.strip_prefix("PAM ")?.split_once(" more authentication failure")?;
    Some((count, rest.split_once("; ")?.1))
}
