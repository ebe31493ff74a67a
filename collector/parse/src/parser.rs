//! Chooses the parser of a line and holds what every line is promised.

use std::borrow::Cow;

use canh_event::{BuildError, Record, RowBuilder};

use crate::access;
use crate::buffers::Buffers;
use crate::fields::Fields;
use crate::json::JsonLines;
use crate::logsources::{Family, Logsources};
use crate::rfc3164::{self, Expectation};
use crate::rfc5424;
use crate::syslog;
use crate::time::TimeContext;

/// The name a line is counted under that nobody can parse.
const UNPARSED: &str = "unparsed";
/// The name a line is counted under whose fields the batch had no room for.
const TOO_LARGE: &str = "too_large";

/// Parses one record after another; keeps buffers and logsources between them, and nothing else, so
/// that the same record gives the same row whatever came before it.
#[derive(Debug, Default)]
pub struct Parser {
    logsources: Logsources,
    buffers: Buffers,
    json: JsonLines,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The parser that claimed it: `sshd`, `sudo`, `su`, `pam`, `account`, `cron`, `syslog`, `json`,
    /// `access`, `raw`; or `unparsed`; or `too_large`. A closed set, fit for a label.
    pub format: &'static str,
    /// Why it is `too_large`. After [`BuildError::Full`] the caller may drop the row, finish the
    /// batch and parse the record again into the next one.
    pub refused: Option<BuildError>,
}

impl Parser {
    /// Returns a parser.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills the row of a record: fields, and time and logsource where the record says.
    ///
    /// `format` is one of `auto`, `syslog`, `json`, `access` and `raw`; a name that is not known
    /// here is read as `auto`. Flow records are canh-flow's.
    ///
    /// # Contract
    /// The row was begun with the record's bytes, with the time it was received and an unknown
    /// logsource, and has no fields yet.
    pub fn parse(&mut self, format: &str, record: &Record<'_>, row: &mut RowBuilder<'_>) -> Parsed {
        // Nearly every record is valid, which is told faster than made sure of.
        let text = std::str::from_utf8(record.bytes).map_or_else(|_| String::from_utf8_lossy(record.bytes), Cow::from);
        let text = text.trim_end_matches(['\r', '\n', '\0']);
        let mut fields = Fields::new(row);
        let claimed = self.claim(format, text, record, &mut fields);
        if let Some(error) = fields.take_refusal() {
            fields.clear();
            // Keyword rules still see the line, if there is room for that much.
            fields.text("Message", text);
            return Parsed { format: TOO_LARGE, refused: Some(error) };
        }
        if let Some(format) = claimed {
            return Parsed { format, refused: None };
        }
        fields.clear();
        fields.text("Message", text);
        let refused = fields.take_refusal();
        let format = if refused.is_some() { TOO_LARGE } else { UNPARSED };
        Parsed { format, refused }
    }

    fn claim(
        &mut self,
        format: &str,
        text: &str,
        record: &Record<'_>,
        fields: &mut Fields<'_, '_>,
    ) -> Option<&'static str> {
        let context = TimeContext::of(record);
        match format {
            "syslog" => self.syslog(text, context, Expectation::Stated, fields),
            "json" => self.json(text, context, fields),
            "access" => self.access(text, record, fields),
            "raw" => {
                fields.text("Message", text);
                Some("raw")
            }
            _ => self.guess(text, record, fields),
        }
    }

    /// Looks at the first byte before anything is tried: most lines are told apart by it.
    fn guess(&mut self, text: &str, record: &Record<'_>, fields: &mut Fields<'_, '_>) -> Option<&'static str> {
        let context = TimeContext::of(record);
        match text.bytes().find(|byte| !byte.is_ascii_whitespace())? {
            b'{' => self.json(text, context, fields),
            b'<' => self.syslog(text, context, Expectation::Guessed, fields),
            _ => {
                let syslog = self.syslog(text, context, Expectation::Guessed, fields);
                syslog.or_else(|| self.access(text, record, fields))
            }
        }
    }

    fn syslog(
        &mut self,
        text: &str,
        context: TimeContext,
        expectation: Expectation,
        fields: &mut Fields<'_, '_>,
    ) -> Option<&'static str> {
        let header = rfc5424::parse(text, context).or_else(|| rfc3164::parse(text, context, expectation))?;
        Some(syslog::fill(&header, &mut self.logsources, &mut self.buffers, fields))
    }

    fn json(&mut self, text: &str, context: TimeContext, fields: &mut Fields<'_, '_>) -> Option<&'static str> {
        self.json.fill(text, context, fields).then_some("json")
    }

    fn access(&mut self, text: &str, record: &Record<'_>, fields: &mut Fields<'_, '_>) -> Option<&'static str> {
        if !access::fill(text, &mut self.buffers, fields) {
            return None;
        }
        fields.logsource(self.logsources.of(Family::Web, server_of(record.source.name.as_str())));
        Some(Family::Web.format())
    }
}

/// Returns which web server writes a file of this name; empty if its name does not say.
fn server_of(source: &str) -> &'static str {
    let servers = [("nginx", "nginx"), ("apache", "apache"), ("httpd", "apache")];
    servers.iter().find(|(part, _)| source.contains(part)).map_or("", |(_, server)| server)
}
