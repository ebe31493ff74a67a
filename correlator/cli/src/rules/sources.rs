//! What feeds rules, as an operator declares it: logsources and the fields of their events.
//!
//! Comes in: TOML; `rules/pipelines/sources.toml` is shipped inside and describes the format. Goes
//! out: a checked list of [`Feed`]s.

use std::collections::BTreeMap;

use canh_event::Logsource;
use canh_sigma::RuleLogsource;
use serde::Deserialize;

use crate::exit::Failure;

/// What Canh's own parsers make.
const SHIPPED: &str = include_str!("../../../../rules/pipelines/sources.toml");
/// What channels and event ids of Windows stand for.
const WINDOWS: &str = include_str!("../../../../rules/pipelines/windows.toml");
/// Any name.
const ANY: &str = "*";

/// A table, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    #[serde(default = "yes")]
    shipped: bool,
    #[serde(default)]
    field_groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    source: Vec<SourceFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    name: String,
    pipeline: Option<String>,
    #[serde(default)]
    product: String,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    fields: Vec<String>,
}

/// Of a pipeline, what its events are; its other keys are canh-parse's.
#[derive(Debug, Deserialize)]
struct PipelineFile {
    product: String,
    channel: Vec<ChannelFile>,
}

#[derive(Debug, Deserialize)]
struct ChannelFile {
    services: Vec<String>,
    #[serde(default)]
    categories: BTreeMap<String, Vec<String>>,
}

/// One kind of event that is fed, as checked.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    /// What it is called.
    pub(crate) name: String,
    logsource: Logsource,
    any_service: bool,
    fields: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Returns what is shipped.
pub(crate) fn shipped() -> Result<Vec<Feed>, Failure> {
    feeds(&read(SHIPPED, "the shipped sources.toml")?, "the shipped sources.toml")
}

/// Reads a table of an operator's; what is shipped comes with it unless it says otherwise.
pub(crate) fn parse(text: &str, path: &str) -> Result<Vec<Feed>, Failure> {
    let file = read(text, path)?;
    let mut all = feeds(&file, path)?;
    if file.shipped {
        all.extend(shipped()?);
    }
    if all.is_empty() {
        return Err(Failure::usage(format!("{path} declares no source")).hint("add a [[source]]"));
    }
    Ok(all)
}

fn read(text: &str, path: &str) -> Result<SourcesFile, Failure> {
    toml::from_str(text).map_err(|error| Failure::usage(format!("{path} cannot be used")).because(&error))
}

fn feeds(file: &SourcesFile, path: &str) -> Result<Vec<Feed>, Failure> {
    let mut all = Vec::new();
    for source in &file.source {
        let refused = |why: String| Failure::usage(format!("{path} cannot be used")).why(why);
        let mut fields = source.fields.clone();
        for group in &source.include {
            let Some(group) = file.field_groups.get(group) else {
                return Err(refused(format!(
                    "source {:?} includes {group:?}, and no group has this name",
                    source.name
                )));
            };
            fields.extend(group.iter().cloned());
        }
        if fields.is_empty() {
            return Err(refused(format!("source {:?} has no fields", source.name)).hint("if any may come, write \"*\""));
        }
        for logsource in logsources(source).map_err(refused)? {
            let any_service = source.services.iter().any(|service| service == ANY);
            all.push(Feed { name: source.name.clone(), logsource, any_service, fields: fields.clone() });
        }
    }
    Ok(all)
}

fn logsources(source: &SourceFile) -> Result<Vec<Logsource>, String> {
    let wrong = |error: canh_event::IdError| format!("source {:?}: {error}", source.name);
    match source.pipeline.as_deref() {
        None => {
            let services: Vec<&str> = source.services.iter().map(String::as_str).filter(|name| *name != ANY).collect();
            let categories: Vec<&str> = source.categories.iter().map(String::as_str).collect();
            // A list of services may be longer than what one event can have: each goes on its own.
            let most = services.chunks(16).map(|part| Logsource::new(&source.product, part, &categories));
            let none = services.is_empty().then(|| Logsource::new(&source.product, &[], &categories));
            most.chain(none).collect::<Result<_, _>>().map_err(wrong)
        }
        Some("windows") => of_pipeline(WINDOWS),
        Some(other) => Err(format!("source {:?} names the pipeline {other:?}; there is only \"windows\"", source.name)),
    }
}

fn of_pipeline(text: &str) -> Result<Vec<Logsource>, String> {
    let pipeline: PipelineFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for channel in &pipeline.channel {
        let services: Vec<&str> = channel.services.iter().map(String::as_str).collect();
        let none = Vec::new();
        for categories in channel.categories.values().chain([&none]) {
            let categories: Vec<&str> = categories.iter().map(String::as_str).collect();
            let logsource = Logsource::new(&pipeline.product, &services, &categories);
            all.push(logsource.map_err(|error| error.to_string())?);
        }
    }
    Ok(all)
}

impl Feed {
    /// Returns whether its events are some that a rule is for.
    pub(crate) fn is_for(&self, rule: &RuleLogsource) -> bool {
        let without_service = RuleLogsource { service: None, ..rule.clone() };
        rule.applies_to(&self.logsource) || (self.any_service && without_service.applies_to(&self.logsource))
    }

    /// Returns whether its events may have a field.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|known| match known.strip_suffix('*') {
            Some(beginning) => field.starts_with(beginning),
            None => known == field,
        })
    }

    /// Returns its product.
    pub(crate) fn product(&self) -> Option<&str> {
        self.logsource.product()
    }

    /// Returns whether it is of a service.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.any_service || self.logsource.has_service(name)
    }

    /// Returns whether it is of a category.
    pub(crate) fn has_category(&self, name: &str) -> bool {
        self.logsource.has_category(name)
    }
}

#[cfg(test)]
mod tests;
