//! Lines as the programs write them, and the fields that come of each.

use canh_event::{BuildError, Logsource, TimeQuality, Value, ValueKind};

use crate::reading::{RECEIVED, parse_all, parse_one, source};

/// Checks the parser and every field but those of the header.
fn check(line: &str, format: &str, expected: &[(&str, &str)]) {
    let header = ["Message", "Hostname", "Program", "ProcessId", "Facility", "Severity"];
    let (batch, parsed) = parse_one(line.as_bytes());
    assert_eq!(parsed.format, format, "{line}");
    let row = batch.row(0).unwrap();
    let mut fields: Vec<_> = row.fields().map(|(name, value)| (name, value.text)).collect();
    fields.retain(|(name, _)| !header.contains(name) || expected.iter().any(|(wanted, _)| wanted == name));
    let mut expected = expected.to_vec();
    fields.sort_unstable();
    expected.sort_unstable();
    assert_eq!(fields, expected, "{line}");
}

fn check_program(program: &str, message: &str, format: &str, expected: &[(&str, &str)]) {
    check(&format!("Nov 24 10:07:03 web-01 {program}[812]: {message}"), format, expected);
    // The same line as rsyslog writes it today, and as RFC 5424 has it.
    check(&format!("2026-11-24T10:07:03.250000+07:00 web-01 {program}[812]: {message}"), format, expected);
    check(&format!("<86>1 2026-11-24T10:07:03.25+07:00 web-01 {program} 812 - - {message}"), format, expected);
}

fn check_sshd(message: &str, expected: &[(&str, &str)]) {
    check_program("sshd", message, "sshd", expected);
    check_program("sshd-session", message, "sshd", expected);
}

const FAILED: [(&str, &str); 3] = [("EventAction", "login"), ("EventOutcome", "failure"), ("AuthMethod", "password")];
const HERE: [(&str, &str); 2] = [("SourceIp", "10.0.0.7"), ("SourcePort", "50022")];

fn with<'a>(first: &[(&'a str, &'a str)], rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [first, rest].concat()
}

#[test]
fn header_fields_of_every_syslog_line() {
    let line = "<86>Nov 24 10:07:03 web-01 sshd[812]: Server listening on 0.0.0.0 port 22.";
    check(
        line,
        "sshd",
        &[
            ("Message", "Server listening on 0.0.0.0 port 22."),
            ("Hostname", "web-01"),
            ("Program", "sshd"),
            ("ProcessId", "812"),
            ("Facility", "authpriv"),
            ("Severity", "info"),
            ("EventAction", "listen"),
        ],
    );
    let (batch, _) = parse_one(line.as_bytes());
    let row = batch.row(0).unwrap();
    assert_eq!(row.value("ProcessId").unwrap().kind, ValueKind::Number);
    assert_eq!((row.time().to_string().as_str(), row.time_quality()), ("2026-11-24T03:07:03Z", TimeQuality::Assumed));
    assert_eq!(*row.logsource(), Logsource::new("linux", &["sshd", "auth", "syslog"], &[]).unwrap());
}

#[test]
fn rfc5424_has_its_own_time_and_structured_data() {
    let line = r#"<165>1 2026-11-24T03:07:03.003Z web-01 app 8 ID47 [ex@32473 iut="3"][flag] hello"#;
    check(line, "syslog", &[("MessageId", "ID47"), ("sd.ex@32473.iut", "3"), ("sd.flag", ""), ("Message", "hello")]);
    let (batch, _) = parse_one(line.as_bytes());
    assert_eq!(batch.row(0).unwrap().time_quality(), TimeQuality::Stated);
    assert_eq!(batch.row(0).unwrap().time().to_string(), "2026-11-24T03:07:03.003Z");
}

#[test]
fn space_that_rsyslog_leaves_in_front_is_no_part_of_the_body() {
    let line = "<86>1 2026-11-24T10:07:03+07:00 web-01 sshd 812 - -  Server listening on 0.0.0.0 port 22.";
    check(line, "sshd", &[("EventAction", "listen")]);
}

