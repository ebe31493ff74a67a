//! Values that stand for a rule's placeholders, such as `%Administrators%`.
//!
//! Source: Sigma rules specification 2.1, "Placeholders": a placeholder is only one behind the
//! `expand` modifier, and `\%` is a plain percent sign.

use hashbrown::HashMap;

use crate::diagnostic::{Diagnostic, Fault, Mark};
use crate::yaml::read_documents;

/// The values of each placeholder; a value may hold wildcards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    values: HashMap<String, Vec<String>>,
}

/// What `expand` makes of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expansion {
    /// Every text it can stand for.
    pub(crate) texts: Vec<String>,
    /// Placeholders that nobody has given values; they are left in the texts as written.
    pub(crate) unbound: Vec<String>,
}

enum Part<'a> {
    Text(String),
    Name(&'a str),
}

impl Placeholders {
    /// Returns a table without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a placeholder its values, in place of those it had.
    pub fn insert(&mut self, name: impl Into<String>, values: Vec<String>) {
        self.values.insert(name.into(), values);
    }

    /// Reads a table from YAML: a map of names (without `%`) to one value or a list.
    ///
    /// # Errors
    /// [`Diagnostic`] with the place and what is wrong there.
    pub fn parse(path: &str, text: &str) -> Result<Self, Diagnostic> {
        Self::read(text).map_err(|fault| fault.in_file(path))
    }

    fn read(text: &str) -> Result<Self, Fault> {
        let mut table = Self::default();
        for document in read_documents(text)? {
            for (name, node) in &document.as_map("the table of placeholders")?.entries {
                let values = node.as_scalars("the values of a placeholder")?;
                table.insert(name.text.clone(), values.into_iter().map(|value| value.text.clone()).collect());
            }
        }
        Ok(table)
    }

    /// Returns every text that `text` stands for.
    pub(crate) fn expand(&self, text: &str, most: usize, mark: Mark) -> Result<Expansion, Fault> {
        let mut expansion = Expansion { texts: vec![String::new()], unbound: Vec::new() };
        for part in parts(text) {
            let choices = match part {
                Part::Text(text) => vec![text],
                Part::Name(name) => match self.values.get(name) {
                    Some(values) => values.clone(),
                    None => {
                        expansion.unbound.push(name.to_owned());
                        vec![format!("%{name}%")]
                    }
                },
            };
            if expansion.texts.len().saturating_mul(choices.len()) > most {
                return Err(Fault::new(mark, format!("the placeholders make more than {most} values")));
            }
            let extended =
                expansion.texts.iter().flat_map(|head| choices.iter().map(move |tail| format!("{head}{tail}")));
            expansion.texts = extended.collect();
        }
        Ok(expansion)
    }
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        if let Some(unescaped) = rest.strip_prefix("\\%") {
            plain.push('%');
            rest = unescaped;
        } else if let Some((name, beyond)) = placeholder(rest) {
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Name(name));
            rest = beyond;
        } else {
            plain.push(character);
            rest = after;
        }
    }
    parts.push(Part::Text(plain));
    parts
}

/// Returns the name if the text begins with `%name%`, and what is after it.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('%')?.split_once('%')?;
    let is_name =
        !name.is_empty() && name.chars().all(|next| next.is_alphanumeric() || matches!(next, '_' | '-' | '.'));
    is_name.then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Expansion {
        let table = Placeholders::parse("p.yml", "Admins: [root, 'adm_*']\nHost: srv\n").unwrap();
        table.expand(text, 100, Mark::default()).unwrap()
    }

    /// Sigma rules specification 2.1, "Placeholders": the examples.
    #[test]
    fn placeholders_stand_for_their_values() {
        assert_eq!(expand("%Admins%").texts, ["root", "adm_*"]);
        assert_eq!(expand("%Host%\\%Admins%").texts, ["srv%Admins%"]);
        assert_eq!(expand("\\%plain%Host%").texts, ["%plainsrv"]);
        assert_eq!(expand("100 % sure %").texts, ["100 % sure %"]);
    }

    #[test]
    fn one_without_values_is_told() {
        let expansion = expand("%Nobody%");
        assert_eq!(expansion.texts, ["%Nobody%"]);
        assert_eq!(expansion.unbound, ["Nobody"]);
    }

    #[test]
    fn many_values_are_refused_by_their_bound() {
        let mut table = Placeholders::new();
        table.insert("x", vec!["y".to_owned(); 50]);
        assert!(table.expand("%x%%x%", 2_000, Mark::default()).is_err());
    }
}
