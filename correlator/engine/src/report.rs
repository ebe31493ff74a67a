//! Episode → detection: the words, the counts, the evidence.

use canh_event::Timestamp;
use canh_incident::{
    Detection, DetectionKind, Entity, EntityKind, EntityRole, MAX_EVIDENCE, Why, WhyMember, Window, add_entity,
    extract_entities,
};

use crate::episode::{Episode, Tally};
use crate::nanos::Nanos;
use crate::plan::{MachineKind, MachinePlan, Plan};
use crate::shelf::{LinkNumber, Shelf};

const SECOND: Nanos = 1_000_000_000;

/// Says an episode as it stands, and marks it as said.
pub(crate) fn say(
    plan: &Plan,
    machine: &MachinePlan,
    episode: &mut Episode,
    chain: LinkNumber,
    shelf: &Shelf,
) -> Detection {
    let is_first = episode.said_count == 0;
    let mut links = shelf.chain(chain, episode.said_link);
    links.reverse();
    if is_first {
        let is_inside = |time: Nanos| (episode.first..=episode.last).contains(&time);
        links.retain(|link| shelf.time_of(*link).is_some_and(is_inside));
        if machine.members.len() > 1 && !machine.kind.is_temporal() {
            tally_members(plan, machine, episode, &links, shelf);
        }
    }
    let kept = evidence_links(&links, is_first);
    let evidence: Vec<_> =
        kept.into_iter().filter_map(|link| shelf.evidence(link, |rule| plan.rule_id(rule))).collect();
    let mut entities = Vec::new();
    extract_entities(pairs(&episode.identity.group), &mut entities);
    for piece in &evidence {
        extract_entities(pairs(&piece.fields), &mut entities);
    }
    let agent = episode.identity.agent.as_deref();
    add_entity(&mut entities, agent.and_then(|agent| Entity::new(EntityKind::Agent, agent, EntityRole::Target)));
    episode.said_count = episode.count;
    episode.said_at = episode.last;
    episode.said_link = chain;
    Detection {
        id: episode.id.clone(),
        rule_id: machine.rule_id.clone(),
        rule_title: machine.title.clone(),
        level: machine.level,
        kind: if machine.kind_name == "event" { DetectionKind::Event } else { DetectionKind::Correlation },
        time: Timestamp::from_nanos(episode.last),
        window: Window { first: Timestamp::from_nanos(episode.first), last: Timestamp::from_nanos(episode.last) },
        group_key: episode.identity.group.clone(),
        entities,
        agency: episode.identity.agency.as_ref().and_then(|name| name.parse().ok()),
        agent: episode.identity.agent.as_ref().and_then(|name| name.parse().ok()),
        count: episode.count,
        built_on: episode.built_on.clone(),
        evidence,
        why: why(machine, episode),
        tags: machine.tags.clone(),
    }
}

fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(field, value)| (field.as_str(), value.as_str()))
}

/// The first and the latest events the first time, only the latest after.
fn evidence_links(oldest_first: &[LinkNumber], is_first: bool) -> Vec<LinkNumber> {
    let half = MAX_EVIDENCE / 2;
    let count = oldest_first.len();
    let head = if is_first { half } else { 0 };
    let tail_from = count.saturating_sub(half);
    let places = oldest_first.iter().enumerate();
    places.filter(|(place, _)| *place < head || *place >= tail_from).map(|(_, link)| *link).collect()
}

/// Counts the members of an event count from the chain: the window itself holds only times.
fn tally_members(plan: &Plan, machine: &MachinePlan, episode: &mut Episode, links: &[LinkNumber], shelf: &Shelf) {
    for link in links {
        let (Some(rule), Some(time)) = (shelf.rule_of(*link), shelf.time_of(*link)) else { continue };
        let rule_id = plan.rule_id(rule);
        let place = machine.members.iter().position(|(id, _)| id == rule_id);
        if let Some(tally) = place.and_then(|place| episode.members.get_mut(place)) {
            tally.add(time);
        }
    }
}

