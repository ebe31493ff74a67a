//! A rule as checked: what it says of itself and what it asks of an event. Made by
//! `RuleSet::load` only, so whoever holds one need not check again.

use std::fmt;

use canh_event::Logsource;

use crate::detection::Detection;

/// A rule's place in its `RuleSet`, and what a hit names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// How bad it is if the rule fires. Source: Sigma rules specification 2.1, "Level".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Enriches events; never an alert of its own.
    Informational,
    /// Notable, rarely an incident.
    Low,
    /// To be reviewed regularly. Also what a rule without a level is given.
    #[default]
    Medium,
    /// To be reviewed promptly.
    High,
    /// An incident, to be reviewed at once.
    Critical,
}

/// How far a rule can be trusted. Source: Sigma rules specification 2.1, "Status".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Fit for production.
    Stable,
    /// Mostly stable.
    Test,
    /// May be noisy.
    Experimental,
    /// Replaced by another rule.
    Deprecated,
    /// Not usable as it stands by everybody.
    Unsupported,
}

/// What a rule says about where its events come from. A part not named fits every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleLogsource {
    /// The product, such as `windows`.
    pub product: Option<String>,
    /// The service, such as `sshd`.
    pub service: Option<String>,
    /// The category, such as `process_creation`.
    pub category: Option<String>,
    /// What must be configured for the events to come; for people.
    pub definition: Option<String>,
}

/// A bond between two rules. Source: Sigma rules specification 2.1, "Identification".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The other rule's id.
    pub id: String,
    /// `derived`, `obsolete`, `merged`, `renamed`, `similar` or `correlation`.
    pub kind: String,
}

/// A detection rule: matched against one event at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The id; if the rule has none, its name, else its title in small letters and dashes.
    pub id: String,
    /// The title.
    pub title: String,
    /// The name correlations and filters may refer to it by.
    pub name: Option<String>,
    /// The level; medium if the rule states none.
    pub level: Level,
    /// The status.
    pub status: Option<Status>,
    /// The description; empty if there is none.
    pub description: String,
    /// The author; empty if there is none.
    pub author: String,
    /// Where the knowledge comes from.
    pub references: Vec<String>,
    /// The tags, such as `attack.t1059`.
    pub tags: Vec<String>,
    /// What else can look like this.
    pub falsepositives: Vec<String>,
    /// Fields an analyst will want to see.
    pub fields: Vec<String>,
    /// Other rules it is bound to.
    pub related: Vec<Related>,
    /// Which events it is for.
    pub logsource: RuleLogsource,
    /// The file it was read from.
    pub path: String,
    /// The line its document begins on.
    pub line: u32,
    /// What it asks of an event.
    pub detection: Detection,
}

impl Level {
    /// Every level, from the least.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns Sigma's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns the level of Sigma's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Status {
    /// Every status, from the most trusted.
    pub const ALL: [Self; 5] = [Self::Stable, Self::Test, Self::Experimental, Self::Deprecated, Self::Unsupported];

    /// Returns Sigma's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Test => "test",
            Self::Experimental => "experimental",
            Self::Deprecated => "deprecated",
            Self::Unsupported => "unsupported",
        }
    }

    /// Returns the status of Sigma's word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl RuleLogsource {
    /// Returns whether an event of this logsource is one the rule is for: each part that the rule
    /// names is the event's product, among its services, among its categories.
    pub fn applies_to(&self, event: &Logsource) -> bool {
        self.product.as_deref().is_none_or(|product| event.product() == Some(product))
            && self.service.as_deref().is_none_or(|service| event.has_service(service))
            && self.category.as_deref().is_none_or(|category| event.has_category(category))
    }

    /// Returns whether every part this one names is the same in `other`: how a filter says which
    /// rules it is for.
    pub fn covers(&self, other: &Self) -> bool {
        let same = |mine: &Option<String>, theirs: &Option<String>| mine.is_none() || mine == theirs;
        same(&self.product, &other.product)
            && same(&self.service, &other.service)
            && same(&self.category, &other.category)
    }
}

impl fmt::Display for RuleLogsource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}/{}/{}", or_any(&self.product), or_any(&self.service), or_any(&self.category))
    }
}
