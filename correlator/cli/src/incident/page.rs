//! One incident as a page, in the order an analyst reads: what it is and how bad, why it was
//! opened, what has happened to it since, and the raw records it rests on.
//!
//! Every text that could come from a log goes through `clean`, and nothing else is printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use canh_incident::api::IncidentDetail;
use canh_incident::{
    Detection, Entity, Evidence, HistoryEntry, Incident, RawRecord, escape_bytes_for_terminal, escape_for_terminal,
};

use crate::output::View;
use crate::style::{Paint, severity};
use crate::times::span;

/// Appends the page.
pub(crate) fn render(detail: &IncidentDetail, most_events: usize, view: &View, out: &mut String) {
    Page { view, out }.all(detail, most_events);
}

struct Page<'a> {
    view: &'a View,
    out: &'a mut String,
}

impl Page<'_> {
    fn all(&mut self, detail: &IncidentDetail, most_events: usize) {
        self.head(&detail.incident);
        self.section("WHY", "");
        for (index, detection) in detail.detections.iter().enumerate() {
            let joined = detail.history.iter().find(|entry| entry.detection.as_ref() == Some(&detection.id));
            self.detection(index + 1, detection, joined);
        }
        self.section("TIMELINE", "");
        for entry in &detail.history {
            self.history(entry);
        }
        self.all_evidence(detail, most_events);
    }

    fn head(&mut self, incident: &Incident) {
        let (word, paint) = severity(incident.severity);
        self.paint(Paint::Strong, &incident.number.to_string());
        self.out.push_str("  ");
        self.paint(paint, word);
        self.out.push_str("  ");
        self.paint(Paint::Strong, &clean(&incident.title));
        self.out.push('\n');

        let clock = &self.view.clock;
        let verdict = incident.verdict.map(|verdict| format!(" as {verdict}")).unwrap_or_default();
        let owner =
            incident.owner.as_deref().map_or_else(|| "nobody's".to_owned(), |owner| format!("{}'s", clean(owner)));
        let agency = incident.agency.as_ref().map(|agency| format!(", agency {agency}")).unwrap_or_default();
        let state = format!("{}{verdict}, {owner}{agency}, version {}", incident.state, incident.version);
        let seen = format!(
            "{} to {} ({}), {} ago",
            clock.show(incident.seen.first),
            clock.show(incident.seen.last),
            span(incident.seen.span()),
            clock.age(incident.seen.last)
        );
        let mut counts = vec![plural(incident.detections.into(), "detection"), plural(incident.events, "event")];
        for (count, noun) in [(incident.comments, "comment"), (incident.reopened, "reopening")] {
            if count > 0 {
                counts.push(plural(count.into(), noun));
            }
        }
        self.line("state", &state);
        self.line("seen", &seen);
        self.line("counts", &counts.join(", "));
        self.line("rule", &clean(&incident.rule_id));
        self.about(incident);
        let related: Vec<String> = incident.related.iter().map(ToString::to_string).collect();
        if !related.is_empty() {
            self.line("related", &related.join(", "));
        }
    }

    fn about(&mut self, incident: &Incident) {
        let mut about: Vec<String> = incident.entities.iter().map(entity).collect();
        if incident.entities_left_out > 0 {
            about.push(format!("and {} more", incident.entities_left_out));
        }
        if !about.is_empty() {
            self.line("about", &about.join(", "));
        }
    }

    fn detection(&mut self, place: usize, detection: &Detection, joined: Option<&HistoryEntry>) {
        let (word, paint) = severity(detection.level);
        let _ = write!(self.out, "  {place}  ");
        self.paint(paint, word);
        let _ = writeln!(self.out, "  {} [{}]", clean(&detection.rule_title), clean(&detection.rule_id));

        let why = &detection.why;
        self.item("because", &clean(&why.text));
        let mut condition = clean(&why.condition);
        if !why.value_fields.is_empty() {
            let _ = write!(condition, " of {}", clean(&why.value_fields.join(", ")));
        }
        if !why.threshold.is_empty() {
            let _ = write!(condition, " {}", clean(&why.threshold));
        }
        if why.timespan_secs > 0 {
            let _ = write!(condition, " within {}", span(std::time::Duration::from_secs(why.timespan_secs)));
        }
        self.item("condition", &condition);
        let mut counted = plural(detection.count, "event");
        if let Some(distinct) = why.distinct_values {
            let _ = write!(counted, ", {}", plural(distinct, "distinct value"));
        }
        self.item("counted", &counted);
        let clock = &self.view.clock;
        let window = format!(
            "{} to {} ({})",
            clock.show(detection.window.first),
            clock.show(detection.window.last),
            span(detection.window.span())
        );
        self.item("window", &window);
        if !detection.group_key.is_empty() {
            let pairs = detection.group_key.iter().map(|(field, value)| format!("{}={}", clean(field), clean(value)));
            self.item("group", &pairs.collect::<Vec<_>>().join(", "));
        }
        for member in &why.members {
            let met = format!(
                "{} x {} [{}], {} to {}",
                member.count,
                clean(&member.rule_title),
                clean(&member.rule_id),
                clock.show(member.first),
                clock.show(member.last)
            );
            self.item("met", &met);
        }
        if let Some(grouping) = joined.and_then(|entry| entry.grouping.as_ref()) {
            self.item("grouped", &clean(&grouping.text));
        }
        if !detection.tags.is_empty() {
            self.item("tags", &clean(&detection.tags.join(", ")));
        }
    }

    fn history(&mut self, entry: &HistoryEntry) {
        let from = if entry.from.is_empty() { String::new() } else { format!(" ({})", clean(&entry.from)) };
        let mut what = entry.what.replace('_', " ");
        match (entry.what.as_str(), &entry.to, entry.verdict) {
            ("assigned", Some(to), _) => what.push_str(&format!(" to {}", clean(to))),
            ("assigned", None, _) => what.push_str(" to nobody"),
            (_, _, Some(verdict)) => what.push_str(&format!(" as {verdict}")),
            _ => {}
        }
        if let Some(grouping) = &entry.grouping {
            what.push_str(&format!(": {}", clean(&grouping.text)));
        }
        let at = self.view.clock.show(entry.at);
        let _ = writeln!(self.out, "  {at}  v{}  {}{from}  {}", entry.version, clean(entry.actor.name()), clean(&what));
        for line in entry.note.iter().flat_map(|note| note.lines()) {
            let _ = writeln!(self.out, "      | {}", clean(line));
        }
    }

    fn all_evidence(&mut self, detail: &IncidentDetail, most: usize) {
        let mut by_event: BTreeMap<_, &Evidence> = BTreeMap::new();
        for evidence in detail.detections.iter().flat_map(|detection| &detection.evidence) {
            by_event.insert((evidence.time, evidence.event), evidence);
        }
        let mut remark = format!("{} of {} kept", by_event.len(), plural(detail.incident.events, "event"));
        if by_event.len() > most {
            remark.push_str(&format!(", the first {most} shown (--events N)"));
        }
        self.section("EVIDENCE", &remark);
        for (index, evidence) in by_event.values().take(most).enumerate() {
            self.evidence(index + 1, evidence);
        }
    }

    fn evidence(&mut self, place: usize, evidence: &Evidence) {
        let at = self.view.clock.show(evidence.time);
        let source = if evidence.source.is_empty() { "-".to_owned() } else { clean(&evidence.source) };
        let rule = if evidence.rule_id.is_empty() { String::new() } else { format!(" [{}]", clean(&evidence.rule_id)) };
        let head = format!("  {place}  {at}  {source}  journal {}{rule}", evidence.event);
        self.paint(Paint::Faint, &head);
        self.out.push('\n');
        let _ = writeln!(self.out, "     {}", raw(&evidence.raw));
    }

    fn section(&mut self, name: &str, remark: &str) {
        self.out.push('\n');
        self.paint(Paint::Strong, name);
        if !remark.is_empty() {
            let _ = write!(self.out, "  {remark}");
        }
        self.out.push('\n');
    }

    fn line(&mut self, name: &str, text: &str) {
        self.paint(Paint::Faint, &format!("{name:<9}"));
        let _ = writeln!(self.out, "{text}");
    }

    fn item(&mut self, name: &str, text: &str) {
        self.out.push_str("     ");
        self.paint(Paint::Faint, &format!("{name:<10}"));
        let _ = writeln!(self.out, "{text}");
    }

    fn paint(&mut self, paint: Paint, text: &str) {
        self.view.style.paint(paint, text, self.out);
    }
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}

fn entity(entity: &Entity) -> String {
    format!("{} {}", entity.kind, clean(&entity.value))
}

fn raw(raw: &RawRecord) -> String {
    let mut shown = escape_bytes_for_terminal(raw.bytes());
    if raw.is_cut() {
        let _ = write!(shown, "… (the first {} of {} bytes)", raw.bytes().len(), raw.full_bytes());
    }
    shown
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
