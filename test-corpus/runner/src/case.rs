//! One case: what it claims, how its input is read, and the input.

use std::path::{Path, PathBuf};

use canh_event::{AgencyId, AgentId, Origin, RecordBatch, Source, Timestamp};
use serde::Deserialize;

/// `case.toml`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    claim: String,
    expected: Vec<String>,
    absent: Vec<String>,
    format: String,
    source: String,
    utc_offset_secs: i32,
    agent: String,
    agency: String,
    received: String,
    #[serde(rename = "provenance")]
    _provenance: String,
    #[serde(rename = "licence")]
    _licence: String,
}

/// A case, as checked.
#[derive(Debug)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// What happens in the input, for people.
    pub claim: String,
    /// Ids of rules that must raise something.
    pub expected: Vec<String>,
    /// Ids of rules that must raise nothing.
    pub absent: Vec<String>,
    /// Where the records come from.
    pub origin: Origin,
    /// The records, in batches.
    pub records: Vec<RecordBatch>,
    /// The text of `expected.ndjson`.
    pub expectation: String,
}

/// A case that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("case {path}: {what}")]
pub struct CaseError {
    path: PathBuf,
    what: String,
}

impl Case {
    /// Reads the case in a folder.
    ///
    /// # Errors
    /// [`CaseError`], naming the folder and what is wrong.
    pub fn load(folder: &Path) -> Result<Self, CaseError> {
        let refused = |what: String| CaseError { path: folder.to_path_buf(), what };
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name)).map_err(|error| refused(format!("{name}: {error}")))
        };
        let file: CaseFile = toml::from_str(&read("case.toml")?).map_err(|error| refused(error.to_string()))?;
        let source = source_of(&file).map_err(|error| refused(error.to_string()))?;
        let origin = origin_of(&file).map_err(|error| refused(error.to_string()))?;
        let received: Timestamp = file.received.parse().map_err(|error| refused(format!("received: {error}")))?;
        let input = read(&format!("input.{}", file.format))?;
        let records = batches(&input, &source, received).map_err(refused)?;
        Ok(Self {
            name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            claim: file.claim,
            expected: file.expected,
            absent: file.absent,
            origin,
            records,
            expectation: read("expected.ndjson")?,
        })
    }

    /// Returns the folders of all cases, sorted.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn folders(cases: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(cases)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }
}

fn source_of(file: &CaseFile) -> Result<Source, canh_event::IdError> {
    Ok(Source {
        name: file.source.parse()?,
        host: Box::from(file.agent.as_str()),
        format: file.format.parse()?,
        utc_offset_secs: file.utc_offset_secs,
    })
}

fn origin_of(file: &CaseFile) -> Result<Origin, canh_event::IdError> {
    Ok(Origin {
        agent: Some(file.agent.parse::<AgentId>()?),
        agency: Some(file.agency.parse::<AgencyId>()?),
        host: Box::from(file.agent.as_str()),
        source: Some(file.source.parse()?),
    })
}

fn batches(input: &str, source: &Source, received: Timestamp) -> Result<Vec<RecordBatch>, String> {
    let mut done = Vec::new();
    let mut batch = RecordBatch::new();
    for line in input.lines() {
        for _ in 0..2 {
            let id = batch.source(source).map_err(|error| error.to_string())?;
            if batch.push(id, received, line.as_bytes()).is_ok() {
                break;
            }
            done.push(std::mem::take(&mut batch));
        }
    }
    done.push(batch);
    Ok(done)
}
