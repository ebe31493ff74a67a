//! One case kept beside rules: what it claims, its input and what must be raised.
//!
//! The format is that of `test-corpus/README.md`; beside the formats named there, `json`, `raw` and
//! `auto` do as well. Comes in: a folder. Goes out: a checked [`Case`]. Bounded: each file.

use std::path::{Path, PathBuf};

use canh_event::{AgencyId, AgentId, IdError, Origin, Source, Timestamp};
use serde::Deserialize;

use crate::exit::Failure;
use crate::rules::expectation::Expectation;
use crate::rules::load::read_text;

/// Longest input of a case, in bytes.
const MAX_INPUT_BYTES: u64 = 64 << 20;
/// Longest `case.toml` or `expected.ndjson`, in bytes.
const MAX_DESCRIPTION_BYTES: u64 = 1 << 20;
const DESCRIPTION: &str = "case.toml";
const EXPECTED: &str = "expected.ndjson";

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
pub(crate) struct Case {
    /// What happens in the input, for people.
    pub(crate) claim: String,
    /// Ids of rules that must raise something.
    pub(crate) expected: Vec<String>,
    /// Ids of rules that must raise nothing.
    pub(crate) absent: Vec<String>,
    /// Where the records come from.
    pub(crate) origin: Origin,
    /// What they come through.
    pub(crate) source: Source,
    /// When they were read.
    pub(crate) received: Timestamp,
    /// The records, one a line.
    pub(crate) input: String,
    /// What must be raised.
    pub(crate) expectations: Vec<Expectation>,
}

impl Case {
    /// Reads the case in a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, Failure> {
        let refused = || Failure::usage(format!("{} cannot be used", folder.join(DESCRIPTION).display()));
        let text = read_text(&folder.join(DESCRIPTION), MAX_DESCRIPTION_BYTES)?;
        let file: CaseFile = toml::from_str(&text).map_err(|error| refused().because(&error))?;
        let source = source_of(&file).map_err(|error| refused().because(&error))?;
        let origin = origin_of(&file).map_err(|error| refused().because(&error))?;
        let received = file.received.parse::<Timestamp>().map_err(|error| refused().because(&error))?;
        // The format's name was checked with the source: it cannot lead out of the folder.
        let input = read_text(&folder.join(format!("input.{}", file.format)), MAX_INPUT_BYTES)?;
        let expected = read_text(&folder.join(EXPECTED), MAX_DESCRIPTION_BYTES)?;
        Ok(Self {
            claim: file.claim,
            expected: file.expected,
            absent: file.absent,
            origin,
            source,
            received,
            input,
            expectations: Expectation::parse_all(&expected)?,
        })
    }

    /// Returns the folders of all cases in a folder, sorted. A folder whose name begins with a dot
    /// is none.
    pub(crate) fn folders(cases: &Path) -> Result<Vec<PathBuf>, Failure> {
        let refused = |error: &std::io::Error| {
            Failure::usage(format!("there are no cases in {}", cases.display()))
                .because(error)
                .hint("say where they are: --cases DIR")
        };
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(cases).map_err(|error| refused(&error))? {
            let path = entry.map_err(|error| refused(&error))?.path();
            if path.is_dir() && !name_of(&path).starts_with('.') {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }
}

/// Returns the name of a case: its folder's.
pub(crate) fn name_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn source_of(file: &CaseFile) -> Result<Source, IdError> {
    Ok(Source {
        name: file.source.parse()?,
        host: Box::from(file.agent.as_str()),
        format: file.format.parse()?,
        utc_offset_secs: file.utc_offset_secs,
    })
}

fn origin_of(file: &CaseFile) -> Result<Origin, IdError> {
    Ok(Origin {
        agent: Some(file.agent.parse::<AgentId>()?),
        agency: Some(file.agency.parse::<AgencyId>()?),
        host: Box::from(file.agent.as_str()),
        source: Some(file.source.parse()?),
    })
}
