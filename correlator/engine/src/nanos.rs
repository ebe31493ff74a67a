//! Time inside the engine: a plain number of nanoseconds, because a million of them are kept.

use std::time::Duration;

/// Nanoseconds since the Unix epoch, or between two moments.
pub(crate) type Nanos = i64;

/// Returns a span as nanoseconds, held at the end of the range.
pub(crate) fn nanos_of(span: Duration) -> Nanos {
    Nanos::try_from(span.as_nanos()).unwrap_or(Nanos::MAX)
}
