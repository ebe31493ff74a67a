//! The corpus's Windows events as batches: a plain reader and a small routing table, for tests.

use std::fs;
use std::path::Path;

use canh_event::{BatchBuilder, EventBatch, Logsource, Origin, RowHeader, TimeQuality, Timestamp, Value};
use serde_json::Value as Json;

/// Reads every event of the corpus, in the order of the files.
pub(crate) fn events(root: &Path) -> Vec<Json> {
    let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut events = Vec::new();
    for path in paths {
        let text = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        events.extend(lines.map(|line| serde_json::from_slice::<Json>(line).unwrap()));
    }
    events
}

/// Puts events into batches of at most `rows`.
pub(crate) fn batches<'a>(events: impl IntoIterator<Item = &'a Json>, rows: usize) -> Vec<EventBatch> {
    let mut builder = BatchBuilder::new();
    let mut batches = Vec::new();
    for event in events {
        if builder.len() >= rows || !add(&mut builder, event) {
            batches.push(builder.finish());
            assert!(add(&mut builder, event), "an event fits an empty batch");
        }
    }
    batches.push(builder.finish());
    batches
}

fn add(builder: &mut BatchBuilder, event: &Json) -> bool {
    let origin = builder.origin(&Origin::unknown()).unwrap();
    let logsource = builder.logsource(&logsource(event)).unwrap();
    let time = Timestamp::EPOCH;
    let header = RowHeader { time, time_quality: TimeQuality::Received, received: time, origin, logsource };
    let Ok(mut row) = builder.begin_row(header, b"") else { return false };
    let mut fits = true;
    flatten(event, "", &mut |name, value| fits &= row.field(name, value).is_ok());
    if fits {
        row.commit();
    }
    fits
}

fn flatten(json: &Json, name: &str, add: &mut dyn FnMut(&str, Value<'_>)) {
    match json {
        Json::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(inner, &name, add);
            }
        }
        Json::Array(list) if !list.is_empty() => list.iter().for_each(|inner| flatten(inner, name, add)),
        Json::Object(_) | Json::Array(_) | Json::Null => add(name, Value::NULL),
        Json::Bool(is_true) => add(name, Value::bool(*is_true)),
        Json::Number(number) => add(name, Value::number(&number.to_string())),
        Json::String(text) => add(name, Value::text(text)),
    }
}

/// A few lines of the routing table Canh ships, enough to route these events as it does.
pub(crate) fn logsource(event: &Json) -> Logsource {
    let channel = event["Channel"].as_str().unwrap_or_default().to_ascii_lowercase();
    let id = event["EventID"].as_u64().or_else(|| event["EventID"].as_str()?.parse().ok()).unwrap_or(0);
    if channel.is_empty() {
        return Logsource::unknown();
    }
    let service = match channel.as_str() {
        "security" => "security",
        "system" => "system",
        "application" => "application",
        "windows powershell" => "powershell-classic",
        "microsoft-windows-powershell/operational" => "powershell",
        "microsoft-windows-sysmon/operational" => "sysmon",
        "microsoft-windows-wmi-activity/operational" => "wmi",
        "microsoft-windows-windows defender/operational" => "windefend",
        "microsoft-windows-taskscheduler/operational" => "taskscheduler",
        _ => "other",
    };
    let categories: &[&str] = match (service, id) {
        ("sysmon", 1) | ("security", 4688) => &["process_creation"],
        ("sysmon", 2) => &["file_change"],
        ("sysmon", 3) => &["network_connection"],
        ("sysmon", 5) => &["process_termination"],
        ("sysmon", 6) => &["driver_load"],
        ("sysmon", 7) => &["image_load"],
        ("sysmon", 8) => &["create_remote_thread"],
        ("sysmon", 9) => &["raw_access_thread"],
        ("sysmon", 10) => &["process_access"],
        ("sysmon", 11) => &["file_event"],
        ("sysmon", 12) => &["registry_event", "registry_add", "registry_delete"],
        ("sysmon", 13) => &["registry_event", "registry_set"],
        ("sysmon", 14) => &["registry_event", "registry_rename"],
        ("sysmon", 15) => &["create_stream_hash"],
        ("sysmon", 17 | 18) => &["pipe_created"],
        ("sysmon", 19..=21) => &["wmi_event"],
        ("sysmon", 22) => &["dns_query"],
        ("sysmon", 23 | 26) => &["file_delete"],
        ("sysmon", 25) => &["process_tampering"],
        ("powershell", 4103) => &["ps_module"],
        ("powershell", 4104) => &["ps_script"],
        ("powershell-classic", 400) => &["ps_classic_start"],
        ("powershell-classic", 600) => &["ps_classic_provider_start"],
        _ => &[],
    };
    Logsource::new("windows", &[service], categories).unwrap()
}
