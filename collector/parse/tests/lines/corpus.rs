//! Real logs that nobody here wrote, where they are at hand: `../shared/corpus` from the root.

use std::path::PathBuf;

use crate::reading::{parse_all, source};

fn corpus(file: &str) -> Option<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/logs").join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: {} is not there", path.display());
    }
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The columns of `file` beside the log: month, day, time of day, program, process id.
fn expected(csv: &str) -> Vec<(String, String, String)> {
    let rows = csv.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| (row[1].clone(), row[2].clone(), row[3].clone())).collect()
}

fn month(name: &str) -> usize {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    months.iter().position(|known| *known == name).unwrap() + 1
}

/// Returns how many of the lines a named parser claimed, with the time their columns say.
fn claimed(log: &str, csv: &str) -> (usize, usize) {
    let lines: Vec<&[u8]> = log.lines().map(str::as_bytes).collect();
    let columns = expected(csv);
    assert_eq!(lines.len(), columns.len());
    let (batch, parsed) = parse_all(&source("/var/log/x", "auto", 0), "2026-01-01T00:00:00Z", &lines);
    assert_eq!(batch.len(), lines.len());
    let good = parsed.iter().zip(batch.rows()).zip(&columns).filter(|((parsed, row), (name, day, clock))| {
        // Every day of the year before is a year with this clock.
        let time = format!("2025-{:02}-{:0>2}T{clock}Z", month(name), day);
        parsed.format != "unparsed" && row.time().to_string() == time && row.value("Message").is_some()
    });
    (good.count(), lines.len())
}

#[test]
fn openssh_lines_are_claimed_with_the_right_time() {
    let Some((log, csv)) = corpus("OpenSSH_2k.log").zip(corpus("OpenSSH_2k.structured.csv")) else { return };
    let (good, all) = claimed(&log, &csv);
    assert!(good * 100 >= all * 99, "{good} of {all}");
}

#[test]
fn linux_lines_are_claimed_with_the_right_time() {
    let Some((log, csv)) = corpus("Linux_2k.log").zip(corpus("Linux_2k.structured.csv")) else { return };
    let (good, all) = claimed(&log, &csv);
    assert!(good * 100 >= all * 99, "{good} of {all}");
}

#[test]
fn openssh_lines_say_what_happened() {
    let Some(log) = corpus("OpenSSH_2k.log") else { return };
    let lines: Vec<&[u8]> = log.lines().map(str::as_bytes).collect();
    let (batch, _) = parse_all(&source("/var/log/x", "auto", 0), "2026-01-01T00:00:00Z", &lines);
    for row in batch.rows() {
        let message = row.value("Message").unwrap().text;
        let is_bare = message.starts_with("PAM service") || message.starts_with("fatal: Write failed");
        assert!(row.value("EventAction").is_some() || is_bare, "{message}");
        let names_a_place = message.contains(" from ") || message.contains("rhost=") || message.contains(" port ");
        let place = row.value("SourceIp").or_else(|| row.value("SourceHostname"));
        assert!(place.is_some() || !names_a_place || message.contains("POSSIBLE"), "{message}");
    }
    let failures = batch.rows().filter(|row| {
        row.value("EventAction").is_some_and(|action| action.text == "login")
            && row.value("EventOutcome").is_some_and(|outcome| outcome.text == "failure")
    });
    // 383 + 135 "Failed password", 4 "Failed none", 2 repeated, by the file's own template column.
    assert_eq!(failures.count(), 524);
}

#[test]
fn lines_of_other_products_are_one_row_each() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/logs/wazuh");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    for file in files {
        let path = file.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let decoder = path.file_stem().unwrap().to_string_lossy().into_owned();
        let passes = text.lines().filter(|line| line.starts_with("log ") && line.contains(" pass = "));
        for line in passes.filter_map(|line| line.split_once(" pass = ")) {
            let (batch, parsed) =
                parse_all(&source("/var/log/x", "auto", 0), "2026-01-01T00:00:00Z", &[line.1.as_bytes()]);
            assert_eq!(batch.len(), 1);
            if ["sshd", "sudo", "su"].contains(&decoder.as_str()) {
                assert!([&*decoder, "pam"].contains(&parsed[0].format), "{}", line.1);
            }
        }
    }
}
