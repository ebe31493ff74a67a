//! Lays the rules against the events of a block; one judge a thread.
//!
//! Comes in: blocks. Goes out: hits, counts and refusals. An event is read and matched in one pass:
//! only fields that some rule in play names are looked at. What a path is to the rules is looked up
//! once for each path, not once for each event, and nothing is allocated for an event that raises
//! nothing.

use std::sync::mpsc::{Receiver, SyncSender};

use canh_parse::{ClassId, EVTX_CHUNK_BYTES, EvtxChunk, EvtxReader, JsonEvents, JsonToken, PathId, unescape};
use canh_sigma::{FieldId, Form, Matcher, Program, Routing, RuleIndex, Written};

use crate::eval::block::{Block, FoundHit, Judged, Load};
use crate::eval::span::{MAX_LINE_BYTES, Span};

/// Where an event's own time is, the surest name first.
const TIME_NAMES: [&str; 5] = ["TimeCreated", "@timestamp", "timestamp", "UtcTime", "EventTime"];

/// Reads and matches blocks; keeps its buffers.
#[derive(Debug)]
pub(super) struct Judge {
    lines: EventJudge,
    evtx: EvtxReader,
    /// A line that is not UTF-8, made so.
    mended: String,
    /// Lines this judge read itself.
    read: Vec<u8>,
}

/// Matches events that are JSON text.
#[derive(Debug)]
struct EventJudge {
    program: Program,
    routing: Routing,
    matcher: Matcher,
    events: JsonEvents,
    fields: Fields,
    value: String,
    found: Vec<RuleIndex>,
}

/// What the paths of events are to the rules.
#[derive(Debug, Default)]
struct Fields {
    /// The field each path is, by the path's number.
    of_paths: Vec<Option<FieldId>>,
    /// The second field each path is, by class, then path.
    second_of_paths: Vec<Vec<Option<FieldId>>>,
    generation: u64,
}

impl Judge {
    /// Returns a judge of a program.
    pub(super) fn new(program: &Program, routing: Routing) -> Self {
        let lines = EventJudge {
            program: program.clone(),
            routing,
            matcher: Matcher::new(program),
            events: JsonEvents::default(),
            fields: Fields::default(),
            value: String::new(),
            found: Vec::new(),
        };
        Self { lines, evtx: EvtxReader::new(), mended: String::new(), read: Vec::new() }
    }

    /// Judges blocks until there are no more or nobody asks for the results.
    pub(super) fn run(mut self, blocks: &Receiver<Block>, results: &SyncSender<Judged>) {
        for block in blocks {
            if results.send(self.block(block)).is_err() {
                return;
            }
        }
    }

    fn block(&mut self, block: Block) -> Judged {
        let mut judged = Judged { file: block.file, ..Judged::default() };
        match block.load {
            Load::Span(span) => self.span(&span, &mut judged),
            Load::Lines(bytes) => {
                self.lines(&bytes, &mut judged);
                judged.bytes = bytes.len() as u64;
                judged.spent = bytes;
            }
            Load::Chunks(bytes) => {
                self.chunks(&bytes, &mut judged);
                judged.bytes = bytes.len() as u64;
                judged.spent = bytes;
            }
            Load::LongLine => refuse_long_line(&mut judged),
            Load::Fault(fault) => judged.fault = Some(fault),
        }
        judged
    }

    fn span(&mut self, span: &Span, judged: &mut Judged) {
        let mut bytes = std::mem::take(&mut self.read);
        match span.read(&mut bytes) {
            Ok(lines) => {
                self.lines(bytes.get(lines.place).unwrap_or_default(), judged);
                if lines.ends_too_long {
                    refuse_long_line(judged);
                }
            }
            Err(error) => judged.fault = Some(error.to_string().into()),
        }
        judged.bytes = span.end - span.start;
        self.read = bytes;
    }

    fn lines(&mut self, bytes: &[u8], judged: &mut Judged) {
        let mut start = 0;
        while start < bytes.len() {
            let rest = bytes.get(start..).unwrap_or_default();
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.line(rest.get(..length).unwrap_or_default(), judged);
            judged.records += 1;
            start += length + 1;
        }
    }

