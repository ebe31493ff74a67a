//! Rules read one by one, not yet linked: each right by itself, or refused with its place.

use std::time::Duration;

use crate::aggregation::{self, Aggregation};
use crate::condition;
use crate::correlation::{CorrelationKind, MemberCondition};
use crate::correlation_section::{self, CorrelationDraft, member_condition};
use crate::detection::{Condition, Detection};
use crate::diagnostic::{Fault, Mark};
use crate::document::{self, Document, DocumentKind};
use crate::filter_section::{self, FilterDraft};
use crate::item::Checking;
use crate::limits::MAX_RULES;
use crate::metadata::{self, Metadata};
use crate::placeholder::Placeholders;
use crate::rule::{Rule, RuleLogsource};
use crate::rule_set::{Loaded, RuleFile};
use crate::search;
use crate::yaml::{Map, Scalar};

/// Something read, with the file it came from.
#[derive(Clone, Debug)]
pub(crate) struct InFile<T> {
    pub(crate) path: String,
    pub(crate) value: T,
}

/// All documents of all files, read and not yet linked.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    pub(crate) rules: Vec<RuleDraft>,
    pub(crate) correlations: Vec<InFile<CorrelationDraft>>,
    pub(crate) filters: Vec<InFile<FilterDraft>>,
}

/// A rule that is right by itself.
#[derive(Clone, Debug)]
pub(crate) struct RuleDraft {
    pub(crate) rule: Rule,
    pub(crate) mark: Mark,
    /// Whether its id may be another document's too.
    pub(crate) shares_id: bool,
}

/// Reads every document of every file; what is refused or doubtful goes into `loaded`.
pub(crate) fn read_all(
    files: impl IntoIterator<Item = RuleFile>,
    placeholders: &Placeholders,
    loaded: &mut Loaded,
) -> Drafts {
    let mut drafts = Drafts::default();
    for file in files {
        let mut checking = Checking { placeholders, warnings: Vec::new() };
        match document::read(&file.text) {
            Ok(documents) => {
                for document in documents {
                    if let Err(fault) = document.and_then(|document| drafts.take(&file.path, &document, &mut checking))
                    {
                        loaded.refused.push(fault.in_file(&file.path));
                    }
                }
            }
            Err(fault) => loaded.refused.push(fault.in_file(&file.path)),
        }
        loaded.warnings.extend(checking.warnings.into_iter().map(|remark| remark.in_file(&file.path)));
    }
    drafts
}

impl Drafts {
    fn take(&mut self, path: &str, document: &Document, checking: &mut Checking<'_>) -> Result<(), Fault> {
        let Document { kind, map, mark, shares_id } = document;
        if self.rules.len() + self.correlations.len() >= MAX_RULES {
            return Err(Fault::new(*mark, format!("there are more than {MAX_RULES} rules")));
        }
        let metadata = metadata::read(map, *mark)?;
        let in_file = |value| InFile { path: path.to_owned(), value };
        match kind {
            DocumentKind::Detection => self.take_rule(path, document, metadata, checking)?,
            DocumentKind::Correlation => {
                let draft = correlation_section::read(map, metadata, *mark)?;
                self.correlations.push(in_file(CorrelationDraft { shares_id: *shares_id, ..draft }));
            }
            DocumentKind::Filter => {
                let value = filter_section::read(map, &metadata, *mark, checking)?;
                self.filters.push(InFile { path: path.to_owned(), value });
            }
        }
        Ok(())
    }

    fn take_rule(
        &mut self,
        path: &str,
        document: &Document,
        metadata: Metadata,
        checking: &mut Checking<'_>,
    ) -> Result<(), Fault> {
        let Document { map, mark, shares_id, .. } = document;
        let section = detection_section(map, *mark)?;
        let section = search::read(section, &[], map.mark_of("detection"), checking)?;
        let origin = Origin { path, mark: *mark, shares_id: *shares_id, logsource: metadata::logsource(map, *mark)? };
        match section.aggregation {
            None => self.rules.push(origin.rule(metadata, section.detection)),
            Some(written) => {
                let aggregation = aggregation::parse(&written, section.timeframe.as_ref())?;
                self.take_aggregation(&origin, metadata, section.detection, aggregation, &written)?;
            }
        }
        Ok(())
    }

