//! What a rule asks of one event, as checked: a condition over named searches, each search a tree
//! of items, each item one field laid against one or more tests.
//!
//! ```text
//! condition: selection and not 1 of filter_*      Condition::All[Search(0), Not(Any[Search(1), Search(2)])]
//! selection:                                      Search "selection"
//!     Image|endswith: '\cmd.exe'                  Clause::All[Item Image [Text *\cmd.exe],
//!     CommandLine|contains|all:                              Item CommandLine, every [Text *a*, Text *b*]]
//!         - 'a'
//!         - 'b'
//! ```

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::calendar::CalendarPart;
use crate::comparison::Comparison;
use crate::number::Number;
use crate::pattern::Pattern;

/// What a rule asks of one event.
#[derive(Clone, Debug)]
pub struct Detection {
    /// The named searches, in the order of the rule.
    pub searches: Vec<Search>,
    /// How they are combined.
    pub condition: Condition,
}

/// A named part of a detection.
#[derive(Clone, Debug)]
pub struct Search {
    /// The search identifier, such as `selection`.
    pub name: String,
    /// What it asks.
    pub clause: Clause,
}

/// How searches are combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All of these.
    All(Vec<Condition>),
    /// One of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// The search at this place of `Detection::searches`.
    Search(usize),
}

/// How items are combined within a search.
#[derive(Clone, Debug)]
pub enum Clause {
    /// All of these: a map.
    All(Vec<Clause>),
    /// One of these: a list of maps.
    Any(Vec<Clause>),
    /// One item.
    Item(Item),
}

/// A field and what is asked of its values.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where the values come from.
    pub target: Target,
    /// Whether one test is enough or all must hold.
    pub join: Join,
    /// Whether the field must be there and the tests must *not* hold (`neq`).
    pub negated: bool,
    /// What is asked; never empty.
    pub tests: Vec<Test>,
    /// The key as the rule writes it, such as `Image|endswith`.
    pub key: String,
}

/// Where an item's values come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The values of one field.
    Field(String),
    /// Every value of the event: a keyword.
    Keyword,
}

/// How the tests of an item are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Join {
    /// One test is enough, for one value.
    Any,
    /// Each test must hold, each for some value (`all`).
    Every,
}

/// What is asked of a value.
#[derive(Clone, Debug)]
pub enum Test {
    /// The text fits a pattern; a pattern that is not cased is folded, and so must the value be.
    Text {
        /// The pattern.
        pattern: Pattern,
        /// Whether case counts.
        cased: bool,
    },
    /// The number, or the text that is one, is equal.
    Equal(Number),
    /// The number, or the text that is one, compares so.
    Compare(Comparison, Number),
    /// The expression matches somewhere in the text.
    Regex(Box<Expression>),
    /// The address is in the network.
    Network(IpNet),
    /// A part of the date compares so.
    Calendar(CalendarPart, Comparison, Number),
    /// The field is absent or present without a value.
    Null,
    /// The field is present (or absent), whatever its value.
    Exists(bool),
    /// One of these holds: what a value stands for under `all` once `windash` and the like have
    /// multiplied it.
    OneOf(Vec<Test>),
    /// The value stands so to a value of another field of the same event.
    Reference {
        /// The other field.
        field: String,
        /// How its value must stand in this one.
        relation: Relation,
        /// Whether case counts.
        cased: bool,
    },
}

/// A regular expression and how it is to be taken.
#[derive(Clone, Debug)]
pub struct Expression {
    /// The expression, compiled; its text is what `as_str` returns.
    pub regex: Regex,
    /// Whether case does not count (`i`).
    pub insensitive: bool,
    /// Whether `^` and `$` match at every line (`m`).
    pub multi_line: bool,
    /// Whether `.` matches a line feed (`s`).
    pub dot_all: bool,
}

/// How another field's value must stand in this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// It is the whole of it.
    Equal,
    /// It is its beginning.
    Start,
    /// It is its end.
    End,
    /// It is somewhere in it.
    Inside,
}

impl Relation {
    /// Returns whether `other` stands so in `value`.
    pub(crate) fn holds(self, value: &str, other: &str) -> bool {
        match self {
            Self::Equal => value == other,
            Self::Start => value.starts_with(other),
            Self::End => value.ends_with(other),
            Self::Inside => value.contains(other),
        }
    }
}

/// Returns whether the address a text is lies in the network. An IPv4 address written as IPv6
/// (`::ffff:10.0.0.1`, as Sysmon does) is also taken for what it is.
pub(crate) fn is_in_network(text: &str, network: &IpNet) -> bool {
    let Some(address) = parse_address(text) else { return false };
    network.contains(&address) || network.contains(&address.to_canonical())
}

/// Returns the address a text is; brackets and an interface's name after `%` are tolerated.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_ascii();
    // No address is longer than a mapped IPv6 one with an interface's name.
    if text.len() > 64
        || !text.bytes().next().is_some_and(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'['))
    {
        return None;
    }
    let text = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse().ok()
}

impl Item {
    /// Returns the field, unless it is a keyword.
    pub fn field(&self) -> Option<&str> {
        match &self.target {
            Target::Field(name) => Some(name),
            Target::Keyword => None,
        }
    }
}

impl Detection {
    /// Calls `visit` on every item, in the order of the rule.
    pub fn visit_items<'a>(&'a self, visit: &mut dyn FnMut(&'a Item)) {
        for search in &self.searches {
            search.clause.visit_items(visit);
        }
    }

    /// Returns the names of the fields it looks at, sorted, each once; keywords have none.
    pub fn field_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit_items(&mut |item| {
            names.extend(item.field());
            for test in &item.tests {
                if let Test::Reference { field, .. } = test {
                    names.push(field);
                }
            }
        });
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Clause {
    fn visit_items<'a>(&'a self, visit: &mut dyn FnMut(&'a Item)) {
        match self {
            Self::All(clauses) | Self::Any(clauses) => clauses.iter().for_each(|clause| clause.visit_items(visit)),
            Self::Item(item) => visit(item),
        }
    }
}
