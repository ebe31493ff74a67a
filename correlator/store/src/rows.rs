//! The rows of the view and how they lie in it.
//!
//! ```text
//! key    table u8 │ counter or id ... │ piece u16
//! value  pieces to come u16 │ part of: version u8 │ crc32c u32 │ JSON
//! ```
//!
//! A row is cut into pieces of at most 30 KiB, because sled moves larger values into files of
//! their own. Every row has a checksum over the whole, so what reads back is what was written.

use canh_incident::{Detection, DetectionId, HistoryEntry, Incident, IncidentNumber, Seat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::view::{Pair, View, ViewError, Write};

/// Longest value in the view, in bytes. sled puts values past its segment's fraction into blobs.
const PIECE_BYTES: usize = 30 << 10;

/// The version of the rows. Another one in the view means it is made again from the ledger.
const ROW_VERSION: u8 = 1;

const ROW_HEADER_BYTES: usize = 5;

/// The first byte of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Meta,
    Heads,
    Seats,
    Detections,
    History,
}

/// A row's key, without the piece number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey(Vec<u8>);

/// How far the view has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The last ledger record that is in the view.
    pub(crate) lsn: u64,
    /// Its chained hash, in hexadecimal: tells another ledger from this one.
    pub(crate) hash: String,
    /// The highest journal position of the records so far.
    pub(crate) position: u64,
}

/// Where a detection is, as a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatRow {
    pub(crate) number: IncidentNumber,
    pub(crate) place: u32,
    pub(crate) count: u64,
    /// The rule and its group: what `IncidentBook` looks the same group up by.
    pub(crate) group: String,
}

impl Table {
    const fn code(self) -> u8 {
        match self {
            Self::Meta => b'm',
            Self::Heads => b'h',
            Self::Seats => b's',
            Self::Detections => b'd',
            Self::History => b'y',
        }
    }
}

impl RowKey {
    pub(crate) fn progress() -> Self {
        Self::new(Table::Meta, &[b"progress"])
    }

    pub(crate) fn head(number: IncidentNumber) -> Self {
        Self::new(Table::Heads, &[&number.counter().to_be_bytes()])
    }

    pub(crate) fn seat(id: &DetectionId) -> Self {
        Self::new(Table::Seats, &[id.as_str().as_bytes()])
    }

    pub(crate) fn detection(number: IncidentNumber, place: u32) -> Self {
        Self::new(Table::Detections, &[&number.counter().to_be_bytes(), &place.to_be_bytes()])
    }

    pub(crate) fn history(number: IncidentNumber, version: u64) -> Self {
        Self::new(Table::History, &[&number.counter().to_be_bytes(), &version.to_be_bytes()])
    }

    fn new(table: Table, parts: &[&[u8]]) -> Self {
        let mut key = vec![table.code()];
        for part in parts {
            key.extend_from_slice(part);
        }
        Self(key)
    }

    fn piece(&self, piece: u16) -> Vec<u8> {
        [self.0.as_slice(), &piece.to_be_bytes()].concat()
    }

