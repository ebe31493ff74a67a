//! What cron and crontab say: `(root) CMD (run-parts /etc/cron.hourly)`.
//!
//! Comes in: the message behind the tag. Goes out: whose job, what was done, the command line.
//! The words are those of Vixie cron, cronie and Debian's cron.

use crate::fields::Fields;

/// cron's words, and whether what follows in brackets is a command line.
const WORDS: &[(&str, &str, &str, bool)] = &[
    ("CMD", "cron_job", "", true),
    ("CMDEND", "cron_job_end", "", true),
    ("CMDOUT", "cron_job_output", "", false),
    ("BEGIN EDIT", "crontab_edit", "", false),
    ("END EDIT", "crontab_edit_end", "", false),
    ("REPLACE", "crontab_replace", "success", false),
    ("DELETE", "crontab_delete", "success", false),
    ("LIST", "crontab_list", "", false),
    ("RELOAD", "crontab_reload", "", false),
    ("AUTH", "crontab_edit", "failure", false),
    ("ERROR", "cron_error", "failure", false),
    ("MAIL", "cron_mail", "", false),
];

/// Returns whether a program of this name speaks as cron does.
pub(crate) fn is_program(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    ["cron", "crond", "crontab", "anacron"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Adds the fields of a message: `(USER) WORD (TEXT)`.
pub(crate) fn fill(message: &str, fields: &mut Fields<'_, '_>) {
    let body = message.trim();
    let Some((user, rest)) = body.strip_prefix('(').and_then(|rest| rest.split_once(") ")) else { return };
    let Some((word, text)) = rest.split_once(" (") else { return };
    let Some((_, action, outcome, is_command)) = WORDS.iter().find(|(known, ..)| *known == word) else { return };
    let text = text.strip_suffix(')').unwrap_or(text);
    fields.action(action, outcome);
    fields.text("User", user);
    if *is_command {
        fields.text("CommandLine", text);
    } else if matches!(word, "REPLACE" | "DELETE" | "LIST" | "BEGIN EDIT" | "END EDIT") {
        fields.text("TargetUser", text);
    }
}
