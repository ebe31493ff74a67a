//! What the fuzz targets share: the checks that hold for more than one of them, and what stands
//! between a fuzzer and the code it is to reach.
//!
//! * `rules.rs`, `events.rs`, `flows.rs`, `flattened.rs`, `journals.rs`: what must hold for whatever was read.
//! * `memory_fs.rs`: a file system in memory, so that a journal can be opened some thousand times a second.
//! * `mend.rs`: makes checksums fit again. A fuzzer does not guess them, and all that lies behind
//!   them would never be tried.

mod events;
mod flattened;
mod flows;
mod journals;
mod memory_fs;
mod mend;
mod rules;

pub use events::{FORMATS, parse_lines, walk_events};
pub use flattened::{FlatValue, flatten};
pub use flows::check_flow;
pub use journals::{OPTIONS, read_all, write_on};
pub use memory_fs::MemoryFs;
pub use mend::{SEGMENT_HEADER_BYTES, mend_frames, mend_packed, mend_records, segment_header, slot};
pub use rules::check_rules;