    /// Makes a rule with an aggregation into detections and a correlation that has its id.
    fn take_aggregation(
        &mut self,
        origin: &Origin<'_>,
        metadata: Metadata,
        detection: Detection,
        aggregation: Aggregation,
        written: &Scalar,
    ) -> Result<(), Fault> {
        let mut draft = origin.correlation(metadata.clone());
        let mut part = |name: &str, detection: Detection| {
            let id = format!("{}#{name}", metadata.id);
            draft.members.push(Scalar { text: id.clone(), is_plain: true, mark: written.mark });
            origin.rule(Metadata { id, name: None, ..metadata.clone() }, detection)
        };
        match aggregation {
            Aggregation::Count { kind, field, group_by, threshold, timespan } => {
                self.rules.push(part("events", detection));
                draft.kind = kind;
                draft.field = field.into_iter().collect();
                draft.group_by = group_by;
                draft.threshold = Some(threshold);
                draft.timespan = timespan;
            }
            Aggregation::Near { condition, timespan } => {
                let names: Vec<&str> = detection.searches.iter().map(|search| search.name.as_str()).collect();
                let near = condition::parse(written, &condition, &names)?;
                let mut places = Vec::new();
                searches_of(&near, &mut places);
                self.rules.push(part("events", detection.clone()));
                for place in &places {
                    let Some(search) = detection.searches.get(*place) else { continue };
                    let alone = Detection { searches: vec![search.clone()], condition: Condition::Search(0) };
                    self.rules.push(part(&search.name, alone));
                }
                // Member 0 is the rule's own condition, the named searches follow.
                let renumbered = member_condition(&renumber(&near, &places));
                draft.condition = Some(MemberCondition::All(vec![MemberCondition::Member(0), renumbered]));
                draft.timespan = timespan;
            }
        }
        self.correlations.push(InFile { path: origin.path.to_owned(), value: draft });
        Ok(())
    }
}

/// Where a rule comes from and which events it is for.
struct Origin<'a> {
    path: &'a str,
    mark: Mark,
    shares_id: bool,
    logsource: RuleLogsource,
}

impl Origin<'_> {
    fn rule(&self, metadata: Metadata, detection: Detection) -> RuleDraft {
        let Metadata {
            id,
            title,
            name,
            level,
            status,
            description,
            author,
            references,
            tags,
            falsepositives,
            fields,
            related,
        } = metadata;
        let rule = Rule {
            id,
            title,
            name,
            level,
            status,
            description,
            author,
            references,
            tags,
            falsepositives,
            fields,
            related,
            logsource: self.logsource.clone(),
            path: self.path.to_owned(),
            line: self.mark.line,
            detection,
        };
        RuleDraft { rule, mark: self.mark, shares_id: self.shares_id }
    }

    fn correlation(&self, metadata: Metadata) -> CorrelationDraft {
        CorrelationDraft {
            metadata,
            kind: CorrelationKind::Temporal,
            members: Vec::new(),
            group_by: Vec::new(),
            timespan: Duration::ZERO,
            threshold: None,
            condition: None,
            field: Vec::new(),
            percentile: None,
            aliases: Vec::new(),
            generate: false,
            mark: self.mark,
            shares_id: self.shares_id,
        }
    }
}

fn detection_section(map: &Map, mark: Mark) -> Result<&Map, Fault> {
    match map.get("detection") {
        Some(node) => node.as_map("detection"),
        None => Err(Fault::new(mark, "there is no detection")),
    }
}

/// Collects the searches a condition names, each once, in order.
fn searches_of(condition: &Condition, places: &mut Vec<usize>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| searches_of(part, places)),
        Condition::Not(part) => searches_of(part, places),
        Condition::Search(place) if places.contains(place) => {}
        Condition::Search(place) => places.push(*place),
    }
}

/// Gives each search the place its member has behind member 0.
fn renumber(condition: &Condition, places: &[usize]) -> Condition {
    let each = |parts: &[Condition]| parts.iter().map(|part| renumber(part, places)).collect();
    match condition {
        Condition::All(parts) => Condition::All(each(parts)),
        Condition::Any(parts) => Condition::Any(each(parts)),
        Condition::Not(part) => Condition::Not(Box::new(renumber(part, places))),
        Condition::Search(place) => {
            Condition::Search(places.iter().position(|known| known == place).map_or(0, |at| at + 1))
        }
    }
}
