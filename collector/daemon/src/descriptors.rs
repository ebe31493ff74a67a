//! File descriptors: one for each connection, so the soft limit a service starts with (1,024, kept low
//! for programs that use `select`) is raised to what the unit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is no connection: segments, cursors, the runtime, metrics.
const OWN: u64 = 64;

/// Raises the limit as far as it goes, and says so if it is too low for the connections allowed.
pub(crate) fn raise_limit(connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OWN;
    let allowed = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    // No limit at all is enough.
    let Some(current) = current else { return };
    let limit = Rlimit { current: Some(current.max(allowed)), maximum };
    let now = match setrlimit(Resource::Nofile, limit) {
        Ok(()) => current.max(allowed),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current
        }
    };
    if now < wanted {
        tracing::warn!(
            limit = now,
            wanted,
            "fewer files may be open than limits.connections needs; raise LimitNOFILE in the unit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile).current;
        raise_limit(16);
        let after = getrlimit(Resource::Nofile).current;
        assert!(before <= after || after.is_none(), "{before:?} {after:?}");
    }
}