fn why(machine: &MachinePlan, episode: &Episode) -> Why {
    let counts_values = matches!(machine.kind, MachineKind::Values { .. } | MachineKind::ValuesAtClose { .. });
    let members = machine.members.iter().zip(&episode.members).filter(|(_, tally)| tally.count > 0);
    let is_event = machine.kind_name == "event";
    Why {
        text: sentence(machine, episode),
        condition: machine.kind_name.to_owned(),
        threshold: machine.threshold.clone(),
        value_fields: machine.value_fields.clone(),
        distinct_values: counts_values.then_some(episode.distinct),
        timespan_secs: if is_event { 0 } else { u64::try_from(machine.span / SECOND).unwrap_or(0) },
        members: members.map(|(name, tally)| why_member(name, tally)).collect(),
    }
}

fn why_member((rule_id, rule_title): &(String, String), tally: &Tally) -> WhyMember {
    WhyMember {
        rule_id: rule_id.clone(),
        rule_title: rule_title.clone(),
        count: tally.count,
        first: Timestamp::from_nanos(tally.first),
        last: Timestamp::from_nanos(tally.last),
    }
}

fn sentence(machine: &MachinePlan, episode: &Episode) -> String {
    let lasted = span_text(episode.last.saturating_sub(episode.first));
    let titles: Vec<String> = machine.members.iter().map(|(_, title)| format!("\"{title}\"")).collect();
    let group = match machine.group_by.join(", ") {
        fields if fields.is_empty() => String::new(),
        fields => format!(" with the same {fields}"),
    };
    let events = if episode.count == 1 { "1 event".to_owned() } else { format!("{} events", episode.count) };
    let condition = |kind: &str| {
        let threshold = if machine.threshold.is_empty() { String::new() } else { format!(" {}", machine.threshold) };
        format!("the rule asks for {kind}{threshold} within {}", span_text(machine.span))
    };
    match machine.kind_name {
        "event" => format!("{events} matched the rule in {lasted}"),
        "value_count" => format!(
            "{} different values of {} in {lasted} among events of {}{group}; {}",
            episode.distinct,
            machine.value_fields.join(", "),
            titles.join(" or "),
            condition("value_count")
        ),
        "event_count" => {
            format!("{events} of {} in {lasted}{group}; {}", titles.join(" or "), condition("event_count"))
        }
        "temporal_ordered" => {
            format!("{} in {lasted}{group}; {}", titles.join(", then "), condition("all of them in this order"))
        }
        kind => format!("{} in {lasted}{group}; {}", titles.join(" and "), condition(kind)),
    }
}

/// Returns a span in words: `0 s`, `0.25 s`, `42 s`, `5 min`, `1 h 10 min`, `2 d 3 h`.
fn span_text(span: Nanos) -> String {
    let secs = span / SECOND;
    let pair = |large: i64, large_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        small => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match secs {
        0 if span == 0 => "0 s".to_owned(),
        0 => format!("0.{:03} s", span / 1_000_000),
        1..60 => format!("{secs} s"),
        60..3_600 => pair(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => pair(secs / 3_600, "h", secs % 3_600 / 60, "min"),
        _ => pair(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_as_people_say_them() {
        let said = [0, SECOND / 4, 42 * SECOND, 300 * SECOND, 4_200 * SECOND, 183_600 * SECOND].map(span_text);
        assert_eq!(said, ["0 s", "0.250 s", "42 s", "5 min", "1 h 10 min", "2 d 3 h"]);
    }

    #[test]
    fn the_first_and_the_latest_are_kept() {
        let links: Vec<u64> = (1..=20).collect();
        assert_eq!(evidence_links(&links, true), [1, 2, 3, 4, 17, 18, 19, 20]);
        assert_eq!(evidence_links(&links, false), [17, 18, 19, 20]);
        assert_eq!(evidence_links(&links[..5], true), [1, 2, 3, 4, 5]);
    }
}