#[test]
fn sshd_logins() {
    let root = with(&FAILED, &with(&HERE, &[("User", "root")]));
    check_sshd("Failed password for root from 10.0.0.7 port 50022 ssh2", &root);
    let invalid = with(&FAILED, &with(&HERE, &[("User", "admin")]));
    check_sshd("Failed password for invalid user admin from 10.0.0.7 port 50022 ssh2", &invalid);
    check_sshd(
        "Accepted publickey for lan from 10.0.0.7 port 50022 ssh2: ED25519 SHA256:abc",
        &with(
            &HERE,
            &[("EventAction", "login"), ("EventOutcome", "success"), ("AuthMethod", "publickey"), ("User", "lan")],
        ),
    );
    check_sshd(
        "Failed keyboard-interactive/pam for invalid user a from 2001:db8::7 port 22 ssh2",
        &[
            ("EventAction", "login"),
            ("EventOutcome", "failure"),
            ("AuthMethod", "keyboard-interactive/pam"),
            ("User", "a"),
            ("SourceIp", "2001:db8::7"),
            ("SourcePort", "22"),
        ],
    );
    check_sshd(
        "Postponed publickey for lan from 10.0.0.7 port 50022 ssh2 [preauth]",
        &with(&HERE, &[("EventAction", "login_postponed"), ("AuthMethod", "publickey"), ("User", "lan")]),
    );
}

#[test]
fn sshd_names_chosen_by_an_attacker() {
    let place = [("SourceIp", "10.0.0.7"), ("SourcePort", "22")];
    for name in [
        "a from 1.2.3.4",
        "a from 1.2.3.4 port 22 ssh2",
        "a b",
        "x: y; rm",
        "root [preauth]",
        "Accepted password for root",
        "x-CERT ID y",
    ] {
        let line = format!("Failed password for invalid user {name} from 10.0.0.7 port 22 ssh2");
        check_sshd(&line, &with(&FAILED, &with(&place, &[("User", name)])));
        let line = format!("Invalid user {name} from 10.0.0.7 port 22");
        check_sshd(
            &line,
            &with(&place, &[("EventAction", "invalid_user"), ("EventOutcome", "failure"), ("User", name)]),
        );
        let line = format!("Connection closed by invalid user {name} 10.0.0.7 port 22 [preauth]");
        check_sshd(&line, &with(&place, &[("EventAction", "disconnect"), ("User", name)]));
    }
    check_sshd(
        "Invalid user  from 10.0.0.7 port 22",
        &with(&place, &[("EventAction", "invalid_user"), ("EventOutcome", "failure")]),
    );
    // A certificate's name is his too, behind the address: two places to choose from, none is taken.
    let publickey = [("EventAction", "login"), ("EventOutcome", "failure"), ("AuthMethod", "publickey")];
    let forged = "Failed publickey for lan from 10.0.0.7 port 22 ssh2: RSA-CERT ID x from 1.2.3.4 port 9 ssh2: y (serial 0) CA RSA SHA256:abc";
    check_sshd(forged, &publickey);
    let honest =
        "Failed publickey for lan from 10.0.0.7 port 22 ssh2: RSA-CERT ID x from home (serial 0) CA RSA SHA256:abc";
    let partly = "Failed publickey for lan from 10.0.0.7 port 22 ssh2: RSA-CERT ID x from 1.2.3.4 port 9 (serial 0) CA RSA SHA256:abc";
    check_sshd(partly, &with(&publickey, &with(&place, &[("User", "lan")])));
    check_sshd(honest, &with(&publickey, &with(&place, &[("User", "lan")])));
    // Names on both sides of the address.
    check_sshd(
        "Disconnecting invalid user a 1.2.3.4 port 1: x 10.0.0.7 port 22: Change of username or service not allowed: (a,b) -> (c,d)",
        &[("EventAction", "disconnect")],
    );
}

