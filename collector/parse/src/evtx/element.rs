//! Writes elements as JSON while they are read, without a tree in between.
//!
//! ```text
//! <EventID Qualifiers='0'>7</EventID>     "EventID":{"#attributes":{"Qualifiers":0},"#text":7}
//! <Data Name='Image'>C:\a.exe</Data>      "Image":"C:\\a.exe"
//! <Data>a</Data><Data>b</Data>            "Data":"a","Data":"b"
//! ```
//! The shape is the usual one of tools that turn event logs into JSON. An element that comes twice is
//! a key that comes twice, which our JSON reader takes as a list. Bounded in depth; the reader bounds
//! the length.

use crate::evtx::error::EvtxError;
use crate::evtx::value::Shape;

/// Deepest nesting of elements; the JSON reader takes 64 levels, of which `#attributes` is one.
const MAX_DEPTH: usize = 60;

/// How far an open element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// Its attributes are being read.
    Start,
    /// Nothing of it is written but its key.
    Fresh,
    /// It is an object with something in it.
    Object,
}

/// The text of an element or attribute as far as it is read.
#[derive(Debug, Default)]
struct Content {
    /// Values after one another are one text.
    text: String,
    shape: Option<Shape>,
    /// Items of a list, already JSON, with commas between.
    items: String,
}

/// Writes one event; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct ElementWriter {
    json: String,
    open: Vec<Body>,
    /// The name of the element that is being started.
    name: String,
    /// Its attributes, as members of an object.
    attributes: String,
    /// What it is called if it is a `Data` with a `Name`; else empty.
    data_name: String,
    /// The attribute that is being read.
    attribute: Option<String>,
    spare: String,
    content: Content,
}

impl ElementWriter {
    /// Forgets the event before.
    pub(super) fn begin_event(&mut self) {
        self.json.clear();
        self.json.push('{');
        self.open.clear();
        self.drop_attribute();
        self.content.clear();
    }

    /// Ends the event and returns it.
    pub(super) fn finish_event(&mut self, offset: usize) -> Result<&str, EvtxError> {
        if !self.open.is_empty() || self.json.len() <= 1 {
            return Err(EvtxError::Nesting { offset });
        }
        self.json.push('}');
        Ok(&self.json)
    }

    /// Returns how many bytes are written or about to be.
    pub(super) fn written(&self) -> usize {
        self.json.len() + self.attributes.len() + self.content.text.len() + self.content.items.len()
    }

