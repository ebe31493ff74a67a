//! What a rule document says of itself: title, id, level and the like.

use crate::diagnostic::{Fault, Mark, nearest, shown};
use crate::rule::{Level, Related, RuleLogsource, Status};
use crate::yaml::{Map, Node};

/// What detection rules, correlations and filters have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) name: Option<String>,
    pub(crate) level: Level,
    pub(crate) status: Option<Status>,
    pub(crate) description: String,
    pub(crate) author: String,
    pub(crate) references: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) falsepositives: Vec<String>,
    pub(crate) fields: Vec<String>,
    pub(crate) related: Vec<Related>,
}

/// Reads them.
pub(crate) fn read(map: &Map, mark: Mark) -> Result<Metadata, Fault> {
    let Some(title) = text(map, "title")?.filter(|title| !title.trim().is_empty()) else {
        return Err(Fault::new(mark, "the rule has no title").hint("add a title of up to 256 characters"));
    };
    let name = text(map, "name")?.filter(|name| !name.is_empty());
    let id = match text(map, "id")?.filter(|id| !id.is_empty()) {
        Some(id) => id,
        None => name.clone().unwrap_or_else(|| slug(&title)),
    };
    Ok(Metadata {
        id,
        title,
        name,
        level: word(map, "level", Level::from_word, &Level::ALL.map(Level::as_str))?.unwrap_or_default(),
        status: word(map, "status", Status::from_word, &Status::ALL.map(Status::as_str))?,
        description: text(map, "description")?.unwrap_or_default(),
        author: texts(map, "author")?.join(", "),
        references: texts(map, "references")?,
        tags: texts(map, "tags")?,
        falsepositives: texts(map, "falsepositives")?,
        fields: texts(map, "fields")?,
        related: related(map)?,
    })
}

/// Reads a `logsource`; small letters are made of capitals, as its names are by definition.
pub(crate) fn logsource(map: &Map, mark: Mark) -> Result<RuleLogsource, Fault> {
    let Some(node) = map.get("logsource") else {
        return Err(Fault::new(mark, "the rule has no logsource").hint("say at least a product or a category"));
    };
    let map = node.as_map("logsource")?;
    let part = |key: &str| -> Result<Option<String>, Fault> {
        Ok(text(map, key)?.filter(|name| !name.is_empty()).map(|name| name.to_ascii_lowercase()))
    };
    Ok(RuleLogsource {
        product: part("product")?,
        service: part("service")?,
        category: part("category")?,
        definition: text(map, "definition")?.filter(|definition| !definition.is_empty()),
    })
}

/// Returns the text of a key.
pub(crate) fn text(map: &Map, key: &str) -> Result<Option<String>, Fault> {
    match map.get(key) {
        None => Ok(None),
        Some(node) => {
            let scalar = node.as_scalar(key)?;
            Ok(if scalar.is_null() { None } else { Some(scalar.text.clone()) })
        }
    }
}

/// Returns the texts of a key that holds one or a list of them.
pub(crate) fn texts(map: &Map, key: &str) -> Result<Vec<String>, Fault> {
    match map.get(key) {
        None => Ok(Vec::new()),
        Some(node) => Ok(node.as_scalars(key)?.into_iter().map(|scalar| scalar.text.clone()).collect()),
    }
}

fn word<T>(map: &Map, key: &str, from_word: fn(&str) -> Option<T>, known: &[&str]) -> Result<Option<T>, Fault> {
    let Some(written) = text(map, key)? else { return Ok(None) };
    let lower = written.to_ascii_lowercase();
    from_word(&lower).map(Some).ok_or_else(|| {
        let fault = Fault::new(map.mark_of(key), format!("unknown {key} {}", shown(&written)));
        match nearest(&lower, known) {
            Some(meant) => fault.hint(format!("did you mean {meant}?")),
            None => fault.hint(format!("one of {}", known.join(", "))),
        }
    })
}

fn related(map: &Map) -> Result<Vec<Related>, Fault> {
    let Some(node) = map.get("related") else { return Ok(Vec::new()) };
    let Node::List(list) = node else {
        return Err(Fault::new(node.mark(), format!("related must be a list, found {}", node.kind())));
    };
    let mut all = Vec::with_capacity(list.nodes.len());
    for node in &list.nodes {
        let entry = node.as_map("an entry of related")?;
        let part = |key: &str| text(entry, key).map(Option::unwrap_or_default);
        all.push(Related { id: part("id")?, kind: part("type")? });
    }
    Ok(all)
}

/// Makes an id of a title: small letters and digits, dashes between.
fn slug(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    for character in title.chars() {
        if character.is_alphanumeric() {
            slug.extend(character.to_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::read_documents;

    fn read_text(text: &str) -> Result<Metadata, Fault> {
        let documents = read_documents(text).unwrap();
        read(documents[0].as_map("rule").unwrap(), Mark::default())
    }

    #[test]
    fn a_rule_without_id_is_named_by_its_title() {
        let metadata = read_text("title: 'SSH: guessing, then success'\n").unwrap();
        assert_eq!(metadata.id, "ssh-guessing-then-success");
        assert_eq!(metadata.level, Level::Medium);
    }

    #[test]
    fn a_mistyped_level_is_refused_with_what_was_meant() {
        let fault = read_text("title: x\nlevel: hihg\n").unwrap_err();
        assert_eq!(fault.mark.line, 2);
        assert_eq!(fault.hint.as_deref(), Some("did you mean high?"));
    }

    #[test]
    fn a_list_or_one_text_will_do() {
        let metadata = read_text("title: x\ntags: attack.t1\nfalsepositives:\n  - a\n  - b\n").unwrap();
        assert_eq!(metadata.tags, ["attack.t1"]);
        assert_eq!(metadata.falsepositives, ["a", "b"]);
    }
}
