use super::*;
use crate::config::key::Kind;
use proptest::prelude::*;
use std::io::Write;
use std::time::Duration;

const FILE_KEYS: &[Key] = &[
    Key::required("path", Kind::Text, "/var/log/*.log", "What to read."),
    Key::with_default("format", Kind::Choice(&["auto", "syslog"]), "auto", "How it is written."),
    Key::optional(
        "kept.for",
        Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(60) },
        "9s",
        "A nested key.",
    ),
];

const KEYS: &[Key] = &[
    Key::with_default("metrics.address", Kind::Address, "127.0.0.1:9601", "Where metrics are served."),
    Key::required("ship.collectors", Kind::List(&Kind::Endpoint), "[\"collector:6514\"]", "Where to send."),
    Key::with_default(
        "ship.wait",
        Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(3_600) },
        "500ms",
        "Longest wait.",
    )
    .reloadable(),
    Key::with_default("ship.spool_max_bytes", Kind::Bytes { min: 1 << 20, max: 1 << 40 }, "1GiB", "Longest spool."),
    Key::with_default("ship.batch_records", Kind::Integer { min: 1, max: 4_096 }, "1024", "Most records.")
        .unit("records"),
    Key::optional("tls.ca", Kind::ExistingFile, "/etc/canh/ca.pem", "The CA."),
    Key::optional("tls.key", Kind::SecretFile, "/etc/canh/key.pem", "The key."),
    Key::with_default("quiet", Kind::Bool, "false", "A key outside all tables."),
    Key::required("file", Kind::Tables(FILE_KEYS), "", "A file to read."),
];

const SCHEMA: Schema = Schema::new("canh-test", KEYS);

fn faults(text: &str) -> Vec<String> {
    let faults = SCHEMA.parse(Path::new("t.toml"), text).unwrap_err();
    faults.to_string().lines().map(str::to_owned).collect()
}

const GOOD: &str = r#"
quiet = true
[ship]
collectors = ["a:1", "[::1]:2"]
wait = "2s"
[[file]]
path = "/a"
[[file]]
path = "/b"
format = "syslog"
kept.for = "1m"
"#;

#[test]
fn good_file_gives_its_values_and_the_defaults() {
    let settings = SCHEMA.parse(Path::new("t.toml"), GOOD).unwrap();
    assert!(settings.bool("quiet"));
    assert_eq!(settings.list("ship.collectors"), ["a:1", "[::1]:2"]);
    assert_eq!(settings.duration("ship.wait"), Duration::from_secs(2));
    assert_eq!(settings.bytes("ship.spool_max_bytes"), 1 << 30);
    assert_eq!(settings.count("ship.batch_records"), 1_024);
    assert_eq!(settings.address("metrics.address"), "127.0.0.1:9601".parse().unwrap());
    assert!(!settings.has("tls.ca"));
    let files = settings.tables("file");
    assert_eq!((files[0].text("path"), files[0].text("format")), ("/a", "auto"));
    assert_eq!((files[1].text("path"), files[1].duration("kept.for")), ("/b", Duration::from_secs(60)));
    assert_eq!(files[1].line("format"), Some(10));
    assert_eq!(files[0].line("format"), None);
    let fault = files[1].fault("format", "does not suit the path; use auto");
    assert_eq!(
        (fault.line(), fault.to_string().as_str()),
        (Some(10), "`file[2].format` does not suit the path; use auto")
    );
}

#[test]
fn unknown_keys_a_wrong_type_and_a_missing_file_are_all_named_at_once_with_their_lines() {
    let text = r#"
[metrics]
adress = "127.0.0.1:9601"
[ship]
collectors = ["a:1"]
wait = 500
[tls]
ca = "/nonexistent/ca.pem"
[[file]]
path = "/a"
fromat = "auto"
"#;
    assert_eq!(
        faults(text),
        [
            "t.toml:3: unknown key `metrics.adress`; did you mean `metrics.address`?",
            "t.toml:6: `ship.wait` must be a duration from 10ms to 1h, in quotes and with its unit, like \"10s\", got the integer 500",
            "t.toml:8: `tls.ca` names the file \"/nonexistent/ca.pem\", which cannot be read; create it or correct the path: \
             No such file or directory (os error 2)",
            "t.toml:11: unknown key `file[1].fromat`; did you mean `file[1].format`?",
        ]
    );
}

