//! The batch as bytes.
//!
//! ```text
//! magic "CEB" │ version u8 │ rows u32
//! times rows×i64 │ qualities rows×u8 │ received rows×i64 │ origin index rows×u16 │ logsource index rows×u16
//! raw ends rows×u32 │ raw bytes (length: the last end)
//! origins    count u32, each: agent, agency, host, source as texts (u32 length, UTF-8; empty = none)
//! logsources count u32, each: product text, service count u32, services as texts, category count u32,
//!            categories as texts
//! columns    count u32, each: name, value count u32, kinds values×u8, ends values×u32,
//!            placed u8, if it is 1 places values×u32, text bytes,
//!            cell count u32, rows cells×u16, codes cells×u16
//! ```
//! Little-endian throughout. Not compressed: the wire and the journal compress what they carry.
//!
//! A value that stands in a record as it is, as most long ones do (`Message` above all), is not written
//! twice: its place is where it begins in the raw bytes, 2^32-1 for a value that has none. The text
//! bytes are then those of the values without a place. Ends count all of them. Version 1 had no places.

use crate::batch::EventBatch;
use crate::codec::ByteWriter;
use crate::column::Column;
use crate::dictionary::{Dictionary, NO_PLACE};

/// First bytes of every encoded batch.
pub(crate) const MAGIC: &[u8; 3] = b"CEB";
/// Version written by this release.
pub(crate) const VERSION: u8 = 2;

impl EventBatch {
    /// Appends the batch as bytes; [`EventBatch::decode`] reads them back. Columns without cells, which
    /// only a builder's own batch can have, are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.raw(MAGIC);
        writer.u8(VERSION);
        writer.count(self.len());
        self.times.iter().for_each(|time| writer.i64(time.nanos()));
        self.qualities.iter().for_each(|quality| writer.u8(quality.code()));
        self.received.iter().for_each(|time| writer.i64(time.nanos()));
        self.row_origins.iter().for_each(|index| writer.u16(*index));
        self.row_logsources.iter().for_each(|index| writer.u16(*index));
        self.raw_ends.iter().for_each(|end| writer.u32(*end));
        writer.raw(&self.raw);
        self.encode_tables(&mut writer);
        let columns = || self.columns.iter().filter(|column| !column.cells.is_empty());
        writer.count(columns().count());
        columns().for_each(|column| encode_column(column, &mut writer));
    }

    fn encode_tables(&self, writer: &mut ByteWriter<'_>) {
        writer.count(self.origins.len());
        for origin in &self.origins {
            writer.text(origin.agent.as_ref().map_or("", |agent| agent.as_str()));
            writer.text(origin.agency.as_ref().map_or("", |agency| agency.as_str()));
            writer.text(&origin.host);
            writer.text(origin.source.as_ref().map_or("", |source| source.as_str()));
        }
        writer.count(self.logsources.len());
        for logsource in &self.logsources {
            writer.text(logsource.product().unwrap_or(""));
            writer.count(logsource.services().count());
            logsource.services().for_each(|service| writer.text(service));
            writer.count(logsource.categories().count());
            logsource.categories().for_each(|category| writer.text(category));
        }
    }
}

fn encode_column(column: &Column, writer: &mut ByteWriter<'_>) {
    writer.text(&column.name);
    encode_dictionary(&column.dictionary, writer);
    writer.count(column.cells.len());
    column.cells.iter().for_each(|cell| writer.u16(cell.row));
    column.cells.iter().for_each(|cell| writer.u16(cell.code));
}

fn encode_dictionary(dictionary: &Dictionary, writer: &mut ByteWriter<'_>) {
    writer.count(dictionary.len());
    dictionary.kinds.iter().for_each(|kind| writer.u8(kind.code()));
    dictionary.ends.iter().for_each(|end| writer.u32(*end));
    let is_placed = dictionary.places.iter().any(|place| *place != NO_PLACE);
    writer.u8(u8::from(is_placed));
    if !is_placed {
        return writer.raw(dictionary.text.as_bytes());
    }
    dictionary.places.iter().for_each(|place| writer.u32(*place));
    let mut start = 0;
    for (place, end) in dictionary.places.iter().zip(&dictionary.ends) {
        let end = *end as usize;
        if *place == NO_PLACE {
            writer.raw(dictionary.text.as_bytes().get(start..end).unwrap_or_default());
        }
        start = end;
    }
}
