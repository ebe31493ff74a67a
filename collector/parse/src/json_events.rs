//! Reads one JSON object as an event: its fields by the names that rules use, and its logsource.
//!
//! Comes in: a line. Goes out: the tokens of `json_reader`, the name of each field after the
//! pipeline, and the logsource: what channel and event id stand for, or what the fields `product`,
//! `service` and `category` say, or nothing. What a field is called is looked up once for each
//! path, not once for each event.

use canh_event::{Logsource, Value};
use foldhash::HashMap;

use crate::json_paths::PathId;
use crate::json_reader::{JsonError, JsonReader, JsonToken};
use crate::pipeline::{ChannelId, ClassId, EventClass, Pipeline};

/// Most spellings of channel names remembered.
const MAX_CHANNELS: usize = 1_024;
/// Longest channel name remembered, in bytes.
const MAX_CHANNEL_BYTES: usize = 255;

/// What a field is to the event beside being a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    None,
    Channel,
    EventId,
    Product,
    Service,
    Category,
}

#[derive(Debug)]
struct Field {
    name: Box<str>,
    role: Role,
}

/// Where the values that decide the logsource are: the first of each.
#[derive(Clone, Copy, Debug, Default)]
struct Deciding {
    channel: Option<JsonToken>,
    event_id: Option<JsonToken>,
    product: Option<JsonToken>,
    service: Option<JsonToken>,
    category: Option<JsonToken>,
}

/// The last logsource made of what an event says itself: lines of one source all say the same.
#[derive(Debug, Default)]
struct Said {
    names: [String; 3],
    logsource: Logsource,
}

/// What the event last read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Class(ClassId),
    Said,
}

/// Reads event after event; keeps its buffers, names of fields and spellings of channels.
#[derive(Debug)]
pub struct JsonEvents {
    reader: JsonReader,
    pipeline: Pipeline,
    fields: Vec<Field>,
    generation: u64,
    channels: HashMap<Box<str>, Option<ChannelId>>,
    said: Said,
    known: Known,
    unknown: Logsource,
    buffer: String,
}

impl Default for JsonEvents {
    fn default() -> Self {
        Self::new(Pipeline::windows())
    }
}

impl JsonEvents {
    /// Returns a reader of events that a pipeline describes.
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            reader: JsonReader::new(),
            pipeline,
            fields: Vec::new(),
            generation: 0,
            channels: HashMap::default(),
            said: Said::default(),
            known: Known::Nothing,
            unknown: Logsource::unknown(),
            buffer: String::new(),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`JsonError`] if the line is not one object within the bounds; nothing of it is to be used.
    pub fn read(&mut self, line: &str) -> Result<(), JsonError> {
        self.reader.read(line)?;
        if self.generation != self.reader.generation() {
            self.generation = self.reader.generation();
            self.fields.clear();
        }
        let deciding = self.find_deciding();
        self.known = self.decide(line, deciding);
        Ok(())
    }

    /// Returns the values of the event, in the order of the text.
    pub fn tokens(&self) -> &[JsonToken] {
        self.reader.tokens()
    }

    /// Returns the number of the field that was the `index`th to be seen.
    ///
    /// # Contract
    /// A token with such a number was read since the numbers were last given anew.
    pub fn path(&self, index: usize) -> PathId {
        PathId::at(index)
    }

    /// Returns what the field of a token is called.
    pub fn name(&self, path: PathId) -> &str {
        self.fields.get(path.index()).map_or("", |field| &*field.name)
    }

    /// Returns how often the numbers of fields were given anew: a [`PathId`] means something else
    /// after.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the event's logsource.
    pub fn logsource(&self) -> &Logsource {
        match self.known {
            Known::Class(id) => self.pipeline.class(id).map_or(&self.unknown, |class| &class.logsource),
            Known::Said => &self.said.logsource,
            Known::Nothing => &self.unknown,
        }
    }

    /// Returns the event's class, if channel and event id gave it its logsource.
    pub fn class_id(&self) -> Option<ClassId> {
        match self.known {
            Known::Class(id) => Some(id),
            Known::Said | Known::Nothing => None,
        }
    }

    /// Returns the second names of fields that the event's class has: (new, old).
    pub fn also(&self) -> &[(Box<str>, Box<str>)] {
        let class = self.class_id().and_then(|id| self.pipeline.class(id));
        class.map_or(&[], |class: &EventClass| &class.also)
    }

    /// Notes names of new fields and finds the values that decide the logsource.
    fn find_deciding(&mut self) -> Deciding {
        let mut deciding = Deciding::default();
        for token in self.reader.tokens() {
            let index = token.path().index();
            while self.fields.len() <= index {
                let path = PathId::at(self.fields.len());
                let name = self.pipeline.field_name(self.reader.name(path));
                self.fields.push(Field { name: Box::from(name), role: role_of(name) });
            }
            let slot = match self.fields.get(index).map_or(Role::None, |field| field.role) {
                Role::None => continue,
                Role::Channel => &mut deciding.channel,
                Role::EventId => &mut deciding.event_id,
                Role::Product => &mut deciding.product,
                Role::Service => &mut deciding.service,
                Role::Category => &mut deciding.category,
            };
            slot.get_or_insert(*token);
        }
        deciding
    }

    fn decide(&mut self, line: &str, deciding: Deciding) -> Known {
        if let (Some(channel), Some(event_id)) = (deciding.channel, deciding.event_id) {
            let mut buffer = std::mem::take(&mut self.buffer);
            let channel = self.channel(channel.value(line, &mut buffer).text);
            let class = self.pipeline.class_of(channel, event_id.value(line, &mut buffer).text);
            self.buffer = buffer;
            return Known::Class(class);
        }
        let tokens = [deciding.product, deciding.service, deciding.category];
        if tokens.iter().all(Option::is_none) {
            return Known::Nothing;
        }
        self.say(line, tokens);
        Known::Said
    }

    fn channel(&mut self, name: &str) -> Option<ChannelId> {
        if let Some(known) = self.channels.get(name) {
            return *known;
        }
        let channel = self.pipeline.channel(name);
        if name.len() <= MAX_CHANNEL_BYTES {
            if self.channels.len() >= MAX_CHANNELS {
                self.channels.clear();
            }
            self.channels.insert(Box::from(name), channel);
        }
        channel
    }

    /// Makes the logsource an event says it is; a wrong name costs its own part only.
    fn say(&mut self, line: &str, tokens: [Option<JsonToken>; 3]) {
        let mut is_same = true;
        for (name, token) in self.said.names.iter_mut().zip(tokens) {
            let value = token.map_or(Value::NULL, |token| token.value(line, &mut self.buffer));
            if *name != value.text {
                name.clear();
                name.push_str(value.text);
                is_same = false;
            }
        }
        if !is_same {
            let [product, service, category] = self.said.names.each_ref().map(|name| valid(name));
            self.said.logsource = Logsource::new(product, &[service], &[category]).unwrap_or_default();
        }
    }
}

