//! How bad: the five levels of Sigma, used for detections and incidents alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A level, ordered from the least to the most severe.
///
/// Sigma rules specification 2.1, "Level".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record only: it never opens an incident, but may join one.
    Informational,
    /// Notable, rarely an incident by itself.
    Low,
    /// Relevant, to be looked at regularly. What a rule without a level has.
    #[default]
    Medium,
    /// To be looked at promptly.
    High,
    /// To be looked at at once.
    Critical,
}

/// A text that names no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a severity: {got:?} (informational, low, medium, high, critical)")]
pub struct SeverityError {
    got: String,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Returns its name in data; it never changes with the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the full name in any case, and the short forms analysts type: `info`, `med`, `crit`.
impl FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, SeverityError> {
        match text.to_ascii_lowercase().as_str() {
            "informational" | "info" => Ok(Self::Informational),
            "low" => Ok(Self::Low),
            "medium" | "med" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            "critical" | "crit" => Ok(Self::Critical),
            _ => Err(SeverityError { got: text.chars().take(40).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_ordered() {
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
            assert_eq!(serde_json::to_string(&severity).unwrap(), format!("\"{severity}\""));
        }
        assert!(Severity::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert!("severe".parse::<Severity>().is_err());
    }
}