    /// Begins an element; `name` appends its name.
    pub(super) fn open(&mut self, name: impl FnOnce(&mut String), offset: usize) -> Result<(), EvtxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(EvtxError::TooDeep { limit: MAX_DEPTH });
        }
        match self.open.last().copied() {
            Some(Body::Start) => return Err(EvtxError::Nesting { offset }),
            Some(Body::Fresh) => {
                self.json.push('{');
                if self.write_text_member() {
                    self.json.push(',');
                }
            }
            Some(Body::Object) => {
                self.json.push(',');
                if self.write_text_member() {
                    self.json.push(',');
                }
            }
            None => self.json.push_str(if self.json.len() > 1 { "," } else { "" }),
        }
        if let Some(parent) = self.open.last_mut() {
            *parent = Body::Object;
        }
        self.open.push(Body::Start);
        self.name.clear();
        name(&mut self.name);
        self.attributes.clear();
        self.data_name.clear();
        Ok(())
    }

    /// Begins an attribute of the element that is being started; `name` appends its name.
    pub(super) fn attribute(&mut self, name: impl FnOnce(&mut String), offset: usize) -> Result<(), EvtxError> {
        if self.open.last() != Some(&Body::Start) {
            return Err(EvtxError::Nesting { offset });
        }
        self.end_attribute();
        let mut attribute = std::mem::take(&mut self.spare);
        attribute.clear();
        name(&mut attribute);
        self.attribute = Some(attribute);
        Ok(())
    }

    /// Ends the start of an element: its attributes are read.
    pub(super) fn end_start(&mut self, offset: usize) -> Result<(), EvtxError> {
        if self.open.last() != Some(&Body::Start) {
            return Err(EvtxError::Nesting { offset });
        }
        self.end_attribute();
        let is_named = !self.data_name.is_empty();
        push_string(if is_named { &self.data_name } else { &self.name }, &mut self.json);
        self.json.push(':');
        let has_attributes = !self.attributes.is_empty() && !is_named;
        if has_attributes {
            self.json.push_str("{\"#attributes\":{");
            self.json.push_str(&self.attributes);
            self.json.push('}');
        }
        self.attributes.clear();
        if let Some(body) = self.open.last_mut() {
            *body = if has_attributes { Body::Object } else { Body::Fresh };
        }
        Ok(())
    }

    /// Ends the innermost element.
    pub(super) fn close(&mut self, offset: usize) -> Result<(), EvtxError> {
        if self.open.last() == Some(&Body::Start) {
            self.end_start(offset)?;
        }
        match self.open.pop() {
            Some(Body::Fresh) => self.content.write(&mut self.json),
            Some(Body::Object) => {
                if !self.content.is_empty() {
                    self.json.push(',');
                    self.write_text_member();
                }
                self.json.push('}');
            }
            Some(Body::Start) | None => return Err(EvtxError::Nesting { offset }),
        }
        self.content.clear();
        Ok(())
    }

    /// Adds text to the innermost element or the attribute; `write` appends it.
    pub(super) fn text(
        &mut self,
        offset: usize,
        write: impl FnOnce(&mut String) -> Result<Shape, EvtxError>,
    ) -> Result<(), EvtxError> {
        self.check_place(offset)?;
        let shape = write(&mut self.content.text)?;
        if shape != Shape::Null {
            self.content.shape = Some(if self.content.shape.is_none() { shape } else { Shape::Text });
        }
        Ok(())
    }

    /// Adds an item of a list to the innermost element or the attribute.
    pub(super) fn item(&mut self, shape: Shape, item: &str) {
        self.content.push_item(shape, item);
    }

    /// Says whether text may stand here.
    pub(super) fn check_place(&self, offset: usize) -> Result<(), EvtxError> {
        let is_right = match self.open.last() {
            None => false,
            Some(Body::Start) => self.attribute.is_some(),
            Some(Body::Fresh | Body::Object) => true,
        };
        if is_right { Ok(()) } else { Err(EvtxError::Nesting { offset }) }
    }

    fn end_attribute(&mut self) {
        let Some(attribute) = self.attribute.take() else { return };
        let is_data = matches!(self.name.as_str(), "Data" | "ComplexData");
        // An attribute without a value is not there; a name space says nothing about an event.
        if !self.content.is_empty() && !attribute.starts_with("xmlns") {
            if is_data && attribute == "Name" {
                self.data_name.clear();
                self.data_name.push_str(&self.content.text);
            } else {
                self.attributes.push_str(if self.attributes.is_empty() { "" } else { "," });
                push_string(&attribute, &mut self.attributes);
                self.attributes.push(':');
                self.content.write(&mut self.attributes);
            }
        }
        self.content.clear();
        self.spare = attribute;
    }

    fn drop_attribute(&mut self) {
        if let Some(attribute) = self.attribute.take() {
            self.spare = attribute;
        }
    }

    /// Writes the text of the innermost element as a member, if it has any.
    fn write_text_member(&mut self) -> bool {
        if self.content.is_empty() {
            return false;
        }
        self.json.push_str("\"#text\":");
        self.content.write(&mut self.json);
        self.content.clear();
        true
    }
}

impl Content {
    fn is_empty(&self) -> bool {
        self.shape.is_none() && self.items.is_empty()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.shape = None;
        self.items.clear();
    }

    fn push_item(&mut self, shape: Shape, item: &str) {
        self.items.push_str(if self.items.is_empty() { "" } else { "," });
        push_scalar(shape, item, &mut self.items);
    }

    /// Appends it as JSON.
    fn write(&mut self, out: &mut String) {
        if self.items.is_empty() {
            return push_scalar(self.shape.unwrap_or(Shape::Null), &self.text, out);
        }
        out.push('[');
        out.push_str(&self.items);
        if let Some(shape) = self.shape {
            out.push(',');
            push_scalar(shape, &self.text, out);
        }
        out.push(']');
    }
}

fn push_scalar(shape: Shape, text: &str, out: &mut String) {
    match shape {
        Shape::Null => out.push_str("null"),
        Shape::Plain => out.push_str(text),
        Shape::Text => push_string(text, out),
    }
}

/// Appends a string with its quotes.
fn push_string(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut rest = text;
    while let Some(place) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // What was found is ASCII, so both cuts are between letters.
        let (plain, special) = rest.split_at(place);
        let byte = special.bytes().next().unwrap_or_default();
        out.push_str(plain);
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                let digit = |half: u8| HEX.get(usize::from(half & 15)).map_or('0', |digit| char::from(*digit));
                out.push_str("\\u00");
                out.push(digit(byte >> 4));
                out.push(digit(byte));
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out.push('"');
}