fn valid(name: &str) -> &str {
    if Logsource::new(name, &[], &[]).is_ok() { name } else { "" }
}

fn role_of(name: &str) -> Role {
    match name {
        "Channel" => Role::Channel,
        "EventID" => Role::EventId,
        "product" => Role::Product,
        "service" => Role::Service,
        "category" => Role::Category,
        _ => Role::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(events: &JsonEvents, line: &str) -> Vec<(String, String)> {
        let mut buffer = String::new();
        let mut pair =
            |token: &JsonToken| (events.name(token.path()).to_owned(), token.value(line, &mut buffer).text.to_owned());
        events.tokens().iter().map(&mut pair).collect()
    }

    #[test]
    fn flat_and_nested_exports_are_the_same_event() {
        let mut events = JsonEvents::default();
        let flat = r#"{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\a.exe"}"#;
        let nested = r##"{"Event":{"System":{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":{"#text":1}},"EventData":{"Image":"C:\\a.exe"}}}"##;
        for line in [flat, nested] {
            events.read(line).unwrap();
            assert!(events.logsource().has_category("process_creation"), "{line}");
            let fields = pairs(&events, line);
            assert!(fields.contains(&("Image".to_owned(), "C:\\a.exe".to_owned())), "{fields:?}");
            assert!(fields.contains(&("EventID".to_owned(), "1".to_owned())), "{fields:?}");
        }
    }

    #[test]
    fn what_an_event_says_of_itself_counts_where_the_table_is_silent() {
        let mut events = JsonEvents::default();
        events.read(r#"{"product":"linux","service":"No Such","category":"process_creation"}"#).unwrap();
        assert_eq!(events.logsource().product(), Some("linux"));
        assert!(events.logsource().has_category("process_creation"));
        assert_eq!(events.logsource().services().count(), 0);
        events.read(r#"{"a":1}"#).unwrap();
        assert_eq!(events.logsource(), &Logsource::unknown());
    }

    #[test]
    fn channel_with_escapes_is_the_same_channel() {
        let mut events = JsonEvents::default();
        events.read(r#"{"Channel":"Microsoft-Windows-Sysmon\/Operational","EventID":"7"}"#).unwrap();
        assert!(events.logsource().has_category("image_load"));
    }
}
