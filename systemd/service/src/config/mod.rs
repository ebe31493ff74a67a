//! Configuration: from a TOML file and a table of keys to checked values, or to every fault of the
//! file at once.

mod check;
mod convert;
mod fault;
mod key;
mod nearest;
mod quantity;
mod reference;
mod schema;
mod settings;

pub use fault::{ConfigFault, ConfigFaults};
pub use key::{Key, Kind, joined};
pub use schema::{MAX_CONFIG_BYTES, Schema};
pub use settings::{Change, Settings};
