//! The chain of modifiers behind a field's name.
//!
//! Source: Sigma modifiers appendix 2.1.

use crate::calendar::CalendarPart;
use crate::comparison::Comparison;
use crate::detection::Relation;
use crate::diagnostic::{Fault, Mark, nearest, shown};
use crate::limits::MAX_MODIFIERS;

/// A step that changes a text before it is compared, in the order written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    /// Every way to write its dashes.
    Windash,
    /// Base64.
    Base64,
    /// Base64 at each of the three offsets.
    Base64Offset,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// UTF-16 with a byte order mark.
    Utf16,
}

/// What kind of comparison it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matching {
    /// Text with wildcards, or a number, or nothing.
    Value,
    /// A regular expression.
    Regex { insensitive: bool, multi_line: bool, dot_all: bool },
    /// A network.
    Cidr,
    /// A number.
    Compare(Comparison),
    /// Presence.
    Exists,
    /// Another field.
    FieldReference,
}

/// A checked chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Modifiers {
    pub(crate) transforms: Vec<Transform>,
    pub(crate) matching: Matching,
    /// Where in the value the text must stand.
    pub(crate) relation: Relation,
    /// The part of the date that is compared instead of the value.
    pub(crate) calendar: Option<CalendarPart>,
    pub(crate) all: bool,
    pub(crate) cased: bool,
    pub(crate) negated: bool,
    pub(crate) expand: bool,
}

const KNOWN: [&str; 34] = [
    "all",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "contains",
    "day",
    "endswith",
    "exists",
    "expand",
    "fieldref",
    "gt",
    "gte",
    "hour",
    "i",
    "ignorecase",
    "lt",
    "lte",
    "m",
    "minute",
    "month",
    "multiline",
    "neq",
    "re",
    "s",
    "dotall",
    "startswith",
    "utf16",
    "utf16be",
    "utf16le",
    "week",
    "wide",
    "windash",
    "year",
];

/// Reads the modifiers of a key, such as `contains|all`.
pub(crate) fn parse(chain: &[&str], mark: Mark) -> Result<Modifiers, Fault> {
    if chain.len() > MAX_MODIFIERS {
        return Err(Fault::new(mark, format!("the field has {} modifiers, limit is {MAX_MODIFIERS}", chain.len())));
    }
    let mut modifiers = Modifiers {
        transforms: Vec::new(),
        matching: Matching::Value,
        relation: Relation::Equal,
        calendar: None,
        all: false,
        cased: false,
        negated: false,
        expand: false,
    };
    for word in chain {
        modifiers.add(word, mark)?;
    }
    modifiers.check(mark)?;
    Ok(modifiers)
}

impl Modifiers {
    fn add(&mut self, word: &str, mark: Mark) -> Result<(), Fault> {
        match word {
            "all" => self.all = true,
            "cased" => self.cased = true,
            "neq" => self.negated = true,
            "expand" => self.expand = true,
            "contains" => self.relate(Relation::Inside, mark)?,
            "startswith" => self.relate(Relation::Start, mark)?,
            "endswith" => self.relate(Relation::End, mark)?,
            "windash" => self.transforms.push(Transform::Windash),
            "base64" => self.transforms.push(Transform::Base64),
            "base64offset" => self.transforms.push(Transform::Base64Offset),
            "utf16le" | "wide" => self.transforms.push(Transform::Utf16Le),
            "utf16be" => self.transforms.push(Transform::Utf16Be),
            "utf16" => self.transforms.push(Transform::Utf16),
            "re" => self.match_as(Matching::Regex { insensitive: false, multi_line: false, dot_all: false }, mark)?,
            "i" | "ignorecase" | "m" | "multiline" | "s" | "dotall" => self.flag(word, mark)?,
            "cidr" => self.match_as(Matching::Cidr, mark)?,
            "exists" => self.match_as(Matching::Exists, mark)?,
            "fieldref" => self.match_as(Matching::FieldReference, mark)?,
            "lt" | "lte" | "gt" | "gte" => {
                let comparison = Comparison::from_word(word).unwrap_or(Comparison::Equal);
                self.match_as(Matching::Compare(comparison), mark)?;
            }
            _ => match CalendarPart::from_word(word) {
                Some(_) if self.calendar.is_some() => return Err(conflict(mark, "two parts of the date")),
                Some(part) => self.calendar = Some(part),
                None => return Err(unknown(word, mark)),
            },
        }
        Ok(())
    }

