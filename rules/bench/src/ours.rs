//! This engine, driven as `canh eval` drives it: one pass over the line, only fields some rule in
//! play names, no batch in between; and, for already decoded events, the matcher on batches.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use canh_event::{BatchBuilder, EventBatch, Origin, RowHeader, TimeQuality, Timestamp};
use canh_parse::{ClassId, JsonEvents, JsonToken, unescape};
use canh_sigma::{FieldId, Form, Hit, Matcher, Program, Routing, RuleFile, RuleIndex, RuleSet, Written};

/// This engine with its rules compiled.
pub struct Ours {
    /// The rules.
    pub rules: RuleSet,
    /// The program.
    pub program: Program,
    /// How many rules were refused.
    pub refused: usize,
}

/// Reads lines and matches them; one a thread.
pub struct LineMatcher {
    events: JsonEvents,
    matcher: Matcher,
    program: Program,
    fields: Vec<Option<FieldId>>,
    /// The second field each path is, by class, then path.
    seconds: Vec<Vec<Option<FieldId>>>,
    generation: u64,
    found: Vec<RuleIndex>,
    /// Whether fields are also fed by their second names: Security 4688 as Sysmon 1 calls them.
    pub with_second_names: bool,
}

impl Ours {
    /// Compiles every rule under `rules`.
    pub fn load(rules: &[PathBuf]) -> Result<Self> {
        let loaded = RuleSet::load(canh_rulepack::load_dir(rules)?.into_iter().map(|file| RuleFile { path: file.path, text: file.text }));
        let program = Program::compile(&loaded.rules);
        Ok(Self { program, refused: loaded.refused.len(), rules: loaded.rules })
    }

    /// Returns a reader and matcher of lines.
    pub fn lines(&self) -> LineMatcher {
        LineMatcher {
            events: JsonEvents::default(),
            matcher: Matcher::new(&self.program),
            program: self.program.clone(),
            fields: Vec::new(),
            seconds: Vec::new(),
            generation: 0,
            found: Vec::new(),
            with_second_names: true,
        }
    }
}

impl LineMatcher {
    /// Matches every line; `hits` gets each hit if wanted. Returns how many there were.
    pub fn run(&mut self, lines: &[&[u8]], routing: Routing, mut hits: Option<&mut Vec<(usize, RuleIndex)>>) -> usize {
        let mut count = 0;
        for (index, line) in lines.iter().enumerate() {
            self.found.clear();
            self.line(line, routing);
            count += self.found.len();
            if let Some(hits) = hits.as_deref_mut() {
                hits.extend(self.found.iter().map(|rule| (index, *rule)));
            }
        }
        count
    }

    fn line(&mut self, line: &[u8], routing: Routing) {
        let Ok(text) = simdutf8::basic::from_utf8(line) else { return };
        if self.events.read(text).is_err() {
            return;
        }
        if self.generation != self.events.generation() {
            self.generation = self.events.generation();
            self.fields.clear();
            self.seconds.clear();
        }
        let class = self.events.class_id().map(ClassId::index);
        let written = Written { text, undo: unescape, logsource: self.events.logsource(), class, is_json: true };
        let second_class = class.filter(|_| self.with_second_names && !self.events.also().is_empty());
        let mut feed = self.matcher.begin(written, routing);
        let wants_everything = feed.wants_everything();
        for token in self.events.tokens() {
            let index = token.path().index();
            while self.fields.len() <= index {
                let path = self.events.path(self.fields.len());
                self.fields.push(self.program.field(self.events.name(path)));
            }
            let field = self.fields.get(index).copied().flatten();
            if field.is_some() || wants_everything {
                feed.value(field, token.place(), form_of(token));
            }
            if let Some(field) = second_class.and_then(|class| second_of(&mut self.seconds, class, index, &self.events, &self.program)) {
                feed.value(Some(field), token.place(), form_of(token));
            }
        }
        feed.finish(&mut self.found);
    }
}

fn second_of(seconds: &mut Vec<Vec<Option<FieldId>>>, class: usize, path: usize, events: &JsonEvents, program: &Program) -> Option<FieldId> {
    if seconds.len() <= class {
        seconds.resize(class + 1, Vec::new());
    }
    let of_class = seconds.get_mut(class)?;
    while of_class.len() <= path {
        let name = events.name(events.path(of_class.len()));
        let second = events.also().iter().find(|(_, old)| **old == *name);
        of_class.push(second.and_then(|(new, _)| program.field(new)));
    }
    of_class.get(path).copied().flatten()
}

fn form_of(token: &JsonToken) -> Form {
    match () {
        () if token.is_null() => Form::Nothing,
        () if token.has_escapes() => Form::Escaped,
        () => Form::Plain,
    }
}

/// Reads lines into batches with every field, outside the measurement.
pub fn decode(lines: &[&[u8]]) -> Result<Vec<EventBatch>> {
    let mut events = JsonEvents::default();
    let mut buffer = String::new();
    let (mut builder, mut batches) = (BatchBuilder::new(), Vec::new());
    for line in lines {
        let text = std::str::from_utf8(line)?;
        if events.read(text).is_err() {
            continue;
        }
        for _ in 0..2 {
            if push(&mut builder, &events, text, &mut buffer).is_ok() {
                break;
            }
            batches.push(builder.finish());
        }
    }
    batches.push(builder.finish());
    ensure!(batches.iter().map(EventBatch::len).sum::<usize>() > 0, "no events");
    Ok(batches)
}

fn push(builder: &mut BatchBuilder, events: &JsonEvents, line: &str, buffer: &mut String) -> Result<()> {
    let time = Timestamp::EPOCH;
    let header = RowHeader {
        time,
        time_quality: TimeQuality::Received,
        received: time,
        origin: builder.origin(&Origin::unknown())?,
        logsource: builder.logsource(events.logsource())?,
    };
    let mut row = builder.begin_row(header, b"")?;
    for token in events.tokens() {
        let name = events.name(token.path());
        row.field(name, token.value(line, buffer))?;
        for (second, _) in events.also().iter().filter(|(_, first)| **first == *name) {
            row.field(second, token.value(line, buffer))?;
        }
    }
    row.commit();
    Ok(())
}

/// Matches batches; returns how many hits there were and how long it took.
pub fn run_batches(program: &Program, batches: &[EventBatch]) -> (usize, Duration) {
    let mut matcher = Matcher::new(program);
    let mut hits: Vec<Hit> = Vec::new();
    let mut count = 0;
    let start = std::time::Instant::now();
    for batch in batches {
        hits.clear();
        matcher.run(batch, Routing::ByLogsource, &mut hits);
        count += hits.len();
    }
    (count, start.elapsed())
}