    fn line(&mut self, line: &[u8], judged: &mut Judged) {
        if line.len() > MAX_LINE_BYTES {
            return judged.refuse(judged.records, &too_long());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        match simdutf8::basic::from_utf8(line) {
            Ok(text) => self.lines.judge(text, None, judged),
            // An attacker must not hide an event behind a byte that is no text.
            Err(_) => {
                self.mended.clear();
                self.mended.push_str(&String::from_utf8_lossy(line));
                self.lines.judge(&self.mended, None, judged);
            }
        }
    }

    fn chunks(&mut self, bytes: &[u8], judged: &mut Judged) {
        for bytes in bytes.chunks(EVTX_CHUNK_BYTES) {
            match EvtxChunk::parse(bytes) {
                Ok(Some(chunk)) => self.chunk(chunk, judged),
                Ok(None) => continue,
                Err(error) => judged.refuse(judged.records, &error),
            }
            if bytes.len() < EVTX_CHUNK_BYTES {
                judged.refuse(judged.records, &"the file ends inside a chunk");
            }
        }
    }

    fn chunk(&mut self, chunk: EvtxChunk<'_>, judged: &mut Judged) {
        self.evtx.begin_chunk();
        for record in chunk.records() {
            let read = record.and_then(|record| Ok((record.number, self.evtx.json(&chunk, &record)?)));
            match read {
                Ok((number, json)) => self.lines.judge(json, Some(number), judged),
                Err(error) => judged.refuse(judged.records, &error),
            }
            judged.records += 1;
        }
    }
}

impl EventJudge {
    /// Judges one event; `number` is its own in an event log.
    fn judge(&mut self, text: &str, number: Option<u64>, judged: &mut Judged) {
        if let Err(error) = self.events.read(text) {
            return judged.refuse(judged.records, &error);
        }
        judged.events += 1;
        self.found.clear();
        self.lay(text);
        if self.found.is_empty() {
            return;
        }
        let time = self.note_time(text, &mut judged.times);
        let (index, rules) = (judged.records, self.found.iter());
        judged.hits.extend(rules.map(|rule| FoundHit { index, rule: *rule, number, time }));
    }

    /// Finds the rules that fit the event last read.
    fn lay(&mut self, text: &str) {
        let Self { events, program, fields, .. } = self;
        fields.begin(events);
        let class = events.class_id().filter(|_| !events.also().is_empty());
        let written = Written {
            text,
            undo: unescape,
            logsource: events.logsource(),
            class: events.class_id().map(ClassId::index),
            is_json: true,
        };
        let mut feed = self.matcher.begin(written, self.routing);
        let wants_everything = feed.wants_everything();
        for token in events.tokens() {
            let path = token.path();
            let field = fields.of(path, events, program);
            if field.is_some() || wants_everything {
                feed.value(field, token.place(), form_of(token));
            }
            if let Some(field) = class.and_then(|class| fields.second_of(class, path, events, program)) {
                feed.value(Some(field), token.place(), form_of(token));
            }
        }
        feed.finish(&mut self.found);
    }

    /// Keeps the event's own time.
    fn note_time(&mut self, text: &str, times: &mut String) -> (usize, usize) {
        let start = times.len();
        let rank = |name: &str| TIME_NAMES.iter().position(|known| *known == name);
        let tokens = self.events.tokens().iter();
        let ranked = tokens.filter_map(|token| Some((rank(self.events.name(token.path()))?, token)));
        if let Some((_, token)) = ranked.min_by_key(|(rank, _)| *rank) {
            times.push_str(token.value(text, &mut self.value).text);
        }
        (start, times.len())
    }
}

impl Fields {
    /// Forgets everything if paths mean something else than before.
    fn begin(&mut self, events: &JsonEvents) {
        if self.generation != events.generation() {
            self.generation = events.generation();
            self.of_paths.clear();
            self.second_of_paths.clear();
        }
    }

    /// Returns the field a path is; `None` if no rule names it.
    fn of(&mut self, path: PathId, events: &JsonEvents, program: &Program) -> Option<FieldId> {
        while self.of_paths.len() <= path.index() {
            let next = events.path(self.of_paths.len());
            self.of_paths.push(program.field(events.name(next)));
        }
        self.of_paths.get(path.index()).copied().flatten()
    }

    /// Returns the field a path is by its second name in a class.
    fn second_of(&mut self, class: ClassId, path: PathId, events: &JsonEvents, program: &Program) -> Option<FieldId> {
        if self.second_of_paths.len() <= class.index() {
            self.second_of_paths.resize(class.index() + 1, Vec::new());
        }
        let of_class = self.second_of_paths.get_mut(class.index())?;
        while of_class.len() <= path.index() {
            let name = events.name(events.path(of_class.len()));
            let second = events.also().iter().find(|(_, old)| **old == *name);
            of_class.push(second.and_then(|(new, _)| program.field(new)));
        }
        of_class.get(path.index()).copied().flatten()
    }
}

fn form_of(token: &JsonToken) -> Form {
    match () {
        () if token.is_null() => Form::Nothing,
        () if token.has_escapes() => Form::Escaped,
        () => Form::Plain,
    }
}

fn refuse_long_line(judged: &mut Judged) {
    judged.refuse(judged.records, &too_long());
    judged.records += 1;
}

fn too_long() -> String {
    format!("line is longer than {MAX_LINE_BYTES} bytes")
}

#[cfg(test)]
mod tests;