#[test]
fn sshd_connections() {
    let ended = |action: &'static str, user: &'static str| {
        let mut fields = with(&HERE, &[("EventAction", action)]);
        if !user.is_empty() {
            fields.push(("User", user));
        }
        fields
    };
    check_sshd("Connection closed by 10.0.0.7 port 50022 [preauth]", &ended("disconnect", ""));
    check_sshd("Connection closed by 10.0.0.7 [preauth]", &[("EventAction", "disconnect"), ("SourceIp", "10.0.0.7")]);
    check_sshd(
        "Connection reset by authenticating user root 10.0.0.7 port 50022 [preauth]",
        &ended("disconnect", "root"),
    );
    check_sshd("Disconnected from invalid user x 10.0.0.7 port 50022 [preauth]", &ended("disconnect", "x"));
    check_sshd("Disconnected from user lan 10.0.0.7 port 50022", &ended("logout", "lan"));
    check_sshd("Received disconnect from 10.0.0.7 port 50022:11: disconnected by user", &ended("disconnect", ""));
    check_sshd(
        "Received disconnect from 10.0.0.7: 11: Bye Bye from 1.2.3.4 port 5 [preauth]",
        &[("EventAction", "disconnect"), ("SourceIp", "10.0.0.7")],
    );
    check_sshd("Received disconnect from ::1: 11: x", &[("EventAction", "disconnect"), ("SourceIp", "::1")]);
    check_sshd("Connection from 10.0.0.7 port 50022 on 10.0.0.1 port 22 rdomain \"\"", &ended("connect", ""));
    let failed = with(&HERE, &[("EventAction", "connect"), ("EventOutcome", "failure")]);
    check_sshd("Did not receive identification string from 10.0.0.7 port 50022", &failed);
    check_sshd("Bad protocol version identification 'GET / from 1.2.3.4 port 5' from 10.0.0.7 port 50022", &failed);
    check_sshd(
        "fatal: Unable to negotiate with 10.0.0.7 port 50022: no matching cipher found. Their offer: 3des-cbc [preauth]",
        &failed,
    );
    check_sshd("fatal: Timeout before authentication for 10.0.0.7 port 50022", &failed);
}

#[test]
fn sshd_limits_and_refusals() {
    let limit = with(&HERE, &[("EventAction", "login_limit"), ("EventOutcome", "failure"), ("User", "root")]);
    check_sshd(
        "error: maximum authentication attempts exceeded for root from 10.0.0.7 port 50022 ssh2 [preauth]",
        &limit,
    );
    check_sshd(
        "error: maximum authentication attempts exceeded for invalid user root from 10.0.0.7 port 50022 ssh2 [preauth]",
        &limit,
    );
    check_sshd(
        "Disconnecting authenticating user root 10.0.0.7 port 50022: Too many authentication failures [preauth]",
        &limit,
    );
    check_sshd("Disconnecting: Too many authentication failures for root [preauth]", &limit[2..]);
    check_sshd(
        "User root from 10.0.0.7 not allowed because not listed in AllowUsers",
        &[("EventAction", "login_denied"), ("EventOutcome", "failure"), ("User", "root"), ("SourceIp", "10.0.0.7")],
    );
    check_sshd(
        "reverse mapping checking getaddrinfo for a.example.com [10.0.0.7] failed - POSSIBLE BREAK-IN ATTEMPT!",
        &[
            ("EventAction", "reverse_mapping"),
            ("EventOutcome", "failure"),
            ("SourceHostname", "a.example.com"),
            ("SourceIp", "10.0.0.7"),
        ],
    );
    check_sshd(
        "Address 10.0.0.7 maps to a.example.com, but this does not map back to the address - POSSIBLE BREAK-IN ATTEMPT!",
        &[
            ("EventAction", "reverse_mapping"),
            ("EventOutcome", "failure"),
            ("SourceHostname", "a.example.com"),
            ("SourceIp", "10.0.0.7"),
        ],
    );
    check_sshd("Received signal 15; terminating.", &[]);
}

#[test]
fn repeated_message_is_one_event_with_a_count() {
    let line = "message repeated 5 times: [ Failed password for root from 10.0.0.7 port 50022 ssh2]";
    check_sshd(line, &with(&FAILED, &with(&HERE, &[("User", "root"), ("RepeatCount", "5"), ("Message", line)])));
}

