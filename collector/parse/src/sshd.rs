//! What OpenSSH's server says, from version 4 to 10 (`sshd`, `sshd-session`, `sshd-auth`).
//!
//! Comes in: the message behind the tag. Goes out: who did what from where.
//!
//! An attacker chooses the user name, the text of a disconnect, the first line he sends and the
//! name in his key's certificate; sshd escapes control characters in them and nothing else. So each
//! form is split from the side he does not control:
//!
//! ```text
//! Failed password for invalid user a from 1.2.3.4 port 1 ssh2 from 10.0.0.7 port 22 ssh2
//!                                  └── the name he gave ────┘      └ where he is: the last one
//! Received disconnect from 10.0.0.7 port 22:11: Bye from 1.2.3.4
//!                          └ where he is: the first one
//! ```
//! Where both sides are his, user and address are left out.

use crate::address::{fill_source, is_ip};
use crate::fields::Fields;

/// What is done with the text behind a form's opening words.
type Form = fn(&str, &mut Fields<'_, '_>);

/// Opening words and what follows them, the most frequent first.
const FORMS: &[(&str, Form)] = &[
    ("Failed ", failed),
    ("Invalid user ", invalid_user),
    ("Received disconnect from ", received_disconnect),
    ("Connection closed by ", connection_ended),
    ("Disconnected from ", disconnected),
    ("Connection reset by ", connection_ended),
    ("Disconnecting: Too many authentication failures", too_many_old),
    ("Disconnecting ", disconnecting),
    ("Accepted ", accepted),
    ("input_userauth_request: invalid user ", named_invalid_user),
    ("reverse mapping checking getaddrinfo for ", reverse_mapping),
    ("Address ", maps_to),
    ("maximum authentication attempts exceeded for ", attempts_exceeded),
    ("Connection from ", connection_from),
    ("Did not receive identification string from ", no_protocol_left),
    ("Bad protocol version identification ", no_protocol_right),
    ("banner exchange: Connection from ", no_protocol_left),
    ("Unable to negotiate with ", no_protocol_left),
    ("Timeout before authentication for connection from ", no_protocol_left),
    ("Timeout before authentication for ", no_protocol_left),
    ("Read error from remote host ", received_disconnect),
    ("ssh_dispatch_run_fatal: Connection from ", disconnecting),
    ("User ", denied_user),
    ("PAM: ", pam_verdict),
    ("Postponed ", postponed),
    ("Partial ", postponed),
    ("Illegal user ", invalid_user),
    ("subsystem request for ", subsystem),
    ("refused connect from ", refused_connect),
    ("ROOT LOGIN REFUSED FROM ", root_refused),
    ("Server listening on ", |_, fields| fields.action("listen", "")),
];

/// One end of a connection, as sshd writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer<'a> {
    address: &'a str,
    port: &'a str,
}

/// Adds the fields of a message.
pub(crate) fn fill(message: &str, fields: &mut Fields<'_, '_>) {
    let body = message.trim_end();
    let body = ["error: ", "fatal: "].iter().find_map(|level| body.strip_prefix(level)).unwrap_or(body);
    let body = body.strip_suffix(" [preauth]").unwrap_or(body);
    for (opening, form) in FORMS {
        if let Some(rest) = body.strip_prefix(opening) {
            return form(rest, fields);
        }
    }
}

impl<'a> Peer<'a> {
    /// Reads `ADDRESS port N` or `ADDRESS` at the start and returns what follows.
    fn at_start(text: &'a str) -> Option<(Self, &'a str)> {
        let (address, rest) = text.split_once(' ').unwrap_or((text, ""));
        if address.is_empty() {
            return None;
        }
        let Some(after) = rest.strip_prefix("port ") else { return Some((Self { address, port: "" }, rest)) };
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        let (port, after) = after.split_at_checked(length)?;
        Some((Self { address, port }, after))
    }

    /// Reads `ADDRESS port N` or `ADDRESS` at the end and returns what precedes it.
    fn at_end(text: &'a str) -> Option<(&'a str, Self)> {
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let (text, port) = match text.rsplit_once(" port ") {
            Some((before, port)) if is_port(port) => (before, port),
            _ => (text, ""),
        };
        let (before, address) = text.rsplit_once(' ').unwrap_or(("", text));
        (!port.is_empty() || is_ip(address)).then_some((before, Self { address, port }))
    }

    fn fill(self, fields: &mut Fields<'_, '_>) {
        fill_source(self.address, fields);
        fields.number("SourcePort", self.port);
    }
}

