//! What the account tools say: useradd, usermod, userdel, groupadd, groupmod, groupdel, gpasswd,
//! passwd, chpasswd, of the shadow suite in its several ages.

use crate::fields::Fields;

/// The tools, by the names they log under.
pub(crate) const PROGRAMS: &[&str] = &[
    "useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "passwd", "chpasswd", "adduser",
    "newusers", "chage", "chfn", "chsh",
];

/// What is done with the text behind a form's opening words; `None` if it does not fit after all.
type Form = fn(&str, &mut Fields<'_, '_>) -> Option<()>;

const FORMS: &[(&str, Form)] = &[
    ("new user: ", |rest, fields| new_account("user_add", "TargetUser", rest, fields)),
    ("new account added: ", |rest, fields| new_account("user_add", "TargetUser", rest, fields)),
    ("new group: ", |rest, fields| new_account("group_add", "TargetGroup", rest, fields)),
    ("group added to ", group_added),
    ("add ", added_to_group),
    ("delete ", deleted),
    ("user ", member_by),
    ("change user ", changed),
    ("lock user ", |rest, fields| quoted_target("user_modify", rest, fields)),
    ("unlock user ", |rest, fields| quoted_target("user_modify", rest, fields)),
    ("failed adding user ", failed_adding),
    ("removed group ", |rest, fields| group_removed(rest, fields)),
    ("group ", group_removed),
    ("members of group ", members_set),
    ("password for ", password_changed),
];

/// Adds the fields of a message.
pub(crate) fn fill(message: &str, fields: &mut Fields<'_, '_>) {
    let body = message.trim();
    for (opening, form) in FORMS {
        if let Some(rest) = body.strip_prefix(opening)
            && form(rest, fields).is_some()
        {
            return;
        }
    }
}

/// `name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/bash, from=/dev/pts/0`
fn new_account(action: &str, target: &str, rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    fields.action(action, "success");
    for part in rest.split(", ") {
        let Some((key, value)) = part.split_once('=') else { continue };
        match key {
            "name" | "account" => fields.text(target, value),
            "UID" | "uid" => fields.number("UserId", value),
            "GID" | "gid" => fields.number("GroupId", value),
            "home" => fields.text("HomeDirectory", value),
            "shell" => fields.text("Shell", value),
            "by" => fields.text("User", value),
            "from" => fields.text("TTY", value),
            _ => {}
        }
    }
    Some(())
}

/// `/etc/group: name=dev, GID=1002`; the same is said of /etc/gshadow, without the number.
fn group_added(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    new_account("group_add", "TargetGroup", rest.split_once(": ")?.1, fields)
}

/// `'bob' to [shadow ]group 'sudo'`, and of old gpasswd `member bob to group sudo by root`
fn added_to_group(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    if let Some(rest) = rest.strip_prefix("member ") {
        let (user, rest) = rest.split_once(" to group ")?;
        let (group, by) = rest.split_once(" by ").unwrap_or((rest, ""));
        return member("group_member_add", user, group, by, fields);
    }
    let (user, rest) = rest.split_once(" to ")?;
    let group = rest.strip_prefix("shadow ").unwrap_or(rest).strip_prefix("group ")?;
    member("group_member_add", bare(user), bare(group), "", fields)
}

/// `user 'bob'`, `'bob' from [shadow ]group 'sudo'`
fn deleted(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    if let Some(user) = rest.strip_prefix("user ") {
        fields.action("user_delete", "success");
        fields.text("TargetUser", bare(user));
        return Some(());
    }
    let (user, rest) = rest.split_once(" from ")?;
    let group = rest.strip_prefix("shadow ").unwrap_or(rest).strip_prefix("group ")?;
    member("group_member_remove", bare(user), bare(group), "", fields)
}

/// `bob added by root to group sudo`, `bob removed by root from group sudo`
fn member_by(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    if let Some((user, rest)) = rest.split_once(" added by ") {
        let (by, group) = rest.split_once(" to group ")?;
        return member("group_member_add", user, group, by, fields);
    }
    let (user, rest) = rest.split_once(" removed by ")?;
    let (by, group) = rest.split_once(" from group ")?;
    member("group_member_remove", user, group, by, fields)
}

fn member(action: &str, user: &str, group: &str, by: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    fields.action(action, "success");
    fields.text("TargetUser", user);
    fields.text("TargetGroup", group);
    fields.text("User", by);
    Some(())
}

/// `'bob' password`, `'bob' UID from '1001' to '0'`, `name 'bob' to 'eve'`
fn changed(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (user, what) = rest.strip_prefix("name ").unwrap_or(rest).strip_prefix('\'')?.split_once("' ")?;
    let action = if what == "password" { "password_change" } else { "user_modify" };
    fields.action(action, "success");
    fields.text("TargetUser", user);
    let new_value = what.rsplit_once(" to '").map_or("", |(_, value)| value.trim_end_matches('\''));
    match what.split(' ').next() {
        Some("UID") => fields.number("UserId", new_value),
        Some("GID") => fields.number("GroupId", new_value),
        Some("home") => fields.text("HomeDirectory", new_value),
        Some("shell") => fields.text("Shell", new_value),
        _ => {}
    }
    Some(())
}

/// `'bob' password`
fn quoted_target(action: &str, rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (user, _) = rest.strip_prefix('\'')?.split_once('\'')?;
    fields.action(action, "success");
    fields.text("TargetUser", user);
    Some(())
}

/// `'bob', data deleted`
fn failed_adding(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (user, _) = rest.strip_prefix('\'')?.split_once('\'')?;
    fields.action("user_add", "failure");
    fields.text("TargetUser", user);
    Some(())
}

/// `'dev' removed[ from /etc/group]`, of userdel `'bob' owned by 'bob'`
fn group_removed(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (group, rest) = rest.strip_prefix('\'')?.split_once('\'')?;
    if !rest.starts_with(" removed") && !rest.starts_with(" owned by ") {
        return None;
    }
    fields.action("group_delete", "success");
    fields.text("TargetGroup", group);
    Some(())
}

/// `sudo set by root to alice,bob`; each member is a value.
fn members_set(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (group, rest) = rest.split_once(" set by ")?;
    let (by, members) = rest.split_once(" to ")?;
    fields.action("group_member_add", "success");
    fields.text("TargetGroup", group);
    fields.text("User", by);
    members.split(',').for_each(|user| fields.text("TargetUser", user.trim()));
    Some(())
}

/// `'bob' changed by 'root'`, on Debian before 12 without the quotes
fn password_changed(rest: &str, fields: &mut Fields<'_, '_>) -> Option<()> {
    let (user, by) = rest.rsplit_once(" changed by ")?;
    fields.action("password_change", "success");
    fields.text("TargetUser", bare(user));
    fields.text("User", bare(by));
    Some(())
}

fn bare(name: &str) -> &str {
    name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name)
}