#[test]
fn pam_of_all_ages() {
    let failure = [
        ("EventAction", "authentication"),
        ("EventOutcome", "failure"),
        ("TTY", "ssh"),
        ("SourceIp", "10.0.0.7"),
        ("User", "root"),
    ];
    let unix = |kind: &'static str| [("PamModule", "pam_unix"), ("PamService", "sshd"), ("PamType", kind)];
    let text = "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.7  user=root";
    check_program("sshd", &format!("pam_unix(sshd:auth): {text}"), "pam", &with(&unix("auth"), &failure));
    check(
        &format!("Nov 24 10:07:03 combo sshd(pam_unix)[19939]: {text}"),
        "pam",
        &with(&failure, &[("PamModule", "pam_unix"), ("Program", "sshd")]),
    );
    check_program(
        "sshd",
        "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.7  user=root",
        "pam",
        &with(&failure, &[("RepeatCount", "2")]),
    );
    check_program(
        "sshd",
        "pam_unix(sshd:session): session opened for user lan(uid=1000) by (uid=0)",
        "pam",
        &with(
            &unix("session"),
            &[("EventAction", "session_open"), ("EventOutcome", "success"), ("User", "lan"), ("UserId", "1000")],
        ),
    );
    check_program(
        "sshd",
        "pam_unix(sshd:session): session closed for user lan",
        "pam",
        &with(&unix("session"), &[("EventAction", "session_close"), ("User", "lan")]),
    );
    check_program(
        "sshd",
        "pam_unix(sshd:auth): check pass; user unknown",
        "pam",
        &with(&unix("auth"), &[("EventAction", "invalid_user"), ("EventOutcome", "failure")]),
    );
    check(
        "Nov 24 10:07:03 combo sshd(pam_unix)[1]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=a-1.example.net ",
        "pam",
        &[
            ("PamModule", "pam_unix"),
            ("EventAction", "authentication"),
            ("EventOutcome", "failure"),
            ("TTY", "NODEVssh"),
            ("SourceHostname", "a-1.example.net"),
        ],
    );
    let (batch, _) =
        parse_one(b"Nov 24 10:07:03 web-01 passwd[1]: pam_unix(passwd:chauthtok): password changed for lan");
    assert_eq!(
        *batch.row(0).unwrap().logsource(),
        Logsource::new("linux", &["pam", "auth", "syslog", "passwd"], &[]).unwrap()
    );
    assert_eq!(batch.row(0).unwrap().value("EventAction"), Some(Value::text("password_change")));
}

#[test]
fn sudo_granted_and_refused() {
    let keys = [
        ("TTY", "pts/0"),
        ("PWD", "/home/lan"),
        ("USER", "root"),
        ("TargetUser", "root"),
        ("User", "lan"),
        ("EventAction", "sudo"),
    ];
    let command = [("COMMAND", "/bin/sh -c a ; USER=b"), ("CommandLine", "/bin/sh -c a ; USER=b")];
    check_program(
        "sudo",
        "    lan : TTY=pts/0 ; PWD=/home/lan ; USER=root ; COMMAND=/bin/sh -c a ; USER=b",
        "sudo",
        &with(&keys, &with(&command, &[("EventOutcome", "success")])),
    );
    for reason in
        ["3 incorrect password attempts", "user NOT in sudoers", "command not allowed", "a password is required"]
    {
        check_program(
            "sudo",
            &format!("lan : {reason} ; TTY=pts/0 ; PWD=/home/lan ; USER=root ; COMMAND=/bin/sh -c a ; USER=b"),
            "sudo",
            &with(&keys, &with(&command, &[("EventOutcome", "failure"), ("FailureReason", reason)])),
        );
    }
    check_program(
        "sudo",
        "lan : TTY=pts/2 ; PWD=/ ; USER=root ; GROUP=adm ; TSID=0000UM ; ENV=A=b ; COMMAND=list",
        "sudo",
        &[
            ("EventAction", "sudo"),
            ("EventOutcome", "success"),
            ("User", "lan"),
            ("TargetUser", "root"),
            ("TTY", "pts/2"),
            ("PWD", "/"),
            ("USER", "root"),
            ("GROUP", "adm"),
            ("TSID", "0000UM"),
            ("ENV", "A=b"),
            ("COMMAND", "list"),
            ("CommandLine", "list"),
        ],
    );
    check_program("sudo", "unable to resolve host web-01", "sudo", &[]);
}

