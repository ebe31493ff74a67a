//! The events both engines read: real telemetry, shuffled with a fixed seed and repeated.

use std::path::Path;

use anyhow::{Context, Result};

/// Which events, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// All events of the corpus.
    All,
    /// Process creations only: Sysmon 1 and Security 4688.
    ProcessCreation,
    /// All events, with every command line and message made unique.
    Unique,
}

const SEED: u64 = 0x5eed_c4a1;

/// Returns `count` events as NDJSON lines in one buffer.
pub fn load(corpus: &Path, workload: Workload, count: usize) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    let folder = corpus.join("attack-telemetry");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("while listing {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "zst"))
        .collect();
    paths.sort();
    for path in paths {
        let packed = std::fs::read(&path)?;
        let text = zstd::decode_all(packed.as_slice()).with_context(|| format!("while reading {}", path.display()))?;
        lines.extend(text.split(|byte| *byte == b'\n').filter(|line| keeps(workload, line)).map(<[u8]>::to_vec));
    }
    anyhow::ensure!(!lines.is_empty(), "no events in {}", folder.display());
    shuffle(&mut lines);
    let mut out = Vec::new();
    for (index, line) in lines.iter().cycle().take(count).enumerate() {
        match workload {
            Workload::Unique => push_unique(&mut out, line, index),
            _ => out.extend_from_slice(line),
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn keeps(workload: Workload, line: &[u8]) -> bool {
    if line.is_empty() {
        return false;
    }
    if workload != Workload::ProcessCreation {
        return true;
    }
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { return false };
    let channel = event["Channel"].as_str().unwrap_or_default();
    match event["EventID"].as_u64() {
        Some(1) => channel.starts_with("Microsoft-Windows-Sysmon"),
        Some(4688) => channel.eq_ignore_ascii_case("security"),
        _ => false,
    }
}

/// Fisher and Yates with a splitmix64 of a fixed seed.
fn shuffle(lines: &mut [Vec<u8>]) {
    let mut state = SEED;
    for last in (1..lines.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let other = usize::try_from(mixed % (last as u64 + 1)).unwrap_or(0);
        lines.swap(last, other);
    }
}

/// Puts a number that no other event has into the texts that repeat most.
fn push_unique(out: &mut Vec<u8>, line: &[u8], index: usize) {
    let mut rest = line;
    while let Some((before, name)) = ["\"CommandLine\":\"", "\"ParentCommandLine\":\"", "\"Message\":\""]
        .iter()
        .filter_map(|name| find(rest, name.as_bytes()).map(|at| (at, name)))
        .min()
    {
        let end = before + name.len();
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(format!("{index:08x} ").as_bytes());
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