fn failed(rest: &str, fields: &mut Fields<'_, '_>) {
    login(rest, "login", "failure", fields);
}

fn accepted(rest: &str, fields: &mut Fields<'_, '_>) {
    login(rest, "login", "success", fields);
}

/// One step of several is done: neither in nor out.
fn postponed(rest: &str, fields: &mut Fields<'_, '_>) {
    login(rest, "login_postponed", "", fields);
}

/// `METHOD for [invalid user ]USER from ADDRESS port N ssh2[: KEY]`
fn login(rest: &str, action: &str, outcome: &str, fields: &mut Fields<'_, '_>) {
    fields.action(action, outcome);
    let Some((method, rest)) = rest.split_once(" for ") else { return };
    fields.text("AuthMethod", method);
    // Only a key can be a certificate; with a password the line ends at `ssh2`.
    let is_key = matches!(method, "publickey" | "hostbased");
    let found = match outcome {
        "success" if is_key => first_login(rest),
        _ => last_login(rest).filter(|(before, _)| !is_key || !before.contains("-CERT ID ")),
    };
    let Some((user, peer)) = found else { return };
    fields.text("User", without_doubt(user));
    peer.fill(fields);
}

/// Splits at the last ` from ` that an address, a port and `ssh2` follow.
///
/// The name in a certificate comes after the address and is the attacker's too: if what precedes the
/// split holds one, there are two addresses to choose from, and the caller takes neither.
fn last_login(text: &str) -> Option<(&str, Peer<'_>)> {
    let mut head = text;
    while let Some((before, _)) = head.rsplit_once(" from ") {
        if let Some(peer) = login_peer(text, before) {
            return Some((before, peer));
        }
        head = before;
    }
    None
}

/// Splits at the first such ` from `: who was let in has an account, so the name is not an
/// attacker's to choose, but the name in a certificate may hold anything its signer let through.
fn first_login(text: &str) -> Option<(&str, Peer<'_>)> {
    text.match_indices(" from ").find_map(|(at, _)| {
        let before = text.get(..at)?;
        Some((before, login_peer(text, before)?))
    })
}

fn login_peer<'a>(text: &'a str, before: &str) -> Option<Peer<'a>> {
    let tail = text.get(before.len()..)?.strip_prefix(" from ")?;
    let (peer, rest) = Peer::at_start(tail)?;
    let is_whole = rest.is_empty() || rest == " ssh2" || rest.starts_with(" ssh2: ") || rest == " ssh1";
    (is_whole && !peer.port.is_empty()).then_some(peer)
}

/// Strips what sshd says of a user in front of the name.
fn without_doubt(user: &str) -> &str {
    let doubts = ["invalid user ", "illegal user ", "authenticating user ", "user "];
    doubts.iter().find_map(|doubt| user.strip_prefix(doubt)).unwrap_or(user)
}

/// `USER from ADDRESS[ port N]`
fn invalid_user(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("invalid_user", "failure");
    user_from_peer(rest, fields);
}

fn user_from_peer(rest: &str, fields: &mut Fields<'_, '_>) {
    // An empty name leaves ` from ` at the very start.
    let Some((user, tail)) = rest.rsplit_once(" from ").or_else(|| Some(("", rest.strip_prefix("from ")?))) else {
        return;
    };
    fields.text("User", without_doubt(user));
    if let Some((peer, _)) = Peer::at_start(tail) {
        peer.fill(fields);
    }
}

/// `USER`, and nothing after it.
fn named_invalid_user(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("invalid_user", "failure");
    fields.text("User", rest);
}

/// `ADDRESS port N:CODE: TEXT`, before OpenSSH 7.2 `ADDRESS: CODE: TEXT`
fn received_disconnect(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("disconnect", "");
    fill_left(rest, fields);
}

fn fill_left(rest: &str, fields: &mut Fields<'_, '_>) {
    if let Some((peer, _)) = Peer::at_start(rest) {
        let address = peer.address.strip_suffix([':', ',']).unwrap_or(peer.address);
        Peer { address, ..peer }.fill(fields);
    }
}

/// `[authenticating user USER |invalid user USER ]ADDRESS port N`
fn connection_ended(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("disconnect", "");
    user_and_peer(rest, fields);
}

/// The same; `user USER` is somebody who was logged in.
fn disconnected(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action(if rest.starts_with("user ") { "logout" } else { "disconnect" }, "");
    user_and_peer(rest, fields);
}

