//! What su says: util-linux, shadow, BSD, AIX and Solaris each in its own words.

use crate::fields::Fields;

/// Adds the fields of a message.
pub(crate) fn fill(message: &str, fields: &mut Fields<'_, '_>) {
    let body = message.trim();
    let Some((outcome, user, target, tty)) = util_linux(body).or_else(|| shadow(body)).or_else(|| others(body)) else {
        return;
    };
    fields.action("su", outcome);
    fields.text("User", user);
    fields.text("TargetUser", target);
    fields.text("TTY", tty);
}

type Found<'a> = (&'static str, &'a str, &'a str, &'a str);

/// `[FAILED SU ](to root) lan on pts/0`
fn util_linux(body: &str) -> Option<Found<'_>> {
    let (outcome, rest) = match body.strip_prefix("FAILED SU ") {
        Some(rest) => ("failure", rest),
        None => ("success", body),
    };
    let (target, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    let (user, tty) = rest.rsplit_once(" on ").unwrap_or((rest, ""));
    Some((outcome, user, target, tty))
}

/// `Successful su for root by lan`, `FAILED su for root by lan`, `+ /dev/pts/0 lan:root`
fn shadow(body: &str) -> Option<Found<'_>> {
    for (opening, outcome) in [("Successful su for ", "success"), ("FAILED su for ", "failure")] {
        if let Some(rest) = body.strip_prefix(opening) {
            let (target, user) = rest.rsplit_once(" by ")?;
            return Some((outcome, user, target, ""));
        }
    }
    let (outcome, rest) = match body.strip_prefix("+ ") {
        Some(rest) => ("success", rest),
        None => ("failure", body.strip_prefix("- ")?),
    };
    let (tty, who) = rest.split_once(' ')?;
    let (user, target) = who.rsplit_once(':')?;
    Some((outcome, user, target, tty))
}

/// BSD: `[BAD SU ]lan to root on /dev/ttyp0`; AIX: `failed: ttyq4 changing from lan to root`;
/// Solaris: `'su root' failed for lan on /dev/pts/1`
fn others(body: &str) -> Option<Found<'_>> {
    if let Some(rest) = body.strip_prefix("failed: ") {
        let (tty, rest) = rest.split_once(" changing from ")?;
        let (user, target) = rest.split_once(" to ")?;
        return Some(("failure", user, target, tty));
    }
    if let Some(rest) = body.strip_prefix("'su ") {
        let (target, rest) = rest.split_once("' ")?;
        let (outcome, rest) = match rest.strip_prefix("failed for ") {
            Some(rest) => ("failure", rest),
            None => ("success", rest.strip_prefix("succeeded for ")?),
        };
        let (user, tty) = rest.rsplit_once(" on ").unwrap_or((rest, ""));
        return Some((outcome, user, target, tty));
    }
    let (outcome, rest) = match body.strip_prefix("BAD SU ") {
        Some(rest) => ("failure", rest),
        None => ("success", body),
    };
    let (who, tty) = rest.rsplit_once(" on ")?;
    let (user, target) = who.split_once(" to ")?;
    Some((outcome, user, target, tty))
}
