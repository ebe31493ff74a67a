//! Rule documents as written: what a file's YAML documents are, once `action` has been obeyed.
//!
//! Older rules put what several documents share into one with `action: global`; it is laid under
//! every document after it until the next `global` or `reset`. `action: repeat` lays a document
//! over the one before it. Source: Sigma 1.0 "Collections", as pySigma reads them.

use crate::diagnostic::{Fault, Mark, shown};
use crate::yaml::{Map, Node, read_documents};

/// What kind of rule a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// A detection rule.
    Detection,
    /// A correlation.
    Correlation,
    /// A filter on other rules.
    Filter,
}

/// One rule document, `action` obeyed.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// What kind of rule it is.
    pub(crate) kind: DocumentKind,
    /// Its keys.
    pub(crate) map: Map,
    /// Where it begins.
    pub(crate) mark: Mark,
    /// Whether its id may be another document's too: it came from a `global` or `repeat`.
    pub(crate) shares_id: bool,
}

/// Reads a file's documents. A fault of the file as a whole leaves nothing; one of a document
/// leaves the others.
pub(crate) fn read(text: &str) -> Result<Vec<Result<Document, Fault>>, Fault> {
    let nodes = read_documents(text)?;
    if nodes.is_empty() {
        return Err(Fault::new(Mark { line: 1, column: 1 }, "the file holds no document"));
    }
    let mut global: Option<Map> = None;
    let mut previous: Option<Map> = None;
    let mut documents = Vec::with_capacity(nodes.len());
    for node in nodes {
        match take(node, &mut global, &mut previous) {
            Ok(Some(document)) => documents.push(Ok(document)),
            Ok(None) => {}
            Err(fault) => documents.push(Err(fault)),
        }
    }
    Ok(documents)
}

fn take(node: Node, global: &mut Option<Map>, previous: &mut Option<Map>) -> Result<Option<Document>, Fault> {
    let mark = node.mark();
    let Node::Map(mut map) = node else {
        return Err(Fault::new(mark, format!("a rule must be a map, found {}", node.kind())));
    };
    let action = match map.get("action") {
        Some(action) => Some(action.as_scalar("action")?.clone()),
        None => None,
    };
    map.entries.retain(|(key, _)| key.text != "action");
    let base = match action.as_ref().map(|action| action.text.as_str()) {
        None => global.as_ref(),
        Some("repeat") => previous.as_ref(),
        Some("global") => {
            *global = Some(map);
            return Ok(None);
        }
        Some("reset") => {
            *global = None;
            return Ok(None);
        }
        Some(other) => {
            let at = action.as_ref().map_or(mark, |action| action.mark);
            return Err(Fault::new(at, format!("unknown action {}", shown(other))).hint("global, reset or repeat"));
        }
    };
    let shares_id = base.is_some();
    if let Some(base) = base {
        let mut merged = base.clone();
        merged.overlay(&map);
        map = merged;
    }
    *previous = Some(map.clone());
    let kind = kind_of(&map, mark)?;
    Ok(Some(Document { kind, map, mark, shares_id }))
}

fn kind_of(map: &Map, mark: Mark) -> Result<DocumentKind, Fault> {
    let has = |key: &str| map.get(key).is_some();
    match (has("detection"), has("correlation"), has("filter")) {
        (true, false, false) => Ok(DocumentKind::Detection),
        (false, true, false) => Ok(DocumentKind::Correlation),
        (false, false, true) => Ok(DocumentKind::Filter),
        (false, false, false) => Err(Fault::new(mark, "the document has no detection, correlation or filter")
            .hint("a rule needs one of them; is the indentation right?")),
        _ => Err(Fault::new(mark, "the document has more than one of detection, correlation and filter")
            .hint("put each into a document of its own, with --- between")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(text: &str) -> Vec<String> {
        let title = |document: Result<Document, Fault>| match document {
            Ok(document) => document.map.get("title").unwrap().as_scalar("title").unwrap().text.clone(),
            Err(fault) => fault.message,
        };
        read(text).unwrap().into_iter().map(title).collect()
    }

    #[test]
    fn a_global_document_is_laid_under_those_after_it() {
        let text = "action: global\ntitle: t\ndetection: {a: 1, condition: a}\n---\ndetection: {b: 2}\n---\n\
                    title: u\ndetection: {a: 3}\n";
        assert_eq!(titles(text), ["t", "u"]);
        let documents = read(text).unwrap();
        let first = documents[0].as_ref().unwrap();
        assert_eq!(first.map.get("detection").unwrap().as_map("detection").unwrap().entries.len(), 3);
        assert!(first.shares_id);
    }

    #[test]
    fn reset_forgets_and_repeat_copies() {
        let text = "action: global\ntitle: t\n---\naction: reset\n---\ntitle: u\ndetection: {a: 1}\n---\n\
                    action: repeat\ndetection: {b: 1}\n";
        assert_eq!(titles(text), ["u", "u"]);
    }

    #[test]
    fn what_is_no_rule_is_said() {
        assert_eq!(titles("title: x\n")[0], "the document has no detection, correlation or filter");
        assert_eq!(titles("- x\n")[0], "a rule must be a map, found a list");
        assert!(read("# nothing\n").is_err());
    }
}
