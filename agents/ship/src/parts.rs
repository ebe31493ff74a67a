//! A batch in parts that fit a frame each, the end of a part that was received in part, and a part in
//! pieces for a collector that takes less at a time.

use std::collections::HashSet;
use std::ptr;

use canh_event::{GapReason, MAX_LEDGER_SOURCES, Record, RecordBatch, Source, SourceLoss};
use canh_wire::{DEFAULT_LEVEL, PackError, Packed, Packer, SAFE_BATCH_BYTES, Terms, UnpackError, Unpacker};

use crate::spooled::{Content, Part};

/// Room for the place in the stream that stands before the packed bytes of a frame.
const PLACE_BYTES: usize = 128;

/// Bytes of an encoded batch besides its sources and records.
const BATCH_OVERHEAD: usize = 16;
/// Bytes of an encoded record besides its own: time, source, cut mark, end.
const RECORD_OVERHEAD: usize = 15;
/// Bytes of an encoded source besides its texts: their lengths, the offset from UTC.
const SOURCE_OVERHEAD: usize = 20;

/// What a collector takes in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLimits {
    pub(crate) body_bytes: usize,
    pub(crate) raw_bytes: usize,
    pub(crate) records: usize,
}

/// A part cannot be cut.
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
    let content = Content::Records(packer.pack(batch)?);
    Ok(Part { count: u32::try_from(batch.len()).unwrap_or(u32::MAX), content })
}

/// Returns the part without its first `skip` records, which are not all.
pub(crate) fn trim(part: &Part, skip: u32) -> Result<Part, TrimError> {
    let packed = match &part.content {
        Content::Records(packed) => packed,
        Content::Lost { reason, .. } => {
            // Of which sources the rest is nobody knows.
            let content = Content::Lost { reason: *reason, sources: Vec::new() };
            return Ok(Part { count: part.count.saturating_sub(skip), content });
        }
    };
    let batch = Unpacker::try_new()?.unpack(packed, part.count)?;
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    Ok(pack_one(&mut Packer::try_new(DEFAULT_LEVEL)?, &run(&batch, skip, batch.len()))?)
}

/// Returns the part in pieces of which each is within the limits. A record that is not by itself is
/// lost: the collector takes nothing so long.
pub(crate) fn split(part: Part, limits: FrameLimits) -> Result<Vec<Part>, TrimError> {
    let packed = match &part.content {
        Content::Records(packed) if !limits.fits(packed, part.count) => packed,
        _ => return Ok(vec![part]),
    };
    let batch = Unpacker::try_new()?.unpack(packed, part.count)?;
    let (mut packer, mut pieces) = (Packer::try_new(DEFAULT_LEVEL)?, Vec::new());
    // Halves of halves, first ones first.
    let mut open = vec![(0, batch.len())];
    while let Some((from, to)) = open.pop() {
        let piece = pack_one(&mut packer, &run(&batch, from, to))?;
        let fits = matches!(&piece.content, Content::Records(packed) if limits.fits(packed, piece.count));
        if fits {
            pieces.push(piece);
        } else if to - from <= 1 {
            let content = Content::Lost { reason: GapReason::Oversize, sources: losses(&batch, from, to) };
            pieces.push(Part { count: piece.count, content });
        } else {
            let middle = from + (to - from) / 2;
            open.extend([(middle, to), (from, middle)]);
        }
    }
    Ok(pieces)
}

/// Returns of which sources the records of a part are; nothing if they cannot be read.
pub(crate) fn sources_of(part: &Part) -> Vec<SourceLoss> {
    match &part.content {
        Content::Lost { sources, .. } => sources.clone(),
        Content::Records(packed) => {
            let batch = Unpacker::try_new().and_then(|mut unpacker| unpacker.unpack(packed, part.count));
            batch.map_or_else(|_| Vec::new(), |batch| losses(&batch, 0, batch.len()))
        }
    }
}

fn losses(batch: &RecordBatch, from: usize, to: usize) -> Vec<SourceLoss> {
    let tallies = batch.tally(from, to).into_iter().take(MAX_LEDGER_SOURCES);
    let loss =
        tallies.map(|it| SourceLoss { source: it.source.clone(), count: it.count, first: it.first, last: it.last });
    loss.collect()
}

/// Returns the records of a batch from one place up to before another.
fn run(batch: &RecordBatch, from: usize, to: usize) -> RecordBatch {
    let mut piece = RecordBatch::new();
    (from..to).filter_map(|index| batch.get(index)).for_each(|record| add(&mut piece, &record));
    piece
}

impl FrameLimits {
    /// Returns the limits a collector has stated.
    pub(crate) fn of(terms: &Terms) -> Self {
        let size = |stated: u32| usize::try_from(stated).unwrap_or(usize::MAX);
        Self {
            body_bytes: size(terms.max_body_bytes),
            raw_bytes: size(terms.max_raw_bytes),
            records: size(terms.max_records),
        }
    }

    fn fits(self, packed: &Packed, count: u32) -> bool {
        let records = usize::try_from(count).unwrap_or(usize::MAX);
        let body = packed.bytes().len() + PLACE_BYTES;
        body <= self.body_bytes && packed.raw_len() <= self.raw_bytes && records <= self.records
    }
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

    fn packed(part: &Part) -> &Packed {
        match &part.content {
            Content::Records(packed) => packed,
            Content::Lost { .. } => panic!("{part:?}"),
        }
    }

    fn unpacked(parts: &[Part]) -> Vec<RecordBatch> {
        let mut unpacker = Unpacker::try_new().unwrap();
        parts.iter().map(|part| unpacker.unpack(packed(part), part.count).unwrap()).collect()
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
            assert!(parts.iter().all(|part| packed(part).raw_len() <= SAFE_BATCH_BYTES));
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

    #[test]
    fn a_collector_that_takes_less_gets_smaller_pieces_and_only_what_is_too_long_by_itself_is_lost() {
        let whole = batch(&[(100, 0), (200, 1), (5_000, 2), (300, 0), (400, 2)]);
        let part = pack(&mut Packer::try_new(1).unwrap(), &whole).unwrap().remove(0);
        let limits = FrameLimits { body_bytes: 2_000, raw_bytes: 3_000, records: 2 };
        let pieces = split(part.clone(), limits).unwrap();
        assert_eq!(pieces.iter().map(|piece| piece.count).sum::<u32>(), 5);
        let is_lost = |piece: &Part| matches!(piece.content, Content::Lost { reason: GapReason::Oversize, .. });
        let lost = pieces.iter().position(is_lost).unwrap();
        assert_eq!(pieces[..lost].iter().map(|piece| piece.count).sum::<u32>(), 2, "in its place");
        assert_eq!(sources_of(&pieces[lost])[0].source, source(2).name);
        let kept: Vec<Part> = pieces.into_iter().filter(|piece| !is_lost(piece)).collect();
        assert!(kept.iter().all(|piece| limits.fits(packed(piece), piece.count)));
        let mut expected = records(&[whole]);
        expected.remove(2);
        assert_eq!(records(&unpacked(&kept)), expected);
        let wide = FrameLimits { body_bytes: usize::MAX, raw_bytes: usize::MAX, records: 5 };
        assert_eq!(split(part.clone(), wide).unwrap(), [part]);
    }
}
