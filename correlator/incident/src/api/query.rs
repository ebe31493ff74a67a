//! Which incidents: the filter of a list, as it stands in the query string.

use std::fmt;

use canh_event::AgencyId;
use serde::{Deserialize, Serialize};

use crate::incident::Incident;
use crate::number::IncidentNumber;
use crate::severity::Severity;
use crate::state::IncidentState;

/// How many incidents a page has if nothing is said.
pub const DEFAULT_LIMIT: usize = 50;

/// Most incidents of one page.
pub const MAX_LIMIT: usize = 1_000;

/// A filter: all given parts must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentQuery {
    /// One of these states; empty for any.
    pub states: Vec<IncidentState>,
    /// At least this severe.
    pub min_severity: Option<Severity>,
    /// Whose: a name, or `none`.
    pub owner: Option<String>,
    /// The agency concerned.
    #[serde(with = "crate::as_text::option", default)]
    pub agency: Option<AgencyId>,
    /// The id of the rule that gives it its title; a final `*` stands for anything.
    pub rule: Option<String>,
    /// The value of something it is about, such as an address.
    pub entity: Option<String>,
    /// Most incidents of the page.
    pub limit: usize,
    /// Only incidents before this one: the `next` of the page before.
    pub after: Option<IncidentNumber>,
}

/// A query string that is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A key that does not exist.
    #[error("there is no filter {key:?} (state, severity, owner, agency, rule, entity, limit, after)")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A value that does not fit its key.
    #[error("{value:?} is no value for {key}: {reason}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        reason: String,
    },
}

impl Default for IncidentQuery {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            min_severity: None,
            owner: None,
            agency: None,
            rule: None,
            entity: None,
            limit: DEFAULT_LIMIT,
            after: None,
        }
    }
}

impl IncidentQuery {
    /// Reads the pairs of a query string, already percent-decoded. `state` takes several names
    /// with commas between, and `open` for all that are not closed; an empty value is no filter.
    ///
    /// # Errors
    /// [`QueryError`] for the first pair that cannot be understood.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for (key, value) in pairs {
            if !value.is_empty() {
                query.set(key, value)?;
            }
        }
        Ok(query)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), QueryError> {
        match key {
            "state" => self.states = parse_states(value)?,
            "severity" => self.min_severity = Some(read("severity", value)?),
            "owner" => self.owner = Some(value.to_owned()),
            "agency" => self.agency = Some(read("agency", value)?),
            "rule" => self.rule = Some(value.to_owned()),
            "entity" => self.entity = Some(value.to_owned()),
            "limit" => self.limit = read::<usize>("limit", value)?.clamp(1, MAX_LIMIT),
            "after" => self.after = Some(read("after", value)?),
            _ => return Err(QueryError::UnknownKey { key: key.chars().take(40).collect() }),
        }
        Ok(())
    }

    /// Returns the pairs that [`IncidentQuery::from_pairs`] reads back; the values are not
    /// percent-encoded yet.
    pub fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        let mut add = |key, value: Option<String>| pairs.extend(value.map(|value| (key, value)));
        let states: Vec<&str> = self.states.iter().map(|state| state.as_str()).collect();
        add("state", Some(states.join(",")).filter(|text| !text.is_empty()));
        add("severity", self.min_severity.map(|severity| severity.to_string()));
        add("owner", self.owner.clone());
        add("agency", self.agency.as_ref().map(ToString::to_string));
        add("rule", self.rule.clone());
        add("entity", self.entity.clone());
        add("limit", Some(self.limit.to_string()));
        add("after", self.after.map(|number| number.to_string()));
        pairs
    }

    /// Returns whether an incident passes the filter; `limit` and `after` are not asked.
    pub fn matches(&self, incident: &Incident) -> bool {
        let owner_fits = |wanted: &String| match wanted.as_str() {
            "none" => incident.owner.is_none(),
            name => incident.owner.as_deref() == Some(name),
        };
        let rule_fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(prefix) => incident.rule_id.starts_with(prefix),
            None => incident.rule_id == *wanted,
        };
        (self.states.is_empty() || self.states.contains(&incident.state))
            && self.min_severity.is_none_or(|least| incident.severity >= least)
            && self.owner.as_ref().is_none_or(owner_fits)
            && self.agency.as_ref().is_none_or(|agency| incident.agency.as_ref() == Some(agency))
            && self.rule.as_ref().is_none_or(rule_fits)
            && self.entity.as_ref().is_none_or(|value| incident.entities.iter().any(|found| found.value == *value))
    }
}

fn parse_states(value: &str) -> Result<Vec<IncidentState>, QueryError> {
    let mut states = Vec::new();
    for word in value.split(',') {
        match word {
            "open" => states.extend(IncidentState::ALL.into_iter().filter(|state| state.is_open())),
            "all" => states.extend(IncidentState::ALL),
            word => states.push(read("state", word)?),
        }
    }
    states.sort();
    states.dedup();
    Ok(states)
}

fn read<T>(key: &'static str, value: &str) -> Result<T, QueryError>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    let shown = || value.chars().take(80).collect();
    value.parse().map_err(|error: T::Err| QueryError::BadValue { key, value: shown(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_back() {
        let pairs = [("state", "new,ack"), ("severity", "high"), ("agency", "so-tttt"), ("after", "INC-26-000017")];
        let query = IncidentQuery::from_pairs(pairs).unwrap();
        assert_eq!(query.states, [IncidentState::New, IncidentState::Acknowledged]);
        let written = query.to_pairs();
        let again = IncidentQuery::from_pairs(written.iter().map(|(key, value)| (*key, value.as_str())));
        assert_eq!(again, Ok(query));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let error = IncidentQuery::from_pairs([("sate", "new")]).unwrap_err();
        assert!(error.to_string().contains("sate"));
        for (key, value) in [("state", "done"), ("severity", "9"), ("limit", "many"), ("after", "17"), ("agency", "A")]
        {
            assert!(IncidentQuery::from_pairs([(key, value)]).is_err(), "{key}={value}");
        }
        assert_eq!(IncidentQuery::from_pairs([("limit", "100000")]).unwrap().limit, MAX_LIMIT);
        assert_eq!(IncidentQuery::from_pairs([("owner", "")]).unwrap(), IncidentQuery::default());
    }
}
