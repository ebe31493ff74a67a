//! The correlator's state as bytes and back.
//!
//! ```text
//! magic "CSN" │ version u8 │ postcard of { rules: [id, fingerprint], state }
//! ```
//!
//! State belongs to a rule by id and fingerprint: a rule that changed, or that is gone, loses its
//! state and the others keep theirs. Writing, reading and writing again gives the same bytes.
//! A snapshot is our own file under a checksum of the store; what is read is still not trusted to
//! be whole.

use canh_sigma::RuleSet;
use serde::{Deserialize, Serialize};

use crate::correlator::Correlator;
use crate::counters::RuleCounters;
use crate::limits::Limits;
use crate::machine::Machine;
use crate::plan::{MachineKind, Plan};
use crate::state::State;

const MAGIC: &[u8; 3] = b"CSN";
const VERSION: u8 = 1;

/// A snapshot that cannot be used. The correlator can still be built from the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes are no snapshot.
    #[error("not a correlator snapshot")]
    NotASnapshot,
    /// It was made by another release.
    #[error("a snapshot of version {got}, this release reads {VERSION}")]
    Version {
        /// The version in the bytes.
        got: u8,
    },
    /// The bytes are damaged.
    #[error("the snapshot is damaged")]
    Damaged(#[source] postcard::Error),
}

#[derive(Serialize, Deserialize)]
struct Stored<S> {
    rules: Vec<(String, [u64; 2], u32)>,
    state: S,
}

impl Correlator {
    /// Returns the whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let stored = Stored { rules: identities(self.plan()), state: &self.state };
        let bytes = [MAGIC.as_slice(), &[VERSION]].concat();
        // Writing to memory fails for no value of these types.
        postcard::to_extend(&stored, bytes).unwrap_or_default()
    }

    /// Returns a correlator for `rules` in the state of a snapshot. Rules whose definition is the
    /// same keep their state; the others begin anew.
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes cannot be used.
    pub fn restore(rules: &RuleSet, bytes: &[u8], limits: Limits) -> Result<Self, SnapshotError> {
        Self::new(rules, limits).with_snapshot(bytes)
    }

    pub(crate) fn with_snapshot(mut self, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(SnapshotError::NotASnapshot)?;
        let (version, rest) = rest.split_first().ok_or(SnapshotError::NotASnapshot)?;
        if *version != VERSION {
            return Err(SnapshotError::Version { got: *version });
        }
        let stored: Stored<State> = postcard::from_bytes(rest).map_err(SnapshotError::Damaged)?;
        let state = fit(self.plan(), stored);
        self.set_state(state);
        Ok(self)
    }
}

fn identities(plan: &Plan) -> Vec<(String, [u64; 2], u32)> {
    let machines = plan.machines.iter();
    machines.map(|machine| (machine.rule_id.clone(), machine.fingerprint, kind_code(&machine.kind))).collect()
}

/// A machine's state is of one kind; a rule of the same id may be a detection rule and a
/// correlation at once only by mistake, and is told apart by it.
fn kind_code(kind: &MachineKind) -> u32 {
    match kind {
        MachineKind::Unarmed => 0,
        MachineKind::Count { .. } => 1,
        MachineKind::Values { .. } => 2,
        MachineKind::CountAtClose { .. } => 3,
        MachineKind::ValuesAtClose { .. } => 4,
        MachineKind::Temporal { .. } => 5,
    }
}

/// Puts each machine's stored state where the plan has the same rule now.
fn fit(plan: &Plan, stored: Stored<State>) -> State {
    let Stored { rules, mut state } = stored;
    let wanted = identities(plan);
    if rules == wanted {
        return state;
    }
    let mut machines: Vec<Option<(Machine, RuleCounters)>> = std::mem::take(&mut state.machines)
        .into_iter()
        .zip(std::mem::take(&mut state.rule_counters))
        .map(Some)
        .collect();
    for (machine_plan, identity) in plan.machines.iter().zip(&wanted) {
        let place = rules.iter().position(|known| known == identity);
        let kept = place.and_then(|place| machines.get_mut(place)).and_then(Option::take);
        let (machine, counters) = kept.unwrap_or_else(|| (Machine::new(&machine_plan.kind), RuleCounters::default()));
        state.machines.push(machine);
        state.rule_counters.push(counters);
    }
    state.counters.state_bytes = state.machines.iter().map(|machine| machine.bytes() as u64).sum();
    state
}
