//! Reads the BinXML of a record and writes it as JSON. Source: [MS-EVEN6] sections 2.2.12 to 2.2.17,
//! and for names and templates within a chunk the description of the format by J. Metz (libevtx).
//!
//! ```text
//! record ─► template instance ─► definition (once a chunk): elements with holes
//!                          └──► values, which fill the holes; a value may be BinXML itself
//! ```
//! All lengths and places are a stranger's. Bounded: the depth of templates in templates, the steps of
//! a record and of a chunk (a few bytes may ask for the same template again and again), and the text
//! that comes out of both.

use crate::evtx::chunk::{EvtxChunk, EvtxRecord};
use crate::evtx::cursor::Cursor;
use crate::evtx::element::ElementWriter;
use crate::evtx::error::EvtxError;
use crate::evtx::value::{KIND_NULL, KIND_TEXT, KIND_XML, RawValue, Shape, fixed_bytes, push_utf16};

/// Deepest nesting of templates and of BinXML in values.
const MAX_TEMPLATE_DEPTH: usize = 16;
/// Most steps of a record: tokens and values. Real ones need some hundred.
const MAX_RECORD_STEPS: usize = 32_768;
/// Most steps of a chunk's records together.
const MAX_CHUNK_STEPS: usize = 1 << 20;
/// Longest text of one event. A record has at most 64 KiB, but a template may use a value twice.
const MAX_EVENT_BYTES: usize = 512 << 10;
/// Most text of a chunk's events together.
const MAX_CHUNK_TEXT_BYTES: usize = 8 << 20;

/// A template's header before its definition: next template, GUID, length.
const TEMPLATE_GUID_BYTES: usize = 16;

/// Reads records; keeps its buffers.
#[derive(Debug, Default)]
pub struct EvtxReader {
    writer: ElementWriter,
    values: Vec<RawValue>,
    item: String,
    record_steps: usize,
    chunk_steps: usize,
    chunk_text_bytes: usize,
}

/// What the BinXML under way belongs to.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Where its values begin among all that are kept.
    first_value: usize,
    value_count: usize,
    /// Whether it is a template's definition: only there have elements a dependency number.
    is_definition: bool,
    depth: usize,
}

impl EvtxReader {
    /// Returns a reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a chunk: what its records may cost is counted anew.
    pub fn begin_chunk(&mut self) {
        self.chunk_steps = 0;
        self.chunk_text_bytes = 0;
    }

    /// Returns a record as one JSON object.
    ///
    /// # Errors
    /// [`EvtxError`] if the record is broken or asks for more than the bounds allow.
    pub fn json(&mut self, chunk: &EvtxChunk<'_>, record: &EvtxRecord) -> Result<&str, EvtxError> {
        self.record_steps = 0;
        self.values.clear();
        self.writer.begin_event();
        let cursor = Cursor::new(chunk.bytes, record.start, record.end);
        let frame = Frame { first_value: 0, value_count: 0, is_definition: false, depth: 0 };
        let read = self.fragment(chunk.bytes, cursor, frame);
        self.chunk_text_bytes += self.writer.written();
        read?;
        self.writer.finish_event(record.end)
    }

    /// Reads tokens up to the end of the cursor or an end token; returns the place after it.
    fn fragment(&mut self, chunk: &[u8], mut cursor: Cursor<'_>, frame: Frame) -> Result<usize, EvtxError> {
        if frame.depth > MAX_TEMPLATE_DEPTH {
            return Err(EvtxError::TooDeep { limit: MAX_TEMPLATE_DEPTH });
        }
        while !cursor.is_done() {
            self.step()?;
            let offset = cursor.at();
            let token = cursor.u8()?;
            match token {
                0x00 => break,
                0x01 | 0x41 => self.element(chunk, &mut cursor, frame, token == 0x41)?,
                0x02 => self.writer.end_start(offset)?,
                0x03 | 0x04 => self.writer.close(offset)?,
                0x05 | 0x45 => self.literal(chunk, &mut cursor, frame)?,
                0x06 | 0x46 => {
                    let name = name(chunk, &mut cursor)?;
                    self.writer.attribute(|out| push_utf16(name, out), offset)?;
                }
                0x07 | 0x47 => {
                    let text = cursor.counted_text()?;
                    self.writer.text(offset, |out| {
                        push_utf16(text, out);
                        Ok(Shape::Text)
                    })?;
                }
                0x08 | 0x48 => {
                    let unit = cursor.array::<2>()?;
                    self.writer.text(offset, |out| {
                        push_utf16(&unit, out);
                        Ok(Shape::Text)
                    })?;
                }
                0x09 | 0x49 => {
                    let name = name(chunk, &mut cursor)?;
                    self.writer.text(offset, |out| {
                        push_entity(name, out);
                        Ok(Shape::Text)
                    })?;
                }
                // Processing instructions say nothing about an event.
                0x0a => drop(name(chunk, &mut cursor)?),
                0x0b => drop(cursor.counted_text()?),
                0x0c => self.template(chunk, &mut cursor, frame)?,
                0x0d | 0x0e => self.substitution(chunk, &mut cursor, frame)?,
                0x0f => drop(cursor.take(3)?),
                _ => return Err(EvtxError::Token { offset, token }),
            }
        }
        Ok(cursor.at())
    }

    fn element(
        &mut self,
        chunk: &[u8],
        cursor: &mut Cursor<'_>,
        frame: Frame,
        has_attributes: bool,
    ) -> Result<(), EvtxError> {
        let offset = cursor.at();
        if frame.is_definition {
            cursor.u16()?;
        }
        let _length = cursor.place()?;
        let name = name(chunk, cursor)?;
        if has_attributes {
            let _length = cursor.place()?;
        }
        self.writer.open(|out| push_utf16(name, out), offset)
    }

