//! Bytes back into a batch, trusting none of them: every count is held against its bound before
//! anything is allocated, every index against what it points into.

use crate::batch::{EventBatch, Origin};
use crate::codec::{ByteReader, DecodeError};
use crate::column::{Cell, Column};
use crate::dictionary::{Dictionary, NO_PLACE};
use crate::encode::{MAGIC, VERSION};
use crate::ids::{IdError, SourceName};
use crate::limits::{
    MAX_BATCH_ROWS, MAX_CELLS, MAX_COLUMNS, MAX_DICTIONARY_BYTES, MAX_FIELD_NAME_BYTES, MAX_LOGSOURCE_NAMES,
    MAX_RAW_BYTES, MAX_TABLE_ENTRIES, MAX_VALUES_PER_COLUMN,
};
use crate::logsource::Logsource;
use crate::time::{TimeQuality, Timestamp};
use crate::value::ValueKind;

/// The version before places.
const VERSION_WITHOUT_PLACES: u8 = 1;

/// What is left of the bounds that hold over all columns together.
struct Budget {
    cells: usize,
    text: usize,
}

/// What a column is held against.
struct Surroundings<'a> {
    version: u8,
    rows: usize,
    raw: &'a [u8],
}

impl EventBatch {
    /// Reads a batch that [`EventBatch::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where; never a panic, never more memory than a
    /// small multiple of `bytes` and the bound on values.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        let (version, rows) = decode_head(&mut reader)?;
        let mut batch = decode_rows(&mut reader, rows)?;
        batch.origins = decode_origins(&mut reader)?;
        batch.logsources = decode_logsources(&mut reader)?;
        check_indices(&batch.row_origins, batch.origins.len(), "origin index", &reader)?;
        check_indices(&batch.row_logsources, batch.logsources.len(), "logsource index", &reader)?;
        let columns = reader.count(MAX_COLUMNS, "column count")?;
        let mut budget = Budget { cells: MAX_CELLS, text: MAX_DICTIONARY_BYTES };
        let around = Surroundings { version, rows, raw: &batch.raw };
        for _ in 0..columns {
            batch.columns.push(decode_column(&mut reader, &around, &mut budget)?);
        }
        let mut names: Vec<&str> = batch.columns.iter().map(Column::name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(DecodeError::Invalid { what: "column name given twice", offset: reader.offset() });
        }
        reader.finish("end of batch")?;
        Ok(batch)
    }

    /// Reads only which source each row is of, as runs of equal ones: what a count by source needs.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode_sources(bytes: &[u8]) -> Result<Vec<(Option<SourceName>, u64)>, DecodeError> {
        let mut reader = ByteReader::new(bytes);
        let (_, rows) = decode_head(&mut reader)?;
        // Times, qualities, times: see `encode.rs`.
        reader.take(rows * 17, "times")?;
        let row_origins = decode_u16s(&mut reader, rows, "origin indices")?;
        decode_u16s(&mut reader, rows, "logsource indices")?;
        let length = decode_ends(&mut reader, rows, MAX_RAW_BYTES, "raw ends")?.last().map_or(0, |end| *end as usize);
        reader.take(length, "raw records")?;
        let origins = decode_origins(&mut reader)?;
        check_indices(&row_origins, origins.len(), "origin index", &reader)?;
        let runs = row_origins.chunk_by(|left, right| left == right);
        let named = runs.map(|run| {
            let origin = run.first().and_then(|index| origins.get(usize::from(*index)));
            (origin.and_then(|origin| origin.source.clone()), run.len() as u64)
        });
        Ok(named.collect())
    }

    /// Returns how many rows an encoded batch has, from its first eight bytes.
    pub(crate) fn decode_len(bytes: &[u8]) -> Result<usize, DecodeError> {
        decode_head(&mut ByteReader::new(bytes)).map(|(_, rows)| rows)
    }
}

/// Reads magic, version and row count.
fn decode_head(reader: &mut ByteReader<'_>) -> Result<(u8, usize), DecodeError> {
    if reader.take(MAGIC.len(), "batch magic")? != MAGIC {
        return Err(DecodeError::Invalid { what: "batch magic", offset: 0 });
    }
    let version = reader.u8("batch version")?;
    if version != VERSION && version != VERSION_WITHOUT_PLACES {
        return Err(DecodeError::Version { what: "an event batch", got: version, known: VERSION });
    }
    Ok((version, reader.count(MAX_BATCH_ROWS, "row count")?))
}

