//! `--check` and wrong arguments, with the real binary.

#![expect(clippy::unwrap_used, reason = "a test, and a panic is how it fails")]

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn check(folder: &Path, text: &str, more: &[&str]) -> Output {
    let path = folder.join("agent.toml");
    write(&path, text).unwrap();
    set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_canh-flow-agent"));
    command.arg("--check").arg("--config").arg(path).args(more).output().unwrap()
}

/// Where to ship to, with files that are there.
fn ship(folder: &Path) -> String {
    let mut text = String::from("[ship]\ncollectors = [\"[::1]:7600\"]\n[tls]\n");
    for name in ["ca", "certificate", "key"] {
        let path = folder.join(name);
        write(&path, "x").unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        text.push_str(&format!("{name} = {path:?}\n"));
    }
    text
}

#[test]
fn right_configuration_passes_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let ship = ship(folder.path());
    let output = check(folder.path(), &format!("[capture]\ninterface = \"eth0\"\n{ship}"), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.as_ref(), output.stdout.len()), (Some(0), "", 0));
    let output = check(folder.path(), &ship, &["--read", "a.pcap"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn every_fault_is_named_at_once_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let ship = ship(folder.path());
    let text = format!("[capture]\ninterfaec = \"eth0\"\nsnaplen = \"128\"\nfile = \"/no/such/file\"\n{ship}");
    let output = check(folder.path(), &text, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["agent.toml:2:", "interfaec", "agent.toml:3:", "snaplen", "agent.toml:4:", "/no/such/file"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn missing_configuration_and_unknown_option_end_with_two() {
    let run =
        |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_canh-flow-agent")).args(arguments).output().unwrap();
    assert_eq!(run(&["--config", "/no/such/file.toml"]).status.code(), Some(2));
    assert_eq!(run(&["--raed", "a.pcap"]).status.code(), Some(2));
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}