    fn relate(&mut self, relation: Relation, mark: Mark) -> Result<(), Fault> {
        if self.relation != Relation::Equal && self.relation != relation {
            return Err(conflict(mark, "two of contains, startswith and endswith"));
        }
        self.relation = relation;
        Ok(())
    }

    fn match_as(&mut self, matching: Matching, mark: Mark) -> Result<(), Fault> {
        if self.matching != Matching::Value {
            return Err(conflict(mark, "two of re, cidr, exists, fieldref and the comparisons"));
        }
        self.matching = matching;
        Ok(())
    }

    fn flag(&mut self, word: &str, mark: Mark) -> Result<(), Fault> {
        let Matching::Regex { insensitive, multi_line, dot_all } = &mut self.matching else {
            return Err(Fault::new(mark, format!("the modifier {word} stands without re before it"))
                .hint(format!("write re|{word}")));
        };
        match word {
            "i" | "ignorecase" => *insensitive = true,
            "m" | "multiline" => *multi_line = true,
            _ => *dot_all = true,
        }
        Ok(())
    }

    /// Refuses combinations of which one half would silently be without effect.
    fn check(&self, mark: Mark) -> Result<(), Fault> {
        let is_text = self.matching == Matching::Value;
        let is_reference = self.matching == Matching::FieldReference;
        if !is_text && !self.transforms.is_empty() {
            return Err(conflict(mark, "an encoding with re, cidr, exists, fieldref or a comparison"));
        }
        if !is_text && !is_reference && self.relation != Relation::Equal {
            return Err(conflict(mark, "contains, startswith or endswith with re, cidr, exists or a comparison"));
        }
        if !is_text && !is_reference && self.cased {
            return Err(conflict(mark, "cased with re, cidr, exists or a comparison"));
        }
        if self.matching == Matching::Exists && (self.negated || self.all || self.expand) {
            return Err(conflict(mark, "exists with neq, all or expand"));
        }
        if is_reference && self.expand {
            return Err(conflict(mark, "fieldref with expand"));
        }
        let compares = is_text || matches!(self.matching, Matching::Compare(_));
        if self.calendar.is_some()
            && (!compares || self.cased || self.relation != Relation::Equal || !self.transforms.is_empty())
        {
            return Err(conflict(mark, "a part of the date with anything but a comparison"));
        }
        Ok(())
    }
}

fn conflict(mark: Mark, what: &str) -> Fault {
    Fault::new(mark, format!("the modifiers combine {what}")).hint("one of them would have no effect; remove it")
}

fn unknown(word: &str, mark: Mark) -> Fault {
    let fault = Fault::new(mark, format!("unknown modifier {}", shown(word)));
    match nearest(&word.to_ascii_lowercase(), &KNOWN) {
        Some(meant) => fault.hint(format!("did you mean {meant}?")),
        None => fault.hint("see the modifiers appendix of the Sigma specification"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(chain: &str) -> Result<Modifiers, Fault> {
        let words: Vec<&str> = if chain.is_empty() { Vec::new() } else { chain.split('|').collect() };
        parse(&words, Mark::default())
    }

    #[test]
    fn every_modifier_is_known() {
        for word in KNOWN {
            let chain = if matches!(word, "i" | "m" | "s" | "ignorecase" | "multiline" | "dotall") {
                format!("re|{word}")
            } else {
                word.to_owned()
            };
            assert!(parsed(&chain).is_ok(), "{word}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for chain in [
            "contains|endswith",
            "re|contains",
            "cidr|re",
            "i",
            "re|base64",
            "exists|neq",
            "hour|contains",
            "gt|lt",
            "minute|hour",
            "cidr|cased",
        ] {
            assert!(parsed(chain).is_err(), "{chain}");
        }
        for chain in
            ["wide|base64offset|contains", "fieldref|endswith|cased", "hour|gte", "re|i|m|s", "neq", "expand|all"]
        {
            assert!(parsed(chain).is_ok(), "{chain}");
        }
    }

    #[test]
    fn a_mistyped_modifier_is_named() {
        assert_eq!(parsed("endwith").unwrap_err().hint.as_deref(), Some("did you mean endswith?"));
    }
}