fn decode_rows(reader: &mut ByteReader<'_>, rows: usize) -> Result<EventBatch, DecodeError> {
    let mut batch = EventBatch { times: decode_times(reader, rows)?, ..EventBatch::default() };
    let offset = reader.offset();
    let qualities = reader.take(rows, "time qualities")?.iter();
    let qualities: Option<Vec<_>> = qualities.map(|code| TimeQuality::from_code(*code)).collect();
    batch.qualities = qualities.ok_or(DecodeError::Invalid { what: "time quality", offset })?;
    batch.received = decode_times(reader, rows)?;
    batch.row_origins = decode_u16s(reader, rows, "origin indices")?;
    batch.row_logsources = decode_u16s(reader, rows, "logsource indices")?;
    batch.raw_ends = decode_ends(reader, rows, MAX_RAW_BYTES, "raw ends")?;
    let length = batch.raw_ends.last().map_or(0, |end| *end as usize);
    batch.raw = reader.take(length, "raw records")?.to_vec();
    Ok(batch)
}

fn decode_times(reader: &mut ByteReader<'_>, rows: usize) -> Result<Vec<Timestamp>, DecodeError> {
    let (chunks, _) = reader.take(rows * 8, "times")?.as_chunks::<8>();
    Ok(chunks.iter().map(|chunk| Timestamp::from_nanos(i64::from_le_bytes(*chunk))).collect())
}

fn decode_u16s(reader: &mut ByteReader<'_>, count: usize, what: &'static str) -> Result<Vec<u16>, DecodeError> {
    let (chunks, _) = reader.take(count * 2, what)?.as_chunks::<2>();
    Ok(chunks.iter().map(|chunk| u16::from_le_bytes(*chunk)).collect())
}

/// Reads ends of slices in an arena: none smaller than the one before, none past `limit`.
fn decode_ends(
    reader: &mut ByteReader<'_>,
    count: usize,
    limit: usize,
    what: &'static str,
) -> Result<Vec<u32>, DecodeError> {
    let offset = reader.offset();
    let (chunks, _) = reader.take(count * 4, what)?.as_chunks::<4>();
    let ends: Vec<u32> = chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect();
    if !ends.is_sorted() {
        return Err(DecodeError::Invalid { what, offset });
    }
    match ends.last() {
        Some(end) if *end as usize > limit => {
            Err(DecodeError::OverLimit { what, got: u64::from(*end), limit: limit as u64 })
        }
        _ => Ok(ends),
    }
}

fn check_indices(
    indices: &[u16],
    entries: usize,
    what: &'static str,
    reader: &ByteReader<'_>,
) -> Result<(), DecodeError> {
    if indices.iter().all(|index| usize::from(*index) < entries) {
        return Ok(());
    }
    Err(DecodeError::Invalid { what, offset: reader.offset() })
}

/// Reads a name that may be empty, meaning there is none.
fn decode_name<T: std::str::FromStr<Err = IdError>>(
    reader: &mut ByteReader<'_>,
    what: &'static str,
) -> Result<Option<T>, DecodeError> {
    let offset = reader.offset();
    match reader.text(255, what)? {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| DecodeError::Invalid { what, offset }),
    }
}

fn decode_origins(reader: &mut ByteReader<'_>) -> Result<Vec<Origin>, DecodeError> {
    let count = reader.count(MAX_TABLE_ENTRIES, "origin count")?;
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin {
            agent: decode_name(reader, "agent name")?,
            agency: decode_name(reader, "agency name")?,
            host: Box::from(reader.text(255, "host name")?),
            source: decode_name(reader, "source name")?,
        });
    }
    Ok(origins)
}

