//! A batch in parts that fit a frame each, and the end of a part that was received in part.

use std::collections::HashSet;
use std::ptr;

use canh_event::{Record, RecordBatch, Source};
use canh_wire::{DEFAULT_LEVEL, PackError, Packer, SAFE_BATCH_BYTES, UnpackError, Unpacker};

use crate::spooled::Part;

/// Bytes of an encoded batch besides its sources and records.
const BATCH_OVERHEAD: usize = 16;
/// Bytes of an encoded record besides its own: time, source, cut mark, end.
const RECORD_OVERHEAD: usize = 15;
/// Bytes of an encoded source besides its texts: their lengths, the offset from UTC.
const SOURCE_OVERHEAD: usize = 20;

/// A part whose first records were received already cannot be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrimError {
    /// What was spooled cannot be unpacked.
    #[error("spooled records cannot be unpacked")]
    Unpack(#[from] UnpackError),
    /// What is left cannot be packed.
    #[error("records cannot be packed")]
    Pack(#[from] PackError),
}

/// Packs a batch, in as many parts as it takes for each to fit a frame whatever it holds.
pub(crate) fn pack(packer: &mut Packer, batch: &RecordBatch) -> Result<Vec<Part>, PackError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    if len_at_most(batch) <= SAFE_BATCH_BYTES {
        return Ok(vec![pack_one(packer, batch)?]);
    }
    let ends = ends_of_parts(batch);
    let mut parts = Vec::new();
    let mut records = batch.iter();
    let mut start = 0;
    for end in ends {
        let mut piece = RecordBatch::new();
        records.by_ref().take(end - start).for_each(|record| add(&mut piece, &record));
        parts.push(pack_one(packer, &piece)?);
        start = end;
    }
    Ok(parts)
}

fn pack_one(packer: &mut Packer, batch: &RecordBatch) -> Result<Part, PackError> {
    Ok(Part { count: u32::try_from(batch.len()).unwrap_or(u32::MAX), packed: packer.pack(batch)? })
}

/// Returns the part without its first `skip` records.
pub(crate) fn trim(part: &Part, skip: u32) -> Result<Part, TrimError> {
    let batch = Unpacker::try_new()?.unpack(&part.packed, part.count)?;
    let mut rest = RecordBatch::new();
    for record in batch.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
        add(&mut rest, &record);
    }
    Ok(pack_one(&mut Packer::try_new(DEFAULT_LEVEL)?, &rest)?)
}

/// Returns how long the encoding of a batch is at most.
fn len_at_most(batch: &RecordBatch) -> usize {
    let sources: usize = batch.sources().iter().map(cost_of).sum();
    BATCH_OVERHEAD + sources + RECORD_OVERHEAD * batch.len() + batch.byte_len()
}

/// Returns where each part ends, as numbers of records.
fn ends_of_parts(batch: &RecordBatch) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut sources: HashSet<*const Source> = HashSet::new();
    let mut bytes = BATCH_OVERHEAD;
    for (index, record) in batch.iter().enumerate() {
        let own = RECORD_OVERHEAD + record.bytes.len();
        let mut cost = own + if sources.contains(&ptr::from_ref(record.source)) { 0 } else { cost_of(record.source) };
        if bytes > BATCH_OVERHEAD && bytes + cost > SAFE_BATCH_BYTES {
            ends.push(index);
            sources.clear();
            (bytes, cost) = (BATCH_OVERHEAD, own + cost_of(record.source));
        }
        sources.insert(ptr::from_ref(record.source));
        bytes += cost;
    }
    ends.push(batch.len());
    ends
}

fn cost_of(source: &Source) -> usize {
    SOURCE_OVERHEAD + source.name.as_str().len() + source.host.len() + source.format.as_str().len()
}

/// Adds a record of another batch.
fn add(batch: &mut RecordBatch, record: &Record<'_>) {
    let added = batch.source(record.source).and_then(|source| batch.push(source, record.received, record.bytes));
    // It comes from a batch within the same bounds, and this one holds no more than that.
    debug_assert!(added.is_ok(), "a part of a batch is within the bounds of a batch");
    if record.is_cut {
        batch.mark_last_cut();
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Timestamp;

    use super::*;

    fn source(n: usize) -> Source {
        Source {
            name: format!("/{}{n}", "s".repeat(240)).parse().unwrap(),
            host: Box::from("h".repeat(255)),
            format: "auto".parse().unwrap(),
            utc_offset_secs: 0,
        }
    }

    /// Bytes that do not pack.
    fn noise(len: usize, seed: usize) -> Vec<u8> {
        let mut state = seed as u64 + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    fn batch(records: &[(usize, usize)]) -> RecordBatch {
        let mut batch = RecordBatch::new();
        for (n, (len, from)) in records.iter().enumerate() {
            let id = batch.source(&source(*from)).unwrap();
            batch.push(id, Timestamp::from_secs(i64::try_from(n).unwrap()), &noise(*len, n)).unwrap();
            if n % 7 == 0 {
                batch.mark_last_cut();
            }
        }
        batch
    }

    fn records(batches: &[RecordBatch]) -> Vec<(Vec<u8>, String, bool, i64)> {
        let all = batches.iter().flat_map(RecordBatch::iter);
        all.map(|record| {
            (record.bytes.to_vec(), record.source.name.to_string(), record.is_cut, record.received.nanos())
        })
        .collect()
    }

    fn unpacked(parts: &[Part]) -> Vec<RecordBatch> {
        let mut unpacker = Unpacker::try_new().unwrap();
        parts.iter().map(|part| unpacker.unpack(&part.packed, part.count).unwrap()).collect()
    }

    #[test]
    fn any_batch_is_packed_into_parts_that_hold_it_whole() {
        let many_sources: Vec<_> = (0..4_096).map(|n| (n % 50, n)).collect();
        let again: Vec<_> = (0..4_096).map(|n| (300, n % 1_000)).collect();
        let shapes = [vec![], vec![(0, 0)], vec![(1 << 20, 0); 8], vec![(2_000, 1); 4_096], many_sources, again];
        for (shape, least) in shapes.into_iter().zip([0, 1, 8, 7, 2, 2]) {
            let batch = batch(&shape);
            let parts = pack(&mut Packer::try_new(1).unwrap(), &batch).unwrap();
            assert!(parts.len() >= least && parts.len() <= least + 1, "{} parts, {least} expected", parts.len());
            assert!(parts.iter().all(|part| part.packed.raw_len() <= SAFE_BATCH_BYTES));
            assert_eq!(records(&unpacked(&parts)), records(&[batch]));
        }
    }

    #[test]
    fn trimmed_part_holds_the_rest() {
        let whole = batch(&[(10, 0), (20, 1), (30, 0), (40, 2)]);
        let part = pack(&mut Packer::try_new(1).unwrap(), &whole).unwrap().remove(0);
        let rest = trim(&part, 3).unwrap();
        assert_eq!(rest.count, 1);
        assert_eq!(records(&unpacked(&[rest])), records(&[whole])[3..]);
    }
}