#[test]
fn su_in_six_dialects() {
    let fields = |outcome: &'static str, tty: &'static str| {
        let mut fields =
            vec![("EventAction", "su"), ("EventOutcome", outcome), ("User", "lan"), ("TargetUser", "root")];
        if !tty.is_empty() {
            fields.push(("TTY", tty));
        }
        fields
    };
    for (message, outcome, tty) in [
        ("(to root) lan on pts/0", "success", "pts/0"),
        ("FAILED SU (to root) lan on pts/0", "failure", "pts/0"),
        ("Successful su for root by lan", "success", ""),
        ("FAILED su for root by lan", "failure", ""),
        ("+ /dev/pts/0 lan:root", "success", "/dev/pts/0"),
        ("- /dev/pts/0 lan:root", "failure", "/dev/pts/0"),
        ("lan to root on /dev/ttyp1", "success", "/dev/ttyp1"),
        ("BAD SU lan to root on /dev/ttyp0", "failure", "/dev/ttyp0"),
        ("failed: ttyq4 changing from lan to root", "failure", "ttyq4"),
        ("'su root' failed for lan on /dev/pts/8", "failure", "/dev/pts/8"),
    ] {
        check_program("su", message, "su", &fields(outcome, tty));
    }
}

#[test]
fn account_tools() {
    let check = |program: &str, message: &str, action: &'static str, rest: &[(&'static str, &'static str)]| {
        check_program(
            program,
            message,
            "account",
            &with(&[("EventAction", action), ("EventOutcome", "success")], rest),
        );
    };
    let bob = [("TargetUser", "bob")];
    let member = [("TargetUser", "bob"), ("TargetGroup", "sudo")];
    check(
        "useradd",
        "new user: name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/bash, from=/dev/pts/0",
        "user_add",
        &[
            ("TargetUser", "bob"),
            ("UserId", "1001"),
            ("GroupId", "1001"),
            ("HomeDirectory", "/home/bob"),
            ("Shell", "/bin/bash"),
            ("TTY", "/dev/pts/0"),
        ],
    );
    check("useradd", "new group: name=bob, GID=1001", "group_add", &[("TargetGroup", "bob"), ("GroupId", "1001")]);
    check(
        "groupadd",
        "group added to /etc/group: name=dev, GID=1002",
        "group_add",
        &[("TargetGroup", "dev"), ("GroupId", "1002")],
    );
    check("usermod", "add 'bob' to group 'sudo'", "group_member_add", &member);
    check("usermod", "add 'bob' to shadow group 'sudo'", "group_member_add", &member);
    check("usermod", "delete 'bob' from group 'sudo'", "group_member_remove", &member);
    check("gpasswd", "user bob added by root to group sudo", "group_member_add", &with(&member, &[("User", "root")]));
    check(
        "gpasswd",
        "user bob removed by root from group sudo",
        "group_member_remove",
        &with(&member, &[("User", "root")]),
    );
    check(
        "gpasswd",
        "members of group sudo set by root to bob,eve",
        "group_member_add",
        &with(&member, &[("TargetUser", "eve"), ("User", "root")]),
    );
    check("usermod", "change user 'bob' UID from '1001' to '0'", "user_modify", &with(&bob, &[("UserId", "0")]));
    check(
        "usermod",
        "change user 'bob' shell from '/bin/sh' to '/bin/bash'",
        "user_modify",
        &with(&bob, &[("Shell", "/bin/bash")]),
    );
    check("usermod", "change user 'bob' password", "password_change", &bob);
    check("usermod", "unlock user 'bob' password", "user_modify", &bob);
    check("passwd", "password for 'bob' changed by 'root'", "password_change", &with(&bob, &[("User", "root")]));
    check("userdel", "delete user 'bob'", "user_delete", &bob);
    check("userdel", "removed group 'bob' owned by 'bob'", "group_delete", &[("TargetGroup", "bob")]);
    check("groupdel", "group 'dev' removed from /etc/group", "group_delete", &[("TargetGroup", "dev")]);
    check_program(
        "useradd",
        "failed adding user 'bob', data deleted",
        "account",
        &with(&bob, &[("EventAction", "user_add"), ("EventOutcome", "failure")]),
    );
}