    /// Returns what follows the table in the key.
    fn rest(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    fn shown(&self) -> String {
        let digits: Vec<String> = self.0.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    fn damaged(&self, what: &'static str) -> ViewError {
        ViewError::Damaged { key: self.shown(), what }
    }
}

/// Returns a row, if it is there.
pub(crate) fn read_row<T: DeserializeOwned>(view: &impl View, key: &RowKey) -> Result<Option<T>, ViewError> {
    let Some(first) = view.get(&key.piece(0))? else { return Ok(None) };
    let (to_come, part) = split_piece(key, &first)?;
    let mut whole = part.to_vec();
    for piece in 1..=to_come {
        let next = view.get(&key.piece(piece))?.ok_or_else(|| key.damaged("a piece is missing"))?;
        whole.extend_from_slice(split_piece(key, &next)?.1);
    }
    open_row(key, &whole).map(Some)
}

/// Returns the writes that put a row's JSON in place of what is there.
pub(crate) fn write_row(view: &impl View, key: &RowKey, json: &[u8], writes: &mut Vec<Write>) -> Result<(), ViewError> {
    let mut whole = Vec::with_capacity(ROW_HEADER_BYTES + json.len());
    whole.push(ROW_VERSION);
    whole.extend_from_slice(&crc32c::crc32c(json).to_le_bytes());
    whole.extend_from_slice(json);
    let count = whole.chunks(PIECE_BYTES).count();
    let last = u16::try_from(count.saturating_sub(1)).map_err(|_| key.damaged("it is too long"))?;
    for (piece, part) in (0..=last).zip(whole.chunks(PIECE_BYTES)) {
        let value = [&(last - piece).to_le_bytes(), part].concat();
        writes.push((key.piece(piece), Some(value)));
    }
    // A row that has become shorter leaves no pieces behind.
    if let Some(before) = view.get(&key.piece(0))? {
        let (to_come, _) = split_piece(key, &before)?;
        writes.extend((last..to_come).map(|piece| (key.piece(piece + 1), None)));
    }
    Ok(())
}

fn split_piece<'v>(key: &RowKey, value: &'v [u8]) -> Result<(u16, &'v [u8]), ViewError> {
    let (to_come, part) = value.split_first_chunk::<2>().ok_or_else(|| key.damaged("a piece is cut short"))?;
    Ok((u16::from_le_bytes(*to_come), part))
}

fn open_row<T: DeserializeOwned>(key: &RowKey, whole: &[u8]) -> Result<T, ViewError> {
    let (header, json) =
        whole.split_first_chunk::<ROW_HEADER_BYTES>().ok_or_else(|| key.damaged("the row is cut short"))?;
    let [version, checksum @ ..] = *header;
    if version != ROW_VERSION {
        return Err(key.damaged("it is of another version"));
    }
    if crc32c::crc32c(json) != u32::from_le_bytes(checksum) {
        return Err(key.damaged("the checksum differs"));
    }
    serde_json::from_slice(json).map_err(|source| ViewError::Json { key: key.shown(), source })
}

/// Hands every row of a table, or of one incident in it, to `each`, in the order of the keys.
fn for_each_row<T: DeserializeOwned>(
    view: &impl View,
    prefix: &RowKey,
    mut each: impl FnMut(&RowKey, T) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    let mut under_way: Option<(RowKey, u16, Vec<u8>)> = None;
    for pair in view.scan(&prefix.0) {
        let (key, piece, value): (RowKey, u16, Vec<u8>) = split_key(pair?)?;
        let (to_come, part) = split_piece(&key, &value)?;
        let (started, expected, mut whole) = under_way.take().unwrap_or_else(|| (key.clone(), to_come, Vec::new()));
        let is_next = started == key && (piece == 0) == whole.is_empty() && to_come == expected;
        if !is_next {
            return Err(key.damaged("its pieces do not follow each other"));
        }
        whole.extend_from_slice(part);
        match to_come.checked_sub(1) {
            Some(next) => under_way = Some((started, next, whole)),
            None => each(&key, open_row(&key, &whole)?)?,
        }
    }
    match under_way {
        Some((key, _, _)) => Err(key.damaged("a piece is missing")),
        None => Ok(()),
    }
}

fn split_key((mut key, value): Pair) -> Result<(RowKey, u16, Vec<u8>), ViewError> {
    let piece = key.split_last_chunk::<2>().map(|(_, piece)| u16::from_be_bytes(*piece));
    let Some(piece) = piece else { return Err(RowKey(key).damaged("the key is cut short")) };
    key.truncate(key.len() - 2);
    Ok((RowKey(key), piece, value))
}

/// Returns every head, by counter.
pub(crate) fn read_heads(view: &impl View) -> Result<Vec<Incident>, ViewError> {
    let mut heads = Vec::new();
    for_each_row(view, &RowKey::new(Table::Heads, &[]), |_, head: Incident| {
        heads.push(head);
        Ok(())
    })?;
    Ok(heads)
}

/// Returns every seat.
pub(crate) fn read_seats(view: &impl View) -> Result<Vec<(DetectionId, Seat, String)>, ViewError> {
    let mut seats = Vec::new();
    for_each_row(view, &RowKey::new(Table::Seats, &[]), |key, row: SeatRow| {
        let id = serde_json::Value::String(String::from_utf8_lossy(key.rest()).into_owned());
        let id = serde_json::from_value(id).map_err(|source| ViewError::Json { key: key.shown(), source })?;
        seats.push((id, Seat { number: row.number, place: row.place, count: row.count }, row.group));
        Ok(())
    })?;
    Ok(seats)
}

/// Returns an incident's detections in the order they joined.
pub(crate) fn read_detections(view: &impl View, number: IncidentNumber) -> Result<Vec<Detection>, ViewError> {
    let mut detections = Vec::new();
    let prefix = RowKey::new(Table::Detections, &[&number.counter().to_be_bytes()]);
    for_each_row(view, &prefix, |_, detection| {
        detections.push(detection);
        Ok(())
    })?;
    Ok(detections)
}

/// Returns an incident's history, oldest first.
pub(crate) fn read_history(view: &impl View, number: IncidentNumber) -> Result<Vec<HistoryEntry>, ViewError> {
    let mut history = Vec::new();
    let prefix = RowKey::new(Table::History, &[&number.counter().to_be_bytes()]);
    for_each_row(view, &prefix, |_, entry| {
        history.push(entry);
        Ok(())
    })?;
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::MemoryView;
    use proptest::prelude::*;

    fn put(view: &mut MemoryView, key: &RowKey, text: &str) {
        let mut writes = Vec::new();
        write_row(view, key, serde_json::to_string(text).unwrap().as_bytes(), &mut writes).unwrap();
        assert!(writes.iter().all(|(_, value)| value.as_ref().is_none_or(|value| value.len() <= PIECE_BYTES + 2)));
        view.write(writes).unwrap();
    }

    #[test]
    fn a_row_that_becomes_shorter_leaves_nothing_behind() {
        let (mut view, key) = (MemoryView::default(), RowKey::new(Table::Heads, &[b"\0\0\0\x01"]));
        put(&mut view, &key, &"a".repeat(100_000));
        assert_eq!(view.0.len(), 4);
        put(&mut view, &key, "short");
        assert_eq!(view.0.len(), 1);
        assert_eq!(read_row::<String>(&view, &key).unwrap().unwrap(), "short");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (mut view, key) = (MemoryView::default(), RowKey::progress());
        put(&mut view, &key, "Nhật ký sự cố");
        let stored = view.0.values().next().unwrap().clone();
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            view.0.insert(key.piece(0), flipped);
            assert!(read_row::<String>(&view, &key).is_err(), "bit {bit}");
        }
        for length in 0..stored.len() {
            view.0.insert(key.piece(0), stored[..length].to_vec());
            assert!(read_row::<String>(&view, &key).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_missing_piece_is_seen_by_both_ways_of_reading() {
        let (mut view, key) = (MemoryView::default(), RowKey::new(Table::History, &[b"1234"]));
        put(&mut view, &key, &"a".repeat(100_000));
        for piece in 0..4 {
            let taken = view.0.remove(&key.piece(piece)).unwrap();
            let scanned = for_each_row(&view, &RowKey::new(Table::History, &[]), |_, _: String| Ok(()));
            assert!(scanned.is_err(), "piece {piece}");
            assert!(piece == 0 || read_row::<String>(&view, &key).is_err(), "piece {piece}");
            view.0.insert(key.piece(piece), taken);
        }
    }

    proptest! {
        #[test]
        fn rows_of_any_length_come_back_in_order(lengths in proptest::collection::vec(0..95_000_usize, 1..6)) {
            let mut view = MemoryView::default();
            for (place, length) in lengths.iter().enumerate() {
                let key = RowKey::new(Table::Heads, &[&u32::try_from(place).unwrap().to_be_bytes()]);
                put(&mut view, &key, &"ế".repeat(length / 3));
            }
            let mut found = Vec::new();
            for_each_row(&view, &RowKey::new(Table::Heads, &[]), |_, text: String| {
                found.push(text.len());
                Ok(())
            }).unwrap();
            let expected: Vec<usize> = lengths.iter().map(|length| length / 3 * 3).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