fn decode_logsources(reader: &mut ByteReader<'_>) -> Result<Vec<Logsource>, DecodeError> {
    let count = reader.count(MAX_TABLE_ENTRIES, "logsource count")?;
    let mut logsources = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let product = reader.text(63, "product")?;
        let services = decode_logsource_names(reader, "service")?;
        let categories = decode_logsource_names(reader, "category")?;
        let logsource = Logsource::new(product, &services, &categories);
        logsources.push(logsource.map_err(|_| DecodeError::Invalid { what: "logsource", offset })?);
    }
    Ok(logsources)
}

fn decode_logsource_names<'a>(reader: &mut ByteReader<'a>, what: &'static str) -> Result<Vec<&'a str>, DecodeError> {
    let count = reader.count(MAX_LOGSOURCE_NAMES, what)?;
    (0..count).map(|_| reader.text(63, what)).collect()
}

fn decode_column(
    reader: &mut ByteReader<'_>,
    around: &Surroundings<'_>,
    budget: &mut Budget,
) -> Result<Column, DecodeError> {
    let name = Box::from(reader.text(MAX_FIELD_NAME_BYTES, "column name")?);
    let dictionary = decode_dictionary(reader, around, budget)?;
    let offset = reader.offset();
    let count = reader.count(budget.cells, "cell count")?;
    budget.cells -= count;
    let cell_rows = decode_u16s(reader, count, "cell rows")?;
    let codes = decode_u16s(reader, count, "cell codes")?;
    let in_range = cell_rows.last().is_none_or(|row| usize::from(*row) < around.rows)
        && codes.iter().all(|code| usize::from(*code) < dictionary.len());
    if !cell_rows.is_sorted() || !in_range {
        return Err(DecodeError::Invalid { what: "cells", offset });
    }
    let cells = cell_rows.into_iter().zip(codes).map(|(row, code)| Cell { row, code }).collect();
    Ok(Column { name, dictionary, cells })
}

fn decode_dictionary(
    reader: &mut ByteReader<'_>,
    around: &Surroundings<'_>,
    budget: &mut Budget,
) -> Result<Dictionary, DecodeError> {
    let count = reader.count(MAX_VALUES_PER_COLUMN, "value count")?;
    let offset = reader.offset();
    let kinds: Option<Vec<_>> = reader.take(count, "kinds")?.iter().map(|code| ValueKind::from_code(*code)).collect();
    let kinds = kinds.ok_or(DecodeError::Invalid { what: "value kind", offset })?;
    let ends = decode_ends(reader, count, budget.text, "value ends")?;
    budget.text -= ends.last().map_or(0, |end| *end as usize);
    let is_placed = around.version > VERSION_WITHOUT_PLACES && reader.u8("places mark")? != 0;
    if is_placed {
        let places = decode_places(reader, count)?;
        let text = gather(reader, &ends, &places, around.raw)?;
        return Ok(Dictionary { text, ends, kinds, places });
    }
    let length = ends.last().map_or(0, |end| *end as usize);
    let offset = reader.offset();
    let text = std::str::from_utf8(reader.take(length, "values")?);
    let text = text.map_err(|_| DecodeError::Invalid { what: "values", offset })?;
    if !ends.iter().all(|end| text.is_char_boundary(*end as usize)) {
        return Err(DecodeError::Invalid { what: "value ends", offset });
    }
    Ok(Dictionary { text: text.to_owned(), ends, kinds, places: vec![NO_PLACE; count] })
}

fn decode_places(reader: &mut ByteReader<'_>, count: usize) -> Result<Vec<u32>, DecodeError> {
    let (chunks, _) = reader.take(count * 4, "places")?.as_chunks::<4>();
    Ok(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect())
}

/// Puts the values together, each from the raw bytes or from the text that follows.
fn gather(reader: &mut ByteReader<'_>, ends: &[u32], places: &[u32], raw: &[u8]) -> Result<String, DecodeError> {
    let mut text = String::with_capacity(ends.last().map_or(0, |end| *end as usize));
    for (end, place) in ends.iter().zip(places) {
        let length = *end as usize - text.len();
        let offset = reader.offset();
        let bytes = if *place == NO_PLACE {
            reader.take(length, "values")?
        } else {
            let placed = raw.get(*place as usize..).and_then(|rest| rest.get(..length));
            placed.ok_or(DecodeError::Invalid { what: "value place", offset })?
        };
        text.push_str(std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { what: "values", offset })?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