#[test]
fn cron_and_crontab() {
    let job = [("EventAction", "cron_job"), ("User", "root"), ("CommandLine", "cd / && (run-parts /etc/cron.hourly)")];
    for program in ["CRON", "crond", "/USR/SBIN/CRON"] {
        check_program(program, "(root) CMD (cd / && (run-parts /etc/cron.hourly))", "cron", &job);
    }
    check_program(
        "crontab",
        "(lan) REPLACE (www-data)",
        "cron",
        &[("EventAction", "crontab_replace"), ("EventOutcome", "success"), ("User", "lan"), ("TargetUser", "www-data")],
    );
    check_program("cron", "(CRON) INFO (Running @reboot jobs)", "cron", &[]);
    let (batch, _) = parse_one(b"Nov 24 10:07:03 web-01 CRON[1]: (root) CMD (x)");
    assert_eq!(*batch.row(0).unwrap().logsource(), Logsource::new("linux", &["cron", "syslog"], &[]).unwrap());
}

#[test]
fn web_requests() {
    let line = r#"10.0.0.7 - lan [24/Nov/2026:10:07:03 +0700] "GET /a%20b?c=d?e HTTP/1.1" 404 512 "https://x/" "curl/8 \"q\"""#;
    let common = [
        ("c-ip", "10.0.0.7"),
        ("SourceIp", "10.0.0.7"),
        ("cs-username", "lan"),
        ("cs-method", "GET"),
        ("cs-uri", "/a%20b?c=d?e"),
        ("cs-uri-stem", "/a%20b"),
        ("cs-uri-query", "c=d?e"),
        ("cs-version", "HTTP/1.1"),
        ("sc-status", "404"),
        ("sc-bytes", "512"),
    ];
    check(line, "access", &with(&common, &[("cs-referer", "https://x/"), ("cs-user-agent", "curl/8 \"q\"")]));
    check(line.split(" \"https").next().unwrap(), "access", &common);
    check(
        &format!("www.example.vn:443 {line} 0.003"),
        "access",
        &with(
            &common,
            &[("cs-host", "www.example.vn"), ("cs-referer", "https://x/"), ("cs-user-agent", "curl/8 \"q\"")],
        ),
    );
    check(
        r#"10.0.0.7 - - [24/Nov/2026:10:07:03 +0700] "\x16\x03\x01 a" 400 - "-" "-""#,
        "access",
        &[
            ("c-ip", "10.0.0.7"),
            ("SourceIp", "10.0.0.7"),
            ("cs-uri", "\u{16}\u{3}\u{1} a"),
            ("cs-uri-stem", "\u{16}\u{3}\u{1} a"),
            ("sc-status", "400"),
        ],
    );
    check_program(
        "nginx",
        line,
        "access",
        &with(&common, &[("cs-referer", "https://x/"), ("cs-user-agent", "curl/8 \"q\"")]),
    );
}

#[test]
fn user_name_cannot_forge_a_web_request() {
    let line = r#"10.0.0.7 - x [01/Jan/2020:00:00:00 +0000] \"GET /forged HTTP/1.1\" 200 1 [24/Nov/2026:10:07:03 +0700] "GET /real HTTP/1.1" 401 9"#;
    let (batch, parsed) = parse_one(line.as_bytes());
    let row = batch.row(0).unwrap();
    assert_eq!((parsed.format, row.value("cs-uri").unwrap().text), ("access", "/real"));
    assert_eq!(row.time().to_string(), "2026-11-24T03:07:03Z");
}

#[test]
fn web_server_is_known_by_its_file() {
    let line = br#"10.0.0.7 - - [24/Nov/2026:10:07:03 +0700] "GET / HTTP/1.1" 200 1"#;
    for (name, services) in [
        ("/var/log/nginx/access.log", vec!["nginx"]),
        ("/var/log/httpd/access_log", vec!["apache"]),
        ("/srv/x", vec![]),
    ] {
        let (batch, _) = parse_all(&source(name, "access", 0), RECEIVED, &[line]);
        assert_eq!(*batch.row(0).unwrap().logsource(), Logsource::new("", &services, &["webserver"]).unwrap());
    }
}

