//! rsigma-eval, driven as its documents say: rules parsed once, an event parsed by serde_json, and
//! evaluated with the logsource that the event's channel and id imply (routed) or without one.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use rsigma_eval::event::JsonEvent;
use rsigma_eval::{Engine, MatchDetailLevel};
use rsigma_parser::LogSource;

/// How the peer is told an event's logsource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `evaluate_pruned` with the logsource implied by channel and event id.
    Routed,
    /// `evaluate`: every rule of every logsource.
    Everything,
}

/// The peer with its rules compiled.
pub struct Peer {
    engine: Engine,
    /// How many rules it took and refused.
    pub loaded: usize,
    /// How many rules it refused.
    pub refused: usize,
}

/// One hit: the event's line, the rule's id.
pub type PeerHit = (usize, String);

impl Peer {
    /// Compiles every rule under `rules`.
    pub fn load(rules: &[PathBuf]) -> Result<Self> {
        let folder = rules.first().ok_or_else(|| anyhow!("no rules"))?;
        let mut collection = rsigma_parser::parse_sigma_directory(folder).map_err(|error| anyhow!("{error}"))?;
        // Its model has one category an event, so the registry's are merged, or rules are lost.
        for rule in &mut collection.rules {
            if let Some(category) = &mut rule.logsource.category
                && category.starts_with("registry_")
            {
                *category = "registry_event".to_owned();
            }
        }
        let mut engine = Engine::new();
        engine.set_match_detail(MatchDetailLevel::Off);
        let refused = collection.errors.len() + engine.add_rules(collection.rules.iter()).len();
        Ok(Self { loaded: engine.rule_count(), engine, refused })
    }

    /// Evaluates every line; `hits` gets each hit if wanted. Returns how many there were.
    pub fn run(&self, lines: &[&[u8]], mode: Mode, mut hits: Option<&mut Vec<PeerHit>>) -> usize {
        let mut count = 0;
        for (index, line) in lines.iter().enumerate() {
            let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
            let event = JsonEvent::borrow(&value);
            let found = match mode {
                Mode::Routed => self.engine.evaluate_pruned(&event, &logsource_of(&value)),
                Mode::Everything => self.engine.evaluate(&event),
            };
            count += found.len();
            if let Some(hits) = hits.as_deref_mut() {
                hits.extend(found.iter().filter_map(|hit| Some((index, hit.header.rule_id.clone()?))));
            }
        }
        count
    }
}

/// The logsource an event's channel and id imply.
fn logsource_of(event: &serde_json::Value) -> LogSource {
    let channel = event["Channel"].as_str().unwrap_or_default().to_ascii_lowercase();
    let id = event["EventID"].as_u64().unwrap_or_default();
    let (service, category) = implied(&channel, id);
    let mut source = LogSource::default();
    source.product = Some("windows".to_owned());
    source.service = service.map(str::to_owned);
    source.category = category.map(str::to_owned);
    source
}

fn implied(channel: &str, id: u64) -> (Option<&'static str>, Option<&'static str>) {
    match channel {
        "microsoft-windows-sysmon/operational" => (Some("sysmon"), sysmon_category(id)),
        "security" => (Some("security"), (id == 4688).then_some("process_creation")),
        "system" => (Some("system"), None),
        "application" => (Some("application"), None),
        "windows powershell" => (Some("powershell-classic"), match id {
            400 => Some("ps_classic_start"),
            600 => Some("ps_classic_provider_start"),
            800 => Some("ps_classic_script"),
            _ => None,
        }),
        "microsoft-windows-powershell/operational" => (Some("powershell"), match id {
            4103 => Some("ps_module"),
            4104 => Some("ps_script"),
            _ => None,
        }),
        _ => (None, None),
    }
}

fn sysmon_category(id: u64) -> Option<&'static str> {
    Some(match id {
        1 => "process_creation",
        2 => "file_change",
        3 => "network_connection",
        4 | 16 => "sysmon_status",
        5 => "process_termination",
        6 => "driver_load",
        7 => "image_load",
        8 => "create_remote_thread",
        9 => "raw_access_thread",
        10 => "process_access",
        11 => "file_event",
        12..=14 => "registry_event",
        15 => "create_stream_hash",
        17 | 18 => "pipe_created",
        19..=21 => "wmi_event",
        22 => "dns_query",
        23 | 26 => "file_delete",
        24 => "clipboard_capture",
        25 => "process_tampering",
        255 => "sysmon_error",
        _ => return None,
    })
}
