//! Whatever the bytes, one record is one row, and it keeps them.

use canh_event::EventBatch;
use proptest::prelude::*;

use crate::reading::{RECEIVED, parse_all, parse_one, source};

const FORMATS: [&str; 6] = ["auto", "syslog", "json", "access", "raw", "no-such-format"];
/// Openings that lead bytes past the first fork and into a body parser.
const OPENINGS: [&str; 16] = [
    "",
    "<34>1 2026-11-24T03:07:03Z host app 1 id ",
    "<34>1 - - - - - [a b=\"",
    "Nov 24 10:07:03 web-01 sshd[1]: Failed password for ",
    "Nov 24 10:07:03 web-01 sshd[1]: Disconnecting invalid user ",
    "Nov 24 10:07:03 web-01 sshd[1]: message repeated 2 times: [ Accepted publickey for a from ",
    "Nov 24 10:07:03 web-01 sshd[1]: pam_unix(sshd:auth): authentication failure; rhost=",
    "2026-11-24T10:07:03+07:00 web-01 sudo: lan : TTY=pts/0 ; PWD=/ ; ",
    "Nov 24 10:07:03 web-01 su: (to ",
    "Nov 24 10:07:03 web-01 useradd[1]: new user: name=",
    "Nov 24 10:07:03 web-01 usermod[1]: change user '",
    "Nov 24 10:07:03 web-01 CRON[1]: (root) CMD (",
    "10.0.0.7 - - [24/Nov/2026:10:07:03 +0700] \"GET /",
    "{\"a\":{\"b\":[\"",
    "<",
    "[",
];
const WORDS: [&str; 20] = [
    " from ",
    " port ",
    "10.0.0.7",
    "2001:db8::1",
    " ssh2",
    "invalid user ",
    ": ",
    " ; COMMAND=",
    "USER=",
    "\"",
    "\\",
    "] ",
    "'",
    ", ",
    " by ",
    " to ",
    ")",
    "\u{fffd}",
    "é",
    "-CERT ID ",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Names made of what sshd writes around a name.
fn names() -> impl Strategy<Value = String> {
    const AROUND: [&str; 12] = [
        " from 1.2.3.4 port 9 ssh2",
        " from 1.2.3.4 port 9",
        " from ",
        "1.2.3.4",
        " port 9",
        " ssh2",
        ": ",
        "RSA-CERT ID x",
        "invalid user ",
        " for ",
        "root",
        " [preauth]",
    ];
    let piece = prop_oneof![4 => proptest::sample::select(&AROUND[..]).prop_map(str::to_owned), 1 => "[ -~]{0,4}"];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_one_row_that_keeps_them(
        opening in proptest::sample::select(&OPENINGS[..]), rest in pieces(),
        format in proptest::sample::select(&FORMATS[..]),
    ) {
        let line = [opening.as_bytes(), &rest].concat();
        let (batch, parsed) = parse_all(&source("/var/log/x", format, 0), RECEIVED, &[&line]);
        prop_assert_eq!((batch.len(), parsed.len()), (1, 1));
        prop_assert_eq!(batch.row(0).unwrap().raw(), &line[..]);
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        prop_assert_eq!(EventBatch::decode(&bytes).unwrap(), batch);
    }

    #[test]
    fn line_means_the_same_whatever_came_before_it(
        before in pieces(), opening in proptest::sample::select(&OPENINGS[..]), rest in pieces(),
    ) {
        let line = [opening.as_bytes(), &rest].concat();
        let (alone, parsed_alone) = parse_one(&line);
        let first = [opening.as_bytes(), &before].concat();
        let (both, parsed) = parse_all(&source("/var/log/x", "auto", 25_200), RECEIVED, &[&first, &line]);
        prop_assert_eq!(&parsed[1], &parsed_alone);
        let (row, row_alone) = (both.row(1).unwrap(), alone.row(0).unwrap());
        prop_assert_eq!((row.time(), row.logsource()), (row_alone.time(), row_alone.logsource()));
        let sorted = |row: canh_event::Row<'_>| {
            let mut fields: Vec<_> = row.fields().map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
            fields.sort();
            fields
        };
        prop_assert_eq!(sorted(row), sorted(row_alone));
    }

    #[test]
    fn attacker_cannot_move_a_failed_password_to_another_address(name in names()) {
        let line = format!("Nov 24 10:07:03 web-01 sshd[1]: Failed password for invalid user {name} from 10.0.0.7 port 22 ssh2");
        let (batch, parsed) = parse_one(line.as_bytes());
        prop_assert_eq!(parsed.format, "sshd");
        let row = batch.row(0).unwrap();
        let place = (row.value("SourceIp").unwrap().text, row.value("SourcePort").unwrap().text);
        prop_assert_eq!(place, ("10.0.0.7", "22"));
        prop_assert_eq!(row.value("User").map_or("", |value| value.text), name);
    }
}
