//! The `detection` section: searches, condition, and what is left of it behind a `|`.

use crate::condition;
use crate::detection::{Clause, Condition, Detection, Search};
use crate::diagnostic::{Fault, Mark};
use crate::item::{self, Checking};
use crate::yaml::{List, Map, Node, Scalar};

/// Keys of a detection that are no searches.
const CONDITION: &str = "condition";
const TIMEFRAME: &str = "timeframe";

/// A detection section as read.
pub(crate) struct DetectionSection {
    /// Searches and condition.
    pub(crate) detection: Detection,
    /// What stood behind a `|` in the condition: an aggregation of Sigma 1.
    pub(crate) aggregation: Option<Scalar>,
    /// The `timeframe`, which only aggregations need.
    pub(crate) timeframe: Option<Scalar>,
}

/// Reads a `detection` section, or a `filter` section without its `rules`.
pub(crate) fn read(
    map: &Map,
    others: &[&str],
    mark: Mark,
    checking: &mut Checking<'_>,
) -> Result<DetectionSection, Fault> {
    let mut searches = Vec::with_capacity(map.entries.len());
    for (key, node) in &map.entries {
        if key.text == CONDITION || key.text == TIMEFRAME || others.contains(&key.text.as_str()) {
            continue;
        }
        searches.push(Search { name: key.text.clone(), clause: clause(node, checking)? });
    }
    if searches.is_empty() {
        return Err(Fault::new(map.mark, "there is no search").hint("add one, such as selection"));
    }
    let Some(written) = map.get(CONDITION) else {
        return Err(Fault::new(mark, "there is no condition").hint("add condition: selection"));
    };
    let names: Vec<&str> = searches.iter().map(|search| search.name.as_str()).collect();
    let (condition, aggregation) = conditions(written, &names)?;
    let timeframe = match map.get(TIMEFRAME) {
        Some(node) => Some(node.as_scalar(TIMEFRAME)?.clone()),
        None => None,
    };
    Ok(DetectionSection { detection: Detection { searches, condition }, aggregation, timeframe })
}

/// Reads one condition, or a list of them, which is their `or`.
fn conditions(node: &Node, names: &[&str]) -> Result<(Condition, Option<Scalar>), Fault> {
    let written = node.as_scalars(CONDITION)?;
    let mut all = Vec::with_capacity(written.len());
    for scalar in &written {
        let (text, aggregation) = match scalar.text.split_once('|') {
            Some((text, aggregation)) => (text, Some(aggregation)),
            None => (scalar.text.as_str(), None),
        };
        all.push(condition::parse(scalar, text, names)?);
        if let Some(aggregation) = aggregation {
            if written.len() > 1 {
                return Err(Fault::new(scalar.mark, "an aggregation in a list of conditions"));
            }
            let text = aggregation.trim().to_owned();
            let scalar = Scalar { text, is_plain: true, mark: scalar.mark };
            return Ok((all.pop().unwrap_or(Condition::Any(Vec::new())), Some(scalar)));
        }
    }
    match (all.len(), all.pop()) {
        (_, None) => Err(Fault::new(node.mark(), "the condition is empty").hint("name a search")),
        (1, Some(only)) => Ok((only, None)),
        (_, Some(last)) => {
            all.push(last);
            Ok((Condition::Any(all), None))
        }
    }
}

/// Reads what a search asks: a map, a list of maps and keywords, or one keyword.
fn clause(node: &Node, checking: &mut Checking<'_>) -> Result<Clause, Fault> {
    match node {
        Node::Map(map) => map_clause(map, checking),
        Node::List(list) => list_clause(list, checking),
        Node::Scalar(scalar) => keywords(&[scalar], scalar.mark, checking),
    }
}

fn map_clause(map: &Map, checking: &mut Checking<'_>) -> Result<Clause, Fault> {
    let mut clauses = Vec::with_capacity(map.entries.len());
    for (key, value) in &map.entries {
        clauses.push(Clause::Item(item::read(key, value, checking)?));
    }
    joined(clauses, Clause::All, map.mark)
}

/// Keywords of a list become one item; the list is an `or`, so their place in it does not matter.
fn list_clause(list: &List, checking: &mut Checking<'_>) -> Result<Clause, Fault> {
    let mut clauses = Vec::new();
    let mut words = Vec::new();
    for node in &list.nodes {
        match node {
            Node::Scalar(scalar) => words.push(scalar),
            Node::Map(map) => clauses.push(map_clause(map, checking)?),
            Node::List(inner) => {
                let fault = Fault::new(inner.mark, "a list within the list of a search");
                return Err(fault.hint("a search is a map, a list of maps or a list of keywords"));
            }
        }
    }
    if !words.is_empty() {
        clauses.push(keywords(&words, list.mark, checking)?);
    }
    joined(clauses, Clause::Any, list.mark)
}

fn keywords(words: &[&Scalar], mark: Mark, checking: &mut Checking<'_>) -> Result<Clause, Fault> {
    Ok(Clause::Item(item::read_keywords(words, mark, checking)?))
}

fn joined(mut clauses: Vec<Clause>, join: impl FnOnce(Vec<Clause>) -> Clause, mark: Mark) -> Result<Clause, Fault> {
    match (clauses.len(), clauses.pop()) {
        (_, None) => Err(Fault::new(mark, "the search is empty").hint("name a field or a keyword")),
        (1, Some(only)) => Ok(only),
        (_, Some(last)) => {
            clauses.push(last);
            Ok(join(clauses))
        }
    }
}
