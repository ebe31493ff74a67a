//! A pipeline: the table that says which logsource an event of a product stands for, and which of its
//! fields have another name in Sigma's words.
//!
//! Comes in: TOML text (`rules/pipelines/*.toml`; the tables are shipped inside and an operator may
//! give another). Goes out: a checked [`Pipeline`] that answers two questions: what is a field called,
//! and what is an event of this channel with this id.

use std::collections::BTreeMap;

use canh_event::Logsource;
use foldhash::HashMap;
use serde::Deserialize;

/// The table for Windows that is shipped.
const WINDOWS: &str = include_str!("../../../rules/pipelines/windows.toml");
/// Most channels of a table.
const MAX_CHANNELS: usize = 4_096;

/// A table that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The text is no TOML, or has keys this release does not know.
    #[error("the pipeline cannot be read: {0}")]
    Syntax(Box<str>),
    /// A name that Sigma could not have.
    #[error("channel {channel:?} of the pipeline has a name that is no logsource: {what}")]
    Logsource {
        /// The channel's first name.
        channel: Box<str>,
        /// Which name.
        what: Box<str>,
    },
    /// A key under `categories` or `also` that is no event id.
    #[error("channel {channel:?} of the pipeline has {id:?} where an event id must stand")]
    EventId {
        /// The channel's first name.
        channel: Box<str>,
        /// What stands there.
        id: Box<str>,
    },
    /// More channels than any honest table has.
    #[error("the pipeline has {got} channels, limit is {limit}")]
    TooManyChannels {
        /// How many.
        got: usize,
        /// The bound.
        limit: usize,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineFile {
    product: String,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    names: BTreeMap<String, String>,
    #[serde(default)]
    channel: Vec<ChannelFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelFile {
    names: Vec<String>,
    services: Vec<String>,
    #[serde(default)]
    categories: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    also: BTreeMap<String, BTreeMap<String, String>>,
}

/// What an event of a channel with an id is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventClass {
    /// Its logsource.
    pub logsource: Logsource,
    /// Second names: (new, old).
    pub also: Vec<(Box<str>, Box<str>)>,
}

/// A class's place in its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClassId(u32);

/// A channel's place in its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(u32);

#[derive(Debug)]
struct Channel {
    any: ClassId,
    by_id: HashMap<u32, ClassId>,
}

/// Where collectors put an event's own fields. `a.*.` is `a.` and one more level, whatever its name.
#[derive(Debug)]
struct Prefix {
    text: Box<str>,
    has_level_after: bool,
}

/// A checked table.
#[derive(Debug)]
pub struct Pipeline {
    prefixes: Vec<Prefix>,
    names: HashMap<Box<str>, Box<str>>,
    channels: Vec<Channel>,
    /// By name in lower case: exports do not agree on capitals.
    channel_ids: HashMap<Box<str>, ChannelId>,
    classes: Vec<EventClass>,
    /// Events of a channel that is not in the table.
    other: ClassId,
}

impl Pipeline {
    /// Returns the table for Windows that is shipped.
    ///
    /// # Panics
    /// Never: a test reads it.
    #[expect(clippy::expect_used, reason = "the table is part of the program and a test reads it")]
    pub fn windows() -> Self {
        Self::parse(WINDOWS).expect("the shipped table is good")
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`PipelineError`], naming what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        let syntax = |error: toml::de::Error| PipelineError::Syntax(error.to_string().trim_end().into());
        let file: PipelineFile = toml::from_str(text).map_err(syntax)?;
        if file.channel.len() > MAX_CHANNELS {
            return Err(PipelineError::TooManyChannels { got: file.channel.len(), limit: MAX_CHANNELS });
        }
        let boxed = |text: String| text.into_boxed_str();
        let mut pipeline = Self {
            prefixes: file.prefixes.iter().map(|text| Prefix::new(text)).collect(),
            names: file.names.into_iter().map(|(old, new)| (boxed(old), boxed(new))).collect(),
            channels: Vec::new(),
            channel_ids: HashMap::default(),
            classes: Vec::new(),
            other: ClassId(0),
        };
        pipeline.other = pipeline.add_class("", &file.product, &[], &[])?;
        for channel in &file.channel {
            pipeline.add_channel(&file.product, channel)?;
        }
        Ok(pipeline)
    }

    fn add_channel(&mut self, product: &str, channel: &ChannelFile) -> Result<(), PipelineError> {
        let first = channel.names.first().map_or("", String::as_str);
        let any = self.add_class(first, product, &channel.services, &[])?;
        let mut by_id = HashMap::default();
        for (id, categories) in &channel.categories {
            by_id.insert(event_id(first, id)?, self.add_class(first, product, &channel.services, categories)?);
        }
        for (id, names) in &channel.also {
            let id = event_id(first, id)?;
            let class = match by_id.get(&id) {
                Some(class) => *class,
                None => self.add_class(first, product, &channel.services, &[])?,
            };
            by_id.insert(id, class);
            if let Some(class) = self.classes.get_mut(class.0 as usize) {
                class.also = names.iter().map(|(new, old)| (new.as_str().into(), old.as_str().into())).collect();
            }
        }
        // Bounded by MAX_CHANNELS.
        let id = ChannelId(u32::try_from(self.channels.len()).unwrap_or(u32::MAX));
        self.channels.push(Channel { any, by_id });
        for name in &channel.names {
            self.channel_ids.insert(name.to_ascii_lowercase().into_boxed_str(), id);
        }
        Ok(())
    }

    fn add_class(
        &mut self,
        channel: &str,
        product: &str,
        services: &[String],
        categories: &[String],
    ) -> Result<ClassId, PipelineError> {
        let services: Vec<&str> = services.iter().map(String::as_str).collect();
        let categories: Vec<&str> = categories.iter().map(String::as_str).collect();
        let logsource = Logsource::new(product, &services, &categories)
            .map_err(|error| PipelineError::Logsource { channel: channel.into(), what: error.to_string().into() })?;
        self.classes.push(EventClass { logsource, also: Vec::new() });
        // Bounded by MAX_CHANNELS and the length of the text.
        Ok(ClassId(u32::try_from(self.classes.len() - 1).unwrap_or(u32::MAX)))
    }

    /// Returns what a field is called: as in the table, else without a known prefix, else as it is.
    pub fn field_name<'a>(&'a self, name: &'a str) -> &'a str {
        if let Some(known) = self.names.get(name) {
            return known;
        }
        let short = self.prefixes.iter().find_map(|prefix| prefix.strip(name)).unwrap_or(name);
        self.names.get(short).map_or(short, |known| known)
    }

    /// Returns the channel of a name, whatever its capitals.
    pub fn channel(&self, name: &str) -> Option<ChannelId> {
        self.channel_ids.get(&*name.to_ascii_lowercase()).copied()
    }

    /// Returns the class of an event of a channel, by its id as it stands in the event.
    pub fn class_of(&self, channel: Option<ChannelId>, event_id: &str) -> ClassId {
        let Some(channel) = channel.and_then(|id| self.channels.get(id.0 as usize)) else { return self.other };
        let by_id = event_id.parse().ok().and_then(|id: u32| channel.by_id.get(&id));
        by_id.copied().unwrap_or(channel.any)
    }

    /// Returns a class.
    pub fn class(&self, id: ClassId) -> Option<&EventClass> {
        self.classes.get(id.0 as usize)
    }
}

