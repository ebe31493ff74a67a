//! Labels of agencies in metrics: their names, as many as a province has, and one word for the rest, so
//! that certificates cannot fill a monitoring system.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use canh_event::AgencyId;

/// Most agencies with a label of their own.
const MAX_LABELS: usize = 256;
/// The label of the rest. No agency can have it: a name begins with a letter or digit.
const OTHER: &str = "_other";

/// The agencies that have a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgencyLabels(Arc<Mutex<BTreeSet<AgencyId>>>);

impl AgencyLabels {
    /// Returns the label of an agency.
    pub(crate) fn label<'a>(&self, agency: &'a AgencyId) -> &'a str {
        let mut labelled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if labelled.contains(agency) {
            return agency.as_str();
        }
        if labelled.len() >= MAX_LABELS {
            return OTHER;
        }
        labelled.insert(agency.clone());
        agency.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_agencies_have_their_names_and_the_rest_share_a_word() {
        let labels = AgencyLabels::default();
        for number in 0..MAX_LABELS {
            let agency: AgencyId = format!("xa-{number}").parse().unwrap();
            assert_eq!(labels.label(&agency), agency.as_str());
        }
        assert_eq!(labels.label(&"one-more".parse().unwrap()), OTHER);
        assert_eq!(labels.label(&"xa-0".parse().unwrap()), "xa-0");
        assert!(OTHER.parse::<AgencyId>().is_err());
    }
}
