//! The values of BinXML, written as Windows writes them. Source: [MS-EVEN6] section 2.2.12, "BinXml".
//!
//! Numbers keep being numbers; hexadecimal ones, GUIDs, SIDs and times are text. A kind with 0x80 added
//! is an array.

use std::fmt::{Arguments, Write};

use canh_event::Timestamp;

use crate::evtx::cursor::Cursor;
use crate::evtx::error::EvtxError;

pub(super) const KIND_NULL: u8 = 0x00;
pub(super) const KIND_TEXT: u8 = 0x01;
pub(super) const KIND_XML: u8 = 0x21;
const KIND_ANSI: u8 = 0x02;
const KIND_SID: u8 = 0x13;
const ARRAY: u8 = 0x80;

/// From 1601 to 1970, in units of 100 ns.
const UNIX_EPOCH_TICKS: u64 = 116_444_736_000_000_000;
/// Most numbers in a SID; [MS-DTYP] section 2.4.2 says 15, a byte can say 255.
const MAX_SID_PARTS: usize = 15;

/// A value in its chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawValue {
    pub(super) kind: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a value is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing.
    Null,
    /// A string.
    Text,
    /// A number or a truth value: stands as it is.
    Plain,
}

impl RawValue {
    /// Returns whether it is a list.
    pub(super) fn is_array(self) -> bool {
        self.kind & ARRAY != 0 && self.end > self.start
    }

    /// Appends the value to `out`, not escaped. It is no array and no XML.
    pub(super) fn write(self, chunk: &[u8], out: &mut String) -> Result<Shape, EvtxError> {
        let mut cursor = Cursor::new(chunk, self.start, self.end);
        write_item(self.kind, &mut cursor, self.end - self.start, out)
    }

    /// Calls `each` with every item of an array, not escaped, by way of `item`.
    pub(super) fn each_item(
        self,
        chunk: &[u8],
        item: &mut String,
        mut each: impl FnMut(Shape, &str),
    ) -> Result<(), EvtxError> {
        let kind = self.kind & !ARRAY;
        let mut cursor = Cursor::new(chunk, self.start, self.end);
        while !cursor.is_done() {
            item.clear();
            let stated = match kind {
                KIND_TEXT => bytes_to_nul::<2>(chunk, cursor.at(), self.end),
                KIND_ANSI => bytes_to_nul::<1>(chunk, cursor.at(), self.end),
                KIND_SID => sid_bytes(chunk, cursor.at()),
                _ => fixed_bytes(kind).unwrap_or(usize::MAX),
            };
            let bytes = stated.min(cursor.rest());
            let shape = write_item(kind, &mut cursor, bytes, item)?;
            each(shape, item);
        }
        Ok(())
    }
}

/// Returns the length of a kind that always has the same.
pub(super) fn fixed_bytes(kind: u8) -> Option<usize> {
    match kind {
        0x03 | 0x04 => Some(1),
        0x05 | 0x06 => Some(2),
        0x07 | 0x08 | 0x0b | 0x0d | 0x14 => Some(4),
        0x09 | 0x0a | 0x0c | 0x11 | 0x15 => Some(8),
        0x0f | 0x12 => Some(16),
        _ => None,
    }
}

/// Appends an item of a kind; one whose kind is not known or does not fit its length is written as
/// bytes, so that nothing of the event is lost.
fn write_item(kind: u8, cursor: &mut Cursor<'_>, bytes: usize, out: &mut String) -> Result<Shape, EvtxError> {
    if kind == KIND_NULL || (bytes == 0 && !matches!(kind, KIND_TEXT | KIND_ANSI)) {
        cursor.take(bytes)?;
        return Ok(Shape::Null);
    }
    match (kind, bytes) {
        (KIND_TEXT, _) => push_utf16(cursor.take(bytes)?, out),
        (KIND_ANSI, _) => push_ansi(cursor.take(bytes)?, out),
        (0x0f, 16) => push_guid(cursor.array()?, out),
        (0x11, 8) => push_file_time(cursor.u64()?, out),
        (0x12, 16) => push_system_time(cursor, out)?,
        (KIND_SID, 8..) => push_sid(cursor.take(bytes)?, out),
        (0x10 | 0x14, 4) => put(out, format_args!("{:#x}", u32::from_le_bytes(cursor.array()?))),
        (0x10 | 0x15, 8) => put(out, format_args!("{:#x}", cursor.u64()?)),
        _ => return write_number(kind, cursor, bytes, out),
    }
    Ok(Shape::Text)
}

