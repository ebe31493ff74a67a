//! Builds nodes from the parser's events.
//!
//! Comes in: the text of a file. Goes out: one node a document. Bounded: bytes, depth, and nodes
//! with every alias counted as often as it is used. Nothing here recurses, so depth costs no stack.
//! Keys are scalars and stand once in a map; merge keys (`<<`) are refused, SigmaHQ has none.

use hashbrown::{HashMap, HashSet};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use crate::diagnostic::{Fault, Mark, shown};
use crate::limits::{MAX_FILE_BYTES, MAX_YAML_DEPTH, MAX_YAML_NODES};
use crate::yaml::node::{List, Map, Node, Scalar};

/// A list or map under way.
struct Open {
    anchor: usize,
    /// How many nodes were built before it: the difference at its end is its size.
    nodes_before: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(List),
    Map { map: Map, keys: HashSet<String>, key: Option<Scalar> },
}

#[derive(Default)]
struct Reader {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// Reads every document of a file; empty documents are left out.
pub(crate) fn read_documents(text: &str) -> Result<Vec<Node>, Fault> {
    let start = Mark { line: 1, column: 1 };
    if text.len() > MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, limit is {MAX_FILE_BYTES}", text.len());
        return Err(Fault::new(start, message).hint("split it into several files"));
    }
    // A reader of files puts U+FFFD in the place of bytes that are not UTF-8.
    if let Some(at) = text.find('\u{fffd}') {
        return Err(Fault::new(mark_at(text, at), "the text is not UTF-8").hint("save the file as UTF-8"));
    }
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(step) = parser.next_event() {
        let (event, span) = step.map_err(|error| syntax_fault(&error))?;
        reader.take(event, mark_of(&span.start))?;
    }
    Ok(reader.documents)
}

impl Reader {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let scalar = Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain, mark };
                self.count(1, mark)?;
                self.close(Node::Scalar(scalar), anchor, 1)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(anchor, OpenKind::List(List { nodes: Vec::new(), mark }), mark)
            }
            Event::MappingStart(anchor, _) => {
                let map = Map { entries: Vec::new(), mark };
                self.open(anchor, OpenKind::Map { map, keys: HashSet::new(), key: None }, mark)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { anchor, nodes_before, kind }) => {
                    let node = match kind {
                        OpenKind::List(list) => Node::List(list),
                        OpenKind::Map { map, .. } => Node::Map(map),
                    };
                    let size = self.nodes.saturating_sub(nodes_before);
                    self.close(node, anchor, size)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some((_, size)) = self.anchors.get(&anchor) else {
                    return Err(Fault::new(mark, "the alias refers to itself or to nothing"));
                };
                // Count before copying: the bound must hold before the memory is taken.
                self.count(*size, mark)?;
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else { return Ok(()) };
                self.close(node, 0, size)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_YAML_NODES {
            let message = format!("the file has more than {MAX_YAML_NODES} nodes, aliases counted where used");
            return Err(Fault::new(mark, message).hint("split it, or do without aliases of aliases"));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, kind: OpenKind, mark: Mark) -> Result<(), Fault> {
        if self.open.len() >= MAX_YAML_DEPTH {
            return Err(Fault::new(mark, format!("lists and maps are nested deeper than {MAX_YAML_DEPTH}")));
        }
        let nodes_before = self.nodes;
        self.count(1, mark)?;
        self.open.push(Open { anchor, nodes_before, kind });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Fault> {
        if anchor != 0 {
            // The copy kept for aliases takes memory too.
            self.count(size, node.mark())?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(parent) = self.open.last_mut() else {
            if !matches!(&node, Node::Scalar(scalar) if scalar.is_null()) {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut parent.kind {
            OpenKind::List(list) => list.nodes.push(node),
            OpenKind::Map { map, keys, key } => match key.take() {
                Some(key) => map.entries.push((key, node)),
                None => *key = Some(checked_key(node, keys)?),
            },
        }
        Ok(())
    }
}

fn checked_key(node: Node, keys: &mut HashSet<String>) -> Result<Scalar, Fault> {
    let Node::Scalar(scalar) = node else {
        return Err(Fault::new(node.mark(), format!("a key must be a single value, found {}", node.kind())));
    };
    if scalar.text == "<<" && scalar.is_plain {
        return Err(Fault::new(scalar.mark, "merge keys (<<) are not supported").hint("write the entries out"));
    }
    if !keys.insert(scalar.text.clone()) {
        let message = format!("the key {} stands twice in this map", shown(&scalar.text));
        return Err(Fault::new(scalar.mark, message).hint("put the values into one list, or use a second search"));
    }
    Ok(scalar)
}

fn syntax_fault(error: &ScanError) -> Fault {
    let message: String = error.info().chars().take(200).collect();
    Fault::new(mark_of(error.marker()), format!("not valid YAML: {message}"))
}

fn mark_of(marker: &Marker) -> Mark {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { line: narrow(marker.line()), column: narrow(marker.col().saturating_add(1)) }
}

fn mark_at(text: &str, at: usize) -> Mark {
    let before = text.get(..at).unwrap_or_default();
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    Mark { line: narrow(before.matches('\n').count() + 1), column: narrow(column + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        read_documents(text).unwrap_err()
    }

    #[test]
    fn nodes_know_where_they_stand() {
        let documents = read_documents("a: 1\nb:\n  - x\n  - 'y'\n---\nc: ~\n").unwrap();
        let [Node::Map(first), Node::Map(second)] = documents.as_slice() else { panic!("two maps") };
        let Some(Node::List(list)) = first.get("b") else { panic!("a list") };
        assert_eq!(list.nodes[1].mark(), Mark { line: 4, column: 5 });
        assert!(second.get("c").unwrap().as_scalar("c").unwrap().is_null());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_where_it_does() {
        let fault = fault("a: 1\nb:\n  c: 1\n  c: 2\n");
        assert_eq!(fault.mark, Mark { line: 4, column: 3 });
    }

    #[test]
    fn an_alias_bomb_is_refused_by_its_bound() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(", ")));
        }
        assert!(fault(&text).message.contains("nodes"));
    }

    #[test]
    fn nested_lists_are_refused_by_their_bound() {
        assert!(read_documents(&"[".repeat(20_000)).is_err());
        assert!(fault(&format!("a: {}{}", "[".repeat(40), "]".repeat(40))).message.contains("nested"));
        assert!(read_documents(&"- ".repeat(20_000)).is_err());
    }

    #[test]
    fn a_file_past_its_bound_is_refused() {
        assert!(fault(&format!("a: {}", "x".repeat(MAX_FILE_BYTES))).message.contains("limit"));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_where_it_is_not() {
        assert_eq!(fault("a: 1\nb: x\u{fffd}\n").mark, Mark { line: 2, column: 5 });
    }

    #[test]
    fn merge_keys_and_self_references_are_refused() {
        assert!(fault("a: &a {x: 1}\nb:\n  <<: *a\n").message.contains("merge"));
        assert!(read_documents("a: &a [*a]\n").is_err());
    }
}
