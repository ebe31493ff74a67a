//! How long a refused agent is asked to wait before it comes back.

use std::time::Duration;

use canh_wire::NackCode;

/// Returns the wait for a refusal: short where only order is to be found again, longer where
/// somebody or something has to change first.
pub(crate) const fn retry_after(code: NackCode) -> Duration {
    match code {
        NackCode::SequenceGap | NackCode::Unreadable => Duration::from_secs(1),
        NackCode::Overload | NackCode::Quota => Duration::from_secs(5),
        NackCode::Storage => Duration::from_secs(10),
        // Two machines with one name would take the stream from each other without end.
        NackCode::Superseded => Duration::from_secs(30),
        _ => Duration::from_secs(60),
    }
}