fn user_and_peer(text: &str, fields: &mut Fields<'_, '_>) {
    if let Some((who, peer)) = Peer::at_end(text) {
        // Two addresses side by side (`UNKNOWN 10.0.0.7`) have no user between them.
        let user = without_doubt(who);
        if user.len() < who.len() {
            fields.text("User", user);
        }
        peer.fill(fields);
    }
}

/// `[authenticating user USER |invalid user USER ]ADDRESS port N: REASON`
fn disconnecting(rest: &str, fields: &mut Fields<'_, '_>) {
    if let Some(head) = rest.strip_suffix(": Too many authentication failures") {
        fields.action("login_limit", "failure");
        return user_and_peer(head, fields);
    }
    fields.action("disconnect", "");
    // Other reasons repeat names that the client gave; only one ` port ` leaves no doubt.
    let mut places = rest.match_indices(" port ");
    let (Some((at, _)), None) = (places.next(), places.next()) else { return };
    let end = rest.get(at..).and_then(|tail| tail.find(':')).map(|colon| at + colon);
    if let Some(head) = end.and_then(|end| rest.get(..end)) {
        user_and_peer(head, fields);
    }
}

/// `[ for USER]`
fn too_many_old(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("login_limit", "failure");
    if let Some(user) = rest.strip_prefix(" for ") {
        fields.text("User", without_doubt(user));
    }
}

/// `[invalid user ]USER from ADDRESS port N ssh2`
fn attempts_exceeded(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("login_limit", "failure");
    if let Some((user, peer)) = last_login(rest) {
        fields.text("User", without_doubt(user));
        peer.fill(fields);
    }
}

/// `NAME [ADDRESS] failed - POSSIBLE BREAK-IN ATTEMPT!`
fn reverse_mapping(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("reverse_mapping", "failure");
    if let Some((name, address)) = rest.rsplit_once("] failed").and_then(|(head, _)| head.rsplit_once(" [")) {
        fields.text("SourceHostname", name);
        fields.text("SourceIp", address);
    }
}

/// `ADDRESS maps to NAME, but this does not map back to the address`
fn maps_to(rest: &str, fields: &mut Fields<'_, '_>) {
    let Some((address, tail)) = rest.split_once(" maps to ") else { return };
    fields.action("reverse_mapping", "failure");
    fields.text("SourceHostname", tail.split_once(", but this").map_or("", |(name, _)| name));
    fields.text("SourceIp", address);
}

/// `ADDRESS port N on ADDRESS port N`
fn connection_from(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("connect", "");
    fill_left(rest, fields);
}

/// Somebody connected who did not speak SSH, or not ours: `ADDRESS port N: TEXT`
fn no_protocol_left(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("connect", "failure");
    fill_left(rest, fields);
}

/// The same with the address behind what he sent: `'TEXT' from ADDRESS port N`
fn no_protocol_right(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("connect", "failure");
    if let Some((peer, _)) = rest.rsplit_once(" from ").and_then(|(_, tail)| Peer::at_start(tail)) {
        peer.fill(fields);
    }
}

/// `USER from ADDRESS not allowed because REASON`
fn denied_user(rest: &str, fields: &mut Fields<'_, '_>) {
    let Some((head, _)) = rest.rsplit_once(" not allowed because ") else { return };
    fields.action("login_denied", "failure");
    user_from_peer(head, fields);
}

/// `Authentication failure for [illegal user ]USER from ADDRESS`
fn pam_verdict(rest: &str, fields: &mut Fields<'_, '_>) {
    let Some((_, tail)) = rest.split_once(" for ") else { return };
    fields.action("authentication", "failure");
    user_from_peer(tail, fields);
}

/// `NAME by user USER[ failed, subsystem not found]`
fn subsystem(rest: &str, fields: &mut Fields<'_, '_>) {
    let Some((_, user)) = rest.split_once(" by user ") else { return };
    let refused = user.strip_suffix(" failed, subsystem not found");
    fields.action("subsystem", if refused.is_some() { "failure" } else { "success" });
    fields.text("User", refused.unwrap_or(user));
}

/// `NAME (ADDRESS)`, from libwrap.
fn refused_connect(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("connect", "failure");
    let inner = rest.rsplit_once('(').and_then(|(_, tail)| tail.strip_suffix(')'));
    fill_source(inner.unwrap_or(rest), fields);
}

/// `ADDRESS port N`
fn root_refused(rest: &str, fields: &mut Fields<'_, '_>) {
    fields.action("login_denied", "failure");
    fields.text("User", "root");
    fill_left(rest, fields);
}