impl Prefix {
    fn new(text: &str) -> Self {
        let before = text.strip_suffix("*.");
        Self { text: before.unwrap_or(text).into(), has_level_after: before.is_some() }
    }

    /// Returns what of a name is left without the prefix; `None` if nothing would be.
    fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&*self.text)?;
        let rest = if self.has_level_after { rest.split_once('.')?.1 } else { rest };
        Some(rest).filter(|rest| !rest.is_empty())
    }
}

impl ClassId {
    /// Returns the number, counted from 0 without holes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

fn event_id(channel: &str, text: &str) -> Result<u32, PipelineError> {
    text.parse().map_err(|_| PipelineError::EventId { channel: channel.into(), id: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn categories(channel: &str, id: &str) -> Vec<String> {
        let windows = Pipeline::windows();
        let class = windows.class(windows.class_of(windows.channel(channel), id)).unwrap();
        assert_eq!(class.logsource.product(), Some("windows"));
        class.logsource.categories().map(str::to_owned).collect()
    }

    #[test]
    fn channel_and_id_give_categories_whatever_the_capitals() {
        let sysmon = "Microsoft-Windows-Sysmon/Operational";
        assert_eq!(categories(sysmon, "13"), ["registry_event", "registry_set"]);
        assert_eq!(categories(&sysmon.to_uppercase(), "1"), ["process_creation"]);
        assert!(categories(sysmon, "77").is_empty());
        assert!(categories("no such channel", "1").is_empty());
        assert_eq!(categories("security", "4688"), ["process_creation"]);
    }

    #[test]
    fn fields_of_nested_exports_have_the_names_of_flat_ones() {
        let windows = Pipeline::windows();
        for (name, short) in [
            ("Event.EventData.Image", "Image"),
            ("winlog.event_data.CommandLine", "CommandLine"),
            ("winlog.event_id", "EventID"),
            ("Event.System.EventID.#text", "EventID"),
            ("Event.System.Channel", "Channel"),
            ("CommandLine", "CommandLine"),
            ("EventData.", "EventData."),
            ("Event.UserData.Operation_ClientFailure.PossibleCause", "PossibleCause"),
            ("Event.UserData.Operation_ClientFailure", "Operation_ClientFailure"),
            ("Event.EventData.Data.#text", "Data"),
        ] {
            assert_eq!(windows.field_name(name), short);
        }
    }

    #[test]
    fn faults_of_a_table_are_named() {
        let fault = |text: &str| Pipeline::parse(text).unwrap_err().to_string();
        assert!(fault("product = 1").contains("line 1"));
        assert!(fault("product = \"x\"\nfoo = 1").contains("foo"));
        let bad = "product = \"x\"\n[[channel]]\nnames = [\"A\"]\nservices = []\n[channel.categories]\nseven = []";
        assert_eq!(fault(bad), "channel \"A\" of the pipeline has \"seven\" where an event id must stand");
        let bad = "product = \"x\"\n[[channel]]\nnames = [\"A\"]\nservices = [\"a b\"]";
        assert!(fault(bad).contains("channel \"A\""));
    }
}
