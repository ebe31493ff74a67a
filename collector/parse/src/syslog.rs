//! A syslog line, once its header is taken off: fields of the header, then the body by the program
//! that wrote it.

use crate::access;
use crate::account;
use crate::buffers::Buffers;
use crate::cron;
use crate::fields::Fields;
use crate::header::{Header, Tag};
use crate::logsources::{Family, Logsources};
use crate::pam;
use crate::rfc5424::fill_structured;
use crate::sshd;
use crate::su;
use crate::sudo;

/// Fills the row from a header and the message behind it; returns the name of the parser that
/// claimed the message.
pub(crate) fn fill(
    header: &Header<'_>,
    logsources: &mut Logsources,
    buffers: &mut Buffers,
    fields: &mut Fields<'_, '_>,
) -> &'static str {
    fill_header(header, buffers, fields);
    // rsyslog's own template for RFC 5424 leaves a space in front, and sudo writes several.
    let message = without_message_number(header.message.trim_start());
    let (count, message) = repeated(message);
    fields.number("RepeatCount", count);
    let family = fill_body(&header.tag, message, buffers, fields);
    fields.logsource(logsources.of(family, header.tag.program));
    family.format()
}

fn fill_header(header: &Header<'_>, buffers: &mut Buffers, fields: &mut Fields<'_, '_>) {
    if let Some(time) = header.time {
        fields.time(time);
    }
    fields.text("Message", header.message);
    fields.text("Hostname", header.hostname);
    fields.text("Program", header.tag.program);
    fields.number("ProcessId", header.tag.process_id);
    if let Some(priority) = header.priority {
        fields.text("Facility", priority.facility);
        fields.text("Severity", priority.severity);
    }
    fields.text("MessageId", header.message_id);
    if !header.structured.is_empty() {
        fill_structured(header.structured, &mut buffers.name, &mut buffers.text, fields);
    }
}

fn fill_body(tag: &Tag<'_>, message: &str, buffers: &mut Buffers, fields: &mut Fields<'_, '_>) -> Family {
    if let Some((module, place, text)) = pam::split(tag.module, message) {
        pam::fill(module, place, text, fields);
        return Family::Pam;
    }
    match tag.program {
        "sshd" | "sshd-session" | "sshd-auth" => {
            sshd::fill(message, fields);
            Family::Sshd
        }
        "sudo" => {
            sudo::fill(message, fields);
            Family::Sudo
        }
        "su" | "su-l" => {
            su::fill(message, fields);
            Family::Su
        }
        "nginx" | "apache" | "apache2" | "httpd" if access::fill(message, buffers, fields) => Family::WebOverSyslog,
        program if account::PROGRAMS.contains(&program) => {
            account::fill(message, fields);
            Family::Account
        }
        program if cron::is_program(program) => {
            cron::fill(message, fields);
            Family::Cron
        }
        _ => Family::Syslog,
    }
}

/// Takes off what Solaris puts in front: `[ID 800047 auth.notice] `.
fn without_message_number(message: &str) -> &str {
    let Some(rest) = message.strip_prefix("[ID ") else { return message };
    match rest.split_once("] ") {
        Some((inner, rest))
            if inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.')) =>
        {
            rest
        }
        _ => message,
    }
}

/// Unwraps `message repeated 5 times: [ ... ]`, which rsyslog and sysklogd write for any program.
fn repeated(message: &str) -> (&str, &str) {
    let inner = message.strip_prefix("message repeated ").and_then(|rest| rest.split_once(" times: ["));
    let Some((count, inner)) = inner else { return ("", message) };
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return ("", message);
    }
    (count, inner.trim_end().strip_suffix(']').unwrap_or(inner).trim_start())
}