#[test]
fn json_lines() {
    check(
        r#"{"@timestamp":"2026-11-24T03:07:03Z","user":{"name":"lan"},"tags":["a","b"],"n":1.10}"#,
        "json",
        &[("@timestamp", "2026-11-24T03:07:03Z"), ("user.name", "lan"), ("tags", "a"), ("tags", "b"), ("n", "1.10")],
    );
    check(r#"{"a":1"#, "unparsed", &[("Message", r#"{"a":1"#)]);
    check(r"[1,2]", "unparsed", &[("Message", "[1,2]")]);
}

#[test]
fn line_nobody_can_parse_keeps_its_text() {
    check(
        "[Sun Dec 04 04:47:44 2005] [notice] hello",
        "unparsed",
        &[("Message", "[Sun Dec 04 04:47:44 2005] [notice] hello")],
    );
    check("", "unparsed", &[]);
    let (batch, parsed) = parse_all(&source("x", "raw", 0), RECEIVED, &[b"Nov 24 10:07:03 h sshd[1]: x\r\n"]);
    assert_eq!(parsed[0].format, "raw");
    assert_eq!(batch.row(0).unwrap().value("Message"), Some(Value::text("Nov 24 10:07:03 h sshd[1]: x")));
    assert_eq!(batch.row(0).unwrap().time_quality(), TimeQuality::Received);
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_in_fields_and_kept_in_raw() {
    let line = b"Nov 24 10:07:03 web-01 sshd[1]: Invalid user \xff\xfe from 10.0.0.7 port 22";
    let (batch, _) = parse_one(line);
    let row = batch.row(0).unwrap();
    assert_eq!(row.value("User"), Some(Value::text("\u{fffd}\u{fffd}")));
    assert_eq!(row.raw(), line);
}

#[test]
fn line_the_batch_has_no_room_for_keeps_its_text() {
    let line = format!("{{\"a\":1,\"list\":[{}0]}}", "0,".repeat(2_000));
    let (batch, parsed) = parse_one(line.as_bytes());
    assert_eq!(parsed.format, "too_large");
    assert!(matches!(parsed.refused, Some(BuildError::TooLarge { .. })));
    let fields: Vec<_> = batch.row(0).unwrap().fields().map(|(name, value)| (name, value.text)).collect();
    assert_eq!(fields, [("Message", line.as_str())]);
}

#[test]
fn line_with_more_names_than_a_batch_has_columns_says_so() {
    let keys: Vec<_> = (0..2_000).map(|number| format!("\"k{number}\":1")).collect();
    let line = format!("{{{}}}", keys.join(","));
    let (batch, parsed) = parse_one(line.as_bytes());
    assert_eq!(parsed.format, "too_large");
    assert!(matches!(parsed.refused, Some(BuildError::Full { .. })));
    assert_eq!(batch.row(0).unwrap().raw(), line.as_bytes());
    assert_eq!(batch.row(0).unwrap().value("k0"), None);
    assert!(batch.row(0).unwrap().value("Message").is_some(), "keyword rules still see the line");
}

#[test]
fn year_rolls_over_between_writing_and_reading() {
    let at = |received, line: &[u8]| {
        let (batch, _) = parse_all(&source("x", "auto", 25_200), received, &[line]);
        batch.row(0).unwrap().time().to_string()
    };
    assert_eq!(at("2026-12-31T17:00:05Z", b"Dec 31 23:59:59 h sshd[1]: x"), "2026-12-31T16:59:59Z");
    assert_eq!(at("2026-12-31T17:00:05Z", b"Jan  1 00:00:01 h sshd[1]: x"), "2026-12-31T17:00:01Z");
    assert_eq!(at("2027-06-01T00:00:00Z", b"Feb 29 00:00:01 h sshd[1]: x"), "2024-02-28T17:00:01Z");
}
