//! The configuration: what is taken from it, and what is refused.

use super::*;

/// The files every configuration needs, in a folder of their own.
fn with_files(text: &str) -> (tempfile::TempDir, Settings) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut ship = String::from("[ship]\ncollectors = [\"[::1]:7600\"]\n[tls]\n");
    for name in ["ca", "certificate", "key"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        ship.push_str(&format!("{name} = {path:?}\n"));
    }
    let settings = SCHEMA.parse("a.toml".as_ref(), &format!("{text}\n{ship}")).unwrap();
    (folder, settings)
}

fn load(text: &str, read: Option<&str>) -> Result<Config, ConfigFaults> {
    let (_folder, settings) = with_files(text);
    Config::from_settings("a.toml".as_ref(), &settings, read.map(PathBuf::from))
}

#[test]
fn defaults_are_those_of_the_meter() {
    let config = load("[capture]\ninterface = \"eth0\"", None).unwrap();
    assert_eq!(config.limits, MeterLimits::default());
    assert_eq!(config.capture.from, CaptureFrom::Interface("eth0".to_owned()));
    assert_eq!((config.capture.snaplen, config.capture.buffer_bytes), (128, 16 << 20));
    assert_eq!(config.source.as_str(), "eth0");
    assert_eq!(config.ship.server_name, "::1");
}

#[test]
fn option_overrides_what_the_file_says_to_capture() {
    let config = load("[capture]\ninterface = \"eth0\"", Some("/captures/a.pcap")).unwrap();
    assert_eq!(config.capture.from, CaptureFrom::File("/captures/a.pcap".into()));
    assert_eq!(config.source.as_str(), "a.pcap");
    assert!(load("", Some("a.pcap")).is_ok());
}

#[test]
fn names_of_files_that_no_record_may_hold_are_made_to_fit() {
    let name = |path: String| load("", Some(&path)).unwrap().source;
    assert_eq!(name("/a/\u{1b}[2Jb.pcap".to_owned()).as_str(), "[2Jb.pcap");
    assert_eq!(name(format!("/a/{}", "ệ".repeat(80))).as_str().chars().count(), 63);
    assert!(load("", Some("/a/\u{1b}")).is_err());
}

#[test]
fn what_to_capture_must_be_said_and_only_once() {
    let faults = load("", None).unwrap_err().to_string();
    assert!(faults.contains("`capture.interface` is missing"), "{faults}");

    let both = "[capture]\ninterface = \"eth0\"\nfile = \"/etc/passwd\"";
    let faults = load(both, None).unwrap_err().to_string();
    assert!(faults.contains("a.toml:3:") && faults.contains("exclude each other"), "{faults}");
}

#[test]
fn filter_that_does_not_compile_is_a_fault_of_the_file() {
    let faults = load("[capture]\ninterface = \"eth0\"\nfilter = \"port and\"", None).unwrap_err().to_string();
    assert!(faults.contains("a.toml:3: `capture.filter` does not compile"), "{faults}");
    assert!(load("[capture]\ninterface = \"eth0\"\nfilter = \"not port 7600\"", None).is_ok());
}

#[test]
fn reference_page_and_shipped_example_are_in_step() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stale = SCHEMA.stale_files(&root).unwrap();
    assert!(stale.is_empty(), "make them again with UPDATE_GOLDEN=1: {stale:?}");
}
