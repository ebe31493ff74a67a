//! Windows event logs as files: `.evtx` in, events as JSON text out.
//!
//! ```text
//!  file:  header 4 KiB │ chunk 64 KiB │ chunk 64 KiB │ ...      chunk.rs
//!  chunk: header 512 B │ record │ record │ ... │ free
//!  record: size, number, time │ BinXML: template + values       reader.rs, value.rs
//!                                     └─► element.rs ─► {"Event":{"System":{...},"EventData":{...}}}
//! ```
//! A chunk stands on its own, so chunks may be read by several threads. Names and templates are kept
//! once a chunk and referred to by their place in it; every such place is a stranger's and checked.

mod chunk;
mod cursor;
mod element;
mod error;
mod reader;
#[cfg(test)]
mod tests;
mod value;

pub use chunk::{
    EVTX_CHUNK_BYTES, EVTX_HEADER_BYTES, EVTX_MAGIC, EvtxChunk, EvtxRecord, EvtxRecords, evtx_chunks_start,
};
pub use error::EvtxError;
pub use reader::EvtxReader;