    /// Reads a value that stands in the text itself.
    fn literal(&mut self, chunk: &[u8], cursor: &mut Cursor<'_>, frame: Frame) -> Result<(), EvtxError> {
        let offset = cursor.at();
        let kind = cursor.u8()?;
        let bytes = match kind {
            KIND_TEXT => usize::from(cursor.u16()?) * 2,
            KIND_XML => usize::from(cursor.u16()?),
            _ => fixed_bytes(kind).ok_or(EvtxError::Value { offset, kind })?,
        };
        let start = cursor.at();
        cursor.take(bytes)?;
        self.value(chunk, RawValue { kind, start, end: start + bytes }, frame)
    }

    /// Fills a hole of a template.
    fn substitution(&mut self, chunk: &[u8], cursor: &mut Cursor<'_>, frame: Frame) -> Result<(), EvtxError> {
        let index = usize::from(cursor.u16()?);
        let _kind = cursor.u8()?;
        if index >= frame.value_count {
            return Ok(());
        }
        match self.values.get(frame.first_value + index).copied() {
            Some(value) => self.value(chunk, value, frame),
            None => Ok(()),
        }
    }

    fn value(&mut self, chunk: &[u8], value: RawValue, frame: Frame) -> Result<(), EvtxError> {
        if value.kind == KIND_NULL {
            return Ok(());
        }
        if value.kind == KIND_XML {
            let inner = Frame { first_value: 0, value_count: 0, is_definition: false, depth: frame.depth + 1 };
            self.fragment(chunk, Cursor::new(chunk, value.start, value.end), inner)?;
            return Ok(());
        }
        if value.is_array() {
            self.writer.check_place(value.start)?;
            let Self { writer, item, .. } = self;
            value.each_item(chunk, item, |shape, item| writer.item(shape, item))?;
        } else {
            self.writer.text(value.start, |out| value.write(chunk, out))?;
        }
        Ok(())
    }

    /// Reads a template instance: its values, then its definition with them.
    fn template(&mut self, chunk: &[u8], cursor: &mut Cursor<'_>, frame: Frame) -> Result<(), EvtxError> {
        let _version = cursor.u8()?;
        let _identity = cursor.place()?;
        let place = cursor.place()?;
        let definition = definition(chunk, place)?;
        if place == cursor.at() {
            // The first use of a template in a chunk holds its definition.
            cursor.take(definition.at() - place)?;
            cursor.take(definition.rest())?;
        }
        let first_value = self.values.len();
        let table_bytes = cursor.place()?.saturating_mul(4);
        let table_start = cursor.at();
        cursor.take(table_bytes)?;
        let mut table = Cursor::new(chunk, table_start, table_start + table_bytes);
        while !table.is_done() {
            self.step()?;
            let bytes = usize::from(table.u16()?);
            let [kind, _] = table.array()?;
            let start = cursor.at();
            cursor.take(bytes)?;
            self.values.push(RawValue { kind, start, end: start + bytes });
        }
        let inner = Frame {
            first_value,
            value_count: self.values.len() - first_value,
            is_definition: true,
            depth: frame.depth + 1,
        };
        let read = self.fragment(chunk, definition, inner);
        self.values.truncate(first_value);
        read.map(drop)
    }

    /// Counts a token or value before it is read. What one adds is bounded by the chunk, so that it is
    /// soon enough to look at the length of the text before the next.
    fn step(&mut self) -> Result<(), EvtxError> {
        self.record_steps += 1;
        self.chunk_steps += 1;
        if self.record_steps > MAX_RECORD_STEPS {
            return Err(EvtxError::TooManySteps { limit: MAX_RECORD_STEPS });
        }
        if self.chunk_steps > MAX_CHUNK_STEPS {
            return Err(EvtxError::TooManySteps { limit: MAX_CHUNK_STEPS });
        }
        let written = self.writer.written();
        if written > MAX_EVENT_BYTES {
            return Err(EvtxError::TooLong { limit: MAX_EVENT_BYTES });
        }
        if self.chunk_text_bytes + written > MAX_CHUNK_TEXT_BYTES {
            return Err(EvtxError::TooLong { limit: MAX_CHUNK_TEXT_BYTES });
        }
        Ok(())
    }
}

/// Reads a reference to a name, and the name if this is where it stands; returns its UTF-16 text.
fn name<'a>(chunk: &'a [u8], cursor: &mut Cursor<'_>) -> Result<&'a [u8], EvtxError> {
    let place = cursor.place()?;
    let mut named = Cursor::new(chunk, place, chunk.len());
    let [_next, _hash] = [named.take(4)?, named.take(2)?];
    let text = named.counted_text()?;
    named.take(2)?;
    if place == cursor.at() {
        cursor.take(named.at() - place)?;
    }
    Ok(text)
}

/// Returns a template's definition.
fn definition(chunk: &[u8], place: usize) -> Result<Cursor<'_>, EvtxError> {
    let mut header = Cursor::new(chunk, place, chunk.len());
    let _next = header.place()?;
    header.take(TEMPLATE_GUID_BYTES)?;
    let length = header.place()?;
    let start = header.at();
    header.take(length)?;
    Ok(Cursor::new(chunk, start, start + length))
}

/// Appends what an entity stands for; one that XML does not define stays as it is.
fn push_entity(name: &[u8], out: &mut String) {
    let start = out.len();
    push_utf16(name, out);
    let letter = match out.get(start..) {
        Some("amp") => '&',
        Some("lt") => '<',
        Some("gt") => '>',
        Some("quot") => '"',
        Some("apos") => '\'',
        _ => return,
    };
    out.truncate(start);
    out.push(letter);
}
