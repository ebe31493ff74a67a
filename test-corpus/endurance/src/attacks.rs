//! Who was attacked from where: each address refuses a few passwords in a row, at least as many as
//! the rule asks for, so each must become one incident.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::ensure;

use crate::api::Incidents;
use crate::chance::Chance;
use crate::line::{self, refused_password};
use crate::oracle::Oracle;

/// Refused passwords from one address: what the rule asks for, and some more.
const LEAST: u64 = 5;
const MOST: u64 = 9;

/// All attacks of a run.
#[derive(Debug, Default)]
pub(crate) struct Attacks {
    /// Refused passwords by address.
    events: BTreeMap<String, u64>,
}

impl Attacks {
    /// Returns the lines of an attack from an address that was not used before.
    pub(crate) fn next(&mut self, host: &str, oracle: &mut Oracle, chance: &mut Chance) -> Vec<(u64, String)> {
        let number = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)).saturating_add(number));
        let count = chance.between(LEAST, MOST);
        self.events.insert(address.to_string(), count);
        (0..count).map(|_| oracle.issue(|id| refused_password(line::now(), host, id, address))).collect()
    }

    /// Returns how many there were.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Holds incidents against the attacks: each has become one incident with one detection, and
    /// nothing else has. A detection says its last count only once event time has moved on, so it may
    /// be short of what happened; more than that it must never count.
    ///
    /// # Errors
    /// It is not so.
    pub(crate) fn check(&self, incidents: &Incidents) -> anyhow::Result<()> {
        let addresses: BTreeSet<&str> = incidents.values().map(|incident| incident.address.as_str()).collect();
        ensure!(addresses.len() == incidents.len(), "{} incidents are about {}", incidents.len(), addresses.len());
        for address in self.events.keys() {
            ensure!(addresses.contains(address.as_str()), "the attack from {address} has become no incident");
        }
        for (number, incident) in incidents {
            let happened = self.events.get(&incident.address).copied().unwrap_or(0);
            ensure!(
                incident.detections == 1 && (LEAST..=happened).contains(&incident.events),
                "{number} is not what happened from {}: {happened} events, {incident:?}",
                incident.address
            );
        }
        Ok(())
    }
}