#[test]
fn every_other_fault_is_named_too() {
    let text = r#"
colour = "red"
ship = 3
metrics.address = "localhost"
quiet = "yes"
file = [7, { format = "auto", path = 5 }, { format = "xml" }]
"#;
    let found = faults(text);
    let expected = [
        "t.toml: `ship.collectors` is missing; add a list, each item a host and port, like \"collector.example.vn:6514\", \
         for example [\"collector:6514\"]",
        "t.toml:2: unknown key `colour`; remove it, or see the reference page for the known ones",
        "t.toml:3: `ship` must be a table, written [ship], got the integer 3",
        "t.toml:4: `metrics.address` must be an IP address and port, like \"127.0.0.1:9601\", got the text \"localhost\"",
        "t.toml:5: `quiet` must be true or false, got the text \"yes\"",
        "t.toml:6: `file[1]` must be tables, one [[...]] for each, got the integer 7",
        "t.toml:6: `file[2].path` must be text of 1 to 1024 bytes without control characters, got the integer 5",
        "t.toml:6: `file[3].format` must be one of auto, syslog, got the text \"xml\"",
        "t.toml:6: `file[3].path` is missing; add text of 1 to 1024 bytes without control characters, for example \"/var/log/*.log\"",
    ];
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn values_out_of_range_are_named_with_the_range() {
    let text = "[ship]\ncollectors = [\"a:1\", \"b\"]\nwait = \"1ms\"\nspool_max_bytes = \"2TiB\"\nbatch_records = 5000\n[[file]]\npath = \"\\u0007\"\n";
    let found = faults(text);
    assert!(found[0].starts_with("t.toml:2: `ship.collectors[2]` must be a host and port"), "{found:#?}");
    assert!(found[1].starts_with("t.toml:3: `ship.wait` must be a duration from 10ms to 1h"), "{found:#?}");
    assert!(
        found[2].starts_with("t.toml:4: `ship.spool_max_bytes` must be an amount of bytes from 1MiB to 1TiB"),
        "{found:#?}"
    );
    assert_eq!(found[3], "t.toml:5: `ship.batch_records` must be a whole number from 1 to 4096, got the integer 5000");
    assert!(
        found[4].starts_with("t.toml:7: `file[1].path`") && found[4].ends_with("got the text \"\\u{7}\""),
        "{found:#?}"
    );
    assert_eq!(found.len(), 5);
}

#[test]
fn broken_toml_is_named_beside_the_other_faults_and_nothing_is_called_missing() {
    let found = faults("[ship]\nwait = \nbatch_record = 7\n");
    assert!(found[0].starts_with("t.toml:2: not valid TOML: "), "{found:#?}");
    assert_eq!(found[1], "t.toml:3: unknown key `ship.batch_record`; did you mean `ship.batch_records`?");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn missing_table_of_tables_says_what_to_add() {
    let found = faults("[ship]\ncollectors = []\n");
    assert_eq!(found, ["t.toml: `file` is missing; add at least one [[file]]"]);
}

#[test]
fn secret_that_others_can_read_is_refused() {
    let mut key = tempfile::NamedTempFile::new().unwrap();
    key.write_all(b"key").unwrap();
    let text = format!("{GOOD}\n[tls]\nkey = {:?}\n", key.path());
    let set_mode = |mode| fs::set_permissions(key.path(), fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o644);
    let found = faults(&text);
    assert!(found[0].contains("which other users can read or write (mode 644); run chmod o-rwx on it"), "{found:?}");
    set_mode(0o640);
    assert_eq!(SCHEMA.parse(Path::new("t.toml"), &text).unwrap().path("tls.key"), key.path());
}

#[test]
fn file_others_can_write_is_refused_and_a_missing_one_named() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(GOOD.as_bytes()).unwrap();
    assert!(SCHEMA.load(file.path()).is_ok());
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let refused = SCHEMA.load(file.path()).unwrap_err().to_string();
    assert!(
        refused.contains("other users can write the configuration file (mode 666); run chmod o-w on it"),
        "{refused}"
    );
    let missing = SCHEMA.load(Path::new("/nonexistent/t.toml")).unwrap_err().to_string();
    assert!(missing.contains("create it or name another with --config: No such file"), "{missing}");
}

#[test]
fn file_without_end_is_refused() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![b'#'; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1]).unwrap();
    assert!(matches!(SCHEMA.load(file.path()).unwrap_err().faults(), [ConfigFault::TooLarge { .. }]));
}

#[test]
fn changes_say_which_keys_a_reload_takes_over() {
    let before = SCHEMA.parse(Path::new("t.toml"), GOOD).unwrap();
    let after = SCHEMA.parse(Path::new("t.toml"), &GOOD.replace("2s", "3s").replace("/b", "/c")).unwrap();
    let changes: Vec<_> = before.changes(&after).iter().map(|change| (change.path, change.reloadable)).collect();
    assert_eq!(changes, [("file", false), ("ship.wait", true)]);
    // A value that only moved to another line is the same value.
    let moved = SCHEMA.parse(Path::new("t.toml"), &format!("\n\n{GOOD}")).unwrap();
    assert_eq!(before.changes(&moved), []);
}

#[test]
fn example_is_a_good_file_and_reference_names_every_key() {
    let example = SCHEMA.example_toml();
    let settings = SCHEMA.parse(Path::new("e.toml"), &example).unwrap_or_else(|faults| panic!("{faults}\n{example}"));
    assert_eq!(settings.list("ship.collectors"), ["collector:6514"]);
    let all_on: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    // With every key on, only the files that are not on this machine are at fault.
    let faults = SCHEMA.parse(Path::new("e.toml"), &all_on).unwrap_err();
    assert!(faults.faults().iter().all(|it| matches!(it, ConfigFault::MissingFile { .. })), "{faults}\n{all_on}");
    let reference = SCHEMA.reference_markdown();
    for key in KEYS {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(
            reference.contains(&format!("`{name}`")) || reference.contains(&format!("[[{name}]]")),
            "{name} in {reference}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-z\\[\\]{}=\"'.#\n 0-9,-]{0,200}") {
        let _ = SCHEMA.parse(Path::new("t.toml"), &text);
    }

    #[test]
    fn no_change_of_a_good_file_panics(at in any::<prop::sample::Index>(), inserted in "[\\PC\n\"\\[]{0,6}") {
        let at = at.index(GOOD.len());
        let text = format!("{}{inserted}{}", &GOOD[..at], &GOOD[at..]);
        let _ = SCHEMA.parse(Path::new("t.toml"), &text);
    }
}
