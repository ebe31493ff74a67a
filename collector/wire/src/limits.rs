//! The bounds of the wire, each with its reason. Both ends hold them.

use std::time::Duration;

use canh_event::{MAX_RAW_BYTES, MAX_RECORD_BYTES};

/// Bytes of a frame's header.
pub const FRAME_HEAD_BYTES: usize = 24;

/// Longest body on the wire: the longest record there is, incompressible, with its source and the
/// other sources of its batch beside it.
pub const MAX_BODY_BYTES: usize = MAX_RECORD_BYTES + (128 << 10);

/// Longest body of a frame that is no BATCH and names no sources: a HELLO of 16 streams is under 2 KiB.
pub const CONTROL_LIMIT: usize = 16 << 10;

/// Longest body of a GAP or an ACCOUNT: 256 sources with names of 255 bytes and every reason.
pub const LEDGER_LIMIT: usize = 128 << 10;

/// Longest batch once unpacked.
pub const MAX_RAW_BODY_BYTES: usize = MAX_RAW_BYTES;

/// An encoded record batch no longer than this fits a BATCH whatever it holds: packing adds at
/// most 1/256 and a few bytes, the place in the stream under 128.
pub const SAFE_BATCH_BYTES: usize = MAX_RECORD_BYTES + (96 << 10);

/// Highest ratio of raw to packed length, for batches too long to have come unpacked: what costs
/// the sender a byte must not cost the reader a kilobyte. As in rsyslog's imbeats.
pub const MAX_RATIO: usize = 256;

/// Largest zstd window, as a power of two: 8 MiB, the longest batch.
pub(crate) const WINDOW_LOG_MAX: u32 = 23;

/// Most streams of one connection.
pub const MAX_STREAMS: usize = 16;

/// Longest name of an agent's software and version in a HELLO.
pub(crate) const MAX_SOFTWARE_BYTES: usize = 63;

/// Most batches and gaps an agent has under way, whatever the window: both ends remember each.
pub(crate) const MAX_UNDER_WAY: usize = 1_024;

/// The usual window: raw bytes of one connection that may be under way unacknowledged.
pub const WINDOW_BYTES: u64 = 4 << 20;

/// How long before it is made a certificate begins to hold: clocks of agents may be behind.
pub const CERTIFICATE_SKEW: Duration = Duration::from_secs(300);

/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the handshake a HELLO may take.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a frame that has begun may take to be complete, apart from its length.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a quiet agent sends a PING.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long an end may be silent before the other hangs up: three PINGs missed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Slowest line an agent may sit behind, in bytes a second (128 kbit/s).
const SLOWEST_LINE: u64 = 16 << 10;

/// Returns how long a frame whose body has `body_bytes` may take to be complete: the fixed time,
/// and what its bytes need on the slowest line.
pub fn frame_deadline(body_bytes: usize) -> Duration {
    FRAME_TIMEOUT + Duration::from_secs(body_bytes as u64 / SLOWEST_LINE)
}