/// Appends a number or truth value, or else the bytes.
fn write_number(kind: u8, cursor: &mut Cursor<'_>, bytes: usize, out: &mut String) -> Result<Shape, EvtxError> {
    match (kind, bytes) {
        (0x03, 1) => put(out, format_args!("{}", i8::from_le_bytes(cursor.array()?))),
        (0x04, 1) => put(out, format_args!("{}", cursor.u8()?)),
        (0x05, 2) => put(out, format_args!("{}", i16::from_le_bytes(cursor.array()?))),
        (0x06, 2) => put(out, format_args!("{}", cursor.u16()?)),
        (0x07, 4) => put(out, format_args!("{}", i32::from_le_bytes(cursor.array()?))),
        (0x08, 4) => put(out, format_args!("{}", u32::from_le_bytes(cursor.array()?))),
        (0x09, 8) => put(out, format_args!("{}", i64::from_le_bytes(cursor.array()?))),
        (0x0a, 8) => put(out, format_args!("{}", cursor.u64()?)),
        (0x0b, 4) => return Ok(push_real(f64::from(f32::from_le_bytes(cursor.array()?)), out)),
        (0x0c, 8) => return Ok(push_real(f64::from_le_bytes(cursor.array()?), out)),
        (0x0d, 4) => match i32::from_le_bytes(cursor.array()?) {
            0 => out.push_str("false"),
            1 => out.push_str("true"),
            // Some programs keep bits in a truth value.
            other => put(out, format_args!("{other}")),
        },
        _ => {
            cursor.take(bytes)?.iter().for_each(|byte| put(out, format_args!("{byte:02X}")));
            return Ok(Shape::Text);
        }
    }
    Ok(Shape::Plain)
}

fn put(out: &mut String, args: Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

fn push_real(number: f64, out: &mut String) -> Shape {
    put(out, format_args!("{number}"));
    if number.is_finite() { Shape::Plain } else { Shape::Text }
}

/// Appends UTF-16 text up to its first NUL; what is no text becomes U+FFFD.
pub(super) fn push_utf16(bytes: &[u8], out: &mut String) {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    out.extend(char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// Appends text of one byte a letter up to its first NUL. Which code page it is in is not said; bytes
/// above ASCII are read as Latin-1.
fn push_ansi(bytes: &[u8], out: &mut String) {
    out.extend(bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)));
}

fn push_guid(bytes: [u8; 16], out: &mut String) {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    out.push('{');
    for (place, index) in ORDER.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        put(out, format_args!("{:02x}", bytes.get(*index).copied().unwrap_or_default()));
    }
    out.push('}');
}

fn push_file_time(ticks: u64, out: &mut String) {
    let nanos = i128::from(ticks) - i128::from(UNIX_EPOCH_TICKS);
    match i64::try_from(nanos * 100) {
        Ok(nanos) => put(out, format_args!("{}", Timestamp::from_nanos(nanos))),
        Err(_) => put(out, format_args!("{ticks}")),
    }
}

fn push_system_time(cursor: &mut Cursor<'_>, out: &mut String) -> Result<(), EvtxError> {
    let [year, month, _weekday] = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
    let [day, hour, minute] = [cursor.u16()?, cursor.u16()?, cursor.u16()?];
    let [second, millis] = [cursor.u16()?, cursor.u16()?];
    put(out, format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"));
    Ok(())
}

/// Appends a SID. Source: [MS-DTYP] section 2.4.2.1.
fn push_sid(bytes: &[u8], out: &mut String) {
    let (head, parts) = bytes.split_at_checked(8).unwrap_or((bytes, &[]));
    let revision = head.first().copied().unwrap_or_default();
    let authority = head.iter().skip(2).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    put(out, format_args!("S-{revision}-{authority}"));
    let count = usize::from(head.get(1).copied().unwrap_or_default()).min(MAX_SID_PARTS);
    for part in parts.as_chunks::<4>().0.iter().take(count) {
        put(out, format_args!("-{}", u32::from_le_bytes(*part)));
    }
}

fn sid_bytes(chunk: &[u8], start: usize) -> usize {
    8 + 4 * chunk.get(start + 1).map_or(0, |count| usize::from(*count))
}

/// Returns the length of text up to and with its NUL, whose letters have `N` bytes.
fn bytes_to_nul<const N: usize>(chunk: &[u8], start: usize, end: usize) -> usize {
    let rest = chunk.get(start..end).unwrap_or_default();
    let letters = rest.as_chunks::<N>().0.iter().position(|unit| unit.iter().all(|byte| *byte == 0));
    letters.map_or(rest.len(), |letters| (letters + 1) * N)
}
