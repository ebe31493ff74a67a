//! One key of a search with its values, checked: an [`Item`].
//!
//! Comes in: `CommandLine|contains|windash` and its values. Goes out: the target, the tests, how
//! they are joined. Everything that can be decided about a value is decided here: a wrong regular
//! expression, network or number is refused with its place.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::RegexBuilder;

use crate::comparison::Comparison;
use crate::detection::{Expression, Item, Join, Relation, Target, Test};
use crate::diagnostic::{Fault, Mark, shown};
use crate::encoding::{base64, base64_offsets, bytes_as_text, utf16_be, utf16_le, utf16_with_mark, windash};
use crate::limits::{
    MAX_ITEM_VALUES, MAX_REGEX_BYTES, MAX_REGEX_CACHE_BYTES, MAX_REGEX_COMPILED_BYTES, MAX_REGEX_DEPTH,
    MAX_WINDASH_DASHES,
};
use crate::modifier::{Matching, Modifiers, Transform, parse};
use crate::number::Number;
use crate::pattern::Pattern;
use crate::placeholder::Placeholders;
use crate::yaml::{Node, Scalar};

/// What an item is checked against, and what is remarked on the way.
pub(crate) struct Checking<'a> {
    /// The placeholders' values.
    pub(crate) placeholders: &'a Placeholders,
    /// What is doubtful but not wrong.
    pub(crate) warnings: Vec<Fault>,
}

/// A text on its way through the transforming modifiers.
enum Changing {
    Written(Pattern),
    Bytes(Vec<u8>),
}

/// Reads one key of a search.
pub(crate) fn read(key: &Scalar, value: &Node, checking: &mut Checking<'_>) -> Result<Item, Fault> {
    let mut words = key.text.split('|');
    let field = words.next().unwrap_or_default();
    let target = if field.is_empty() { Target::Keyword } else { Target::Field(field.to_owned()) };
    let modifiers = parse(&words.collect::<Vec<_>>(), key.mark)?;
    let values: Vec<&Scalar> = match value {
        Node::Scalar(scalar) => vec![scalar],
        Node::List(list) => {
            let what = "a value of a search's field";
            list.nodes.iter().map(|node| node.as_scalar(what)).collect::<Result<_, _>>()?
        }
        Node::Map(map) => {
            let fault = Fault::new(map.mark, "a field's value must be a single value or a list, found a map");
            return Err(fault.hint("write a nested field as outer.inner"));
        }
    };
    if values.is_empty() {
        return Err(Fault::new(value.mark(), "the list of values is empty").hint("remove the field or give it values"));
    }
    if modifiers.all && values.len() == 1 {
        let remark = Fault::new(key.mark, "all is without effect on a single value");
        checking.warnings.push(remark.hint("remove it"));
    }
    item(key, target, &modifiers, &values, checking)
}

/// Reads a keyword that stands in a list without a field.
pub(crate) fn read_keywords(values: &[&Scalar], mark: Mark, checking: &mut Checking<'_>) -> Result<Item, Fault> {
    let key = Scalar { text: String::new(), is_plain: true, mark };
    let modifiers = parse(&[], mark)?;
    item(&key, Target::Keyword, &modifiers, values, checking)
}

fn item(
    key: &Scalar,
    target: Target,
    modifiers: &Modifiers,
    values: &[&Scalar],
    checking: &mut Checking<'_>,
) -> Result<Item, Fault> {
    let is_keyword = target == Target::Keyword;
    let is_anchored = matches!(modifiers.relation, Relation::Start | Relation::End);
    let needs_field =
        modifiers.negated || is_anchored || !matches!(modifiers.matching, Matching::Value | Matching::Regex { .. });
    if is_keyword && needs_field {
        return Err(Fault::new(key.mark, "a keyword takes no modifier that needs a field").hint("name the field"));
    }
    let mut tests = Vec::with_capacity(values.len());
    for value in values {
        value_tests(value, modifiers, is_keyword, checking, &mut tests)?;
        let variants = tests.iter().map(|test| if let Test::OneOf(variants) = test { variants.len() } else { 1 });
        if variants.sum::<usize>() > MAX_ITEM_VALUES {
            return Err(Fault::new(value.mark, format!("the field has more than {MAX_ITEM_VALUES} values")));
        }
    }
    let join = if modifiers.all { Join::Every } else { Join::Any };
    Ok(Item { target, join, negated: modifiers.negated, tests, key: key.text.clone() })
}

/// Adds the tests of one value. Under `all`, the variants of one value (dashes, offsets,
/// placeholders) are one test, of which one variant must hold.
fn value_tests(
    value: &Scalar,
    modifiers: &Modifiers,
    is_keyword: bool,
    checking: &mut Checking<'_>,
    tests: &mut Vec<Test>,
) -> Result<(), Fault> {
    let before = tests.len();
    match modifiers.matching {
        Matching::Exists => tests.push(Test::Exists(truth(value)?)),
        Matching::FieldReference => {
            let field = value.text.clone();
            tests.push(Test::Reference { field, relation: modifiers.relation, cased: modifiers.cased });
        }
        Matching::Compare(comparison) => tests.push(compare(value, comparison, modifiers)?),
        Matching::Value if value.is_null() => tests.push(null(value, modifiers, is_keyword)?),
        Matching::Value if modifiers.calendar.is_some() => tests.push(compare(value, Comparison::Equal, modifiers)?),
        Matching::Value | Matching::Cidr | Matching::Regex { .. } => {
            for text in expanded(value, modifiers, checking)? {
                text_tests(&text, value, modifiers, is_keyword, tests)?;
            }
        }
    }
    if modifiers.all && tests.len() > before + 1 {
        let variants = tests.split_off(before);
        tests.push(Test::OneOf(variants));
    }
    Ok(())
}

fn text_tests(
    text: &str,
    value: &Scalar,
    modifiers: &Modifiers,
    is_keyword: bool,
    tests: &mut Vec<Test>,
) -> Result<(), Fault> {
    match modifiers.matching {
        Matching::Regex { insensitive, multi_line, dot_all } => {
            let expression = expression(text, value.mark, insensitive, multi_line, dot_all)?;
            tests.push(Test::Regex(Box::new(expression)));
        }
        Matching::Cidr => {
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            let Some(network) = text.parse().ok().or_else(address) else {
                let fault = Fault::new(value.mark, format!("{} is no network", shown(text)));
                return Err(fault.hint("write it as 10.0.0.0/8"));
            };
            tests.push(Test::Network(network));
        }
        _ => {
            let is_whole = modifiers.relation == Relation::Equal && modifiers.transforms.is_empty() && !is_keyword;
            match number(value).filter(|_| is_whole && !modifiers.expand) {
                Some(number) => tests.push(Test::Equal(number)),
                None => {
                    for pattern in transformed(text, value.mark, &modifiers.transforms)? {
                        tests.push(text_test(pattern, modifiers, is_keyword));
                    }
                }
            }
        }
    }
    Ok(())
}

fn text_test(pattern: Pattern, modifiers: &Modifiers, is_keyword: bool) -> Test {
    let relation = if is_keyword { Relation::Inside } else { modifiers.relation };
    let pattern = match relation {
        Relation::Equal => pattern,
        Relation::Start => pattern.open_end(),
        Relation::End => pattern.open_start(),
        Relation::Inside => pattern.open_start().open_end(),
    };
    let cased = modifiers.cased;
    Test::Text { pattern: if cased { pattern } else { pattern.folded() }, cased }
}

fn expanded(value: &Scalar, modifiers: &Modifiers, checking: &mut Checking<'_>) -> Result<Vec<String>, Fault> {
    if !modifiers.expand {
        return Ok(vec![value.text.clone()]);
    }
    let expansion = checking.placeholders.expand(&value.text, MAX_ITEM_VALUES, value.mark)?;
    for name in &expansion.unbound {
        let remark = Fault::new(value.mark, format!("the placeholder {} has no values", shown(name)));
        checking.warnings.push(remark.hint("give it values; until then the value is matched as written"));
    }
    Ok(expansion.texts)
}

/// Sends a text through the transforming modifiers in their order.
fn transformed(text: &str, mark: Mark, transforms: &[Transform]) -> Result<Vec<Pattern>, Fault> {
    let mut changing = vec![Changing::Written(Pattern::parse(text))];
    for transform in transforms {
        let mut changed = Vec::with_capacity(changing.len());
        for each in &changing {
            apply(*transform, each, mark, &mut changed)?;
        }
        if changed.len() > MAX_ITEM_VALUES {
            return Err(Fault::new(mark, format!("the modifiers make more than {MAX_ITEM_VALUES} values")));
        }
        changing = changed;
    }
    let pattern = |changing| match changing {
        Changing::Written(pattern) => pattern,
        Changing::Bytes(bytes) => Pattern::literal(&bytes_as_text(&bytes)),
    };
    Ok(changing.into_iter().map(pattern).collect())
}

fn apply(transform: Transform, value: &Changing, mark: Mark, out: &mut Vec<Changing>) -> Result<(), Fault> {
    if transform == Transform::Windash {
        let Changing::Written(pattern) = value else {
            return Err(Fault::new(mark, "windash stands behind an encoding").hint("put it first"));
        };
        return windashed(pattern, mark, out);
    }
    let plain = |value: &Changing| match value {
        Changing::Written(pattern) => pattern.as_literal().map(str::to_owned).ok_or_else(|| {
            Fault::new(mark, "a value with wildcards cannot be encoded").hint("escape * and ? with a backslash")
        }),
        Changing::Bytes(bytes) => Ok(bytes_as_text(bytes)),
    };
    let bytes = |value: &Changing| match value {
        Changing::Written(_) => plain(value).map(String::into_bytes),
        Changing::Bytes(bytes) => Ok(bytes.clone()),
    };
    match transform {
        Transform::Base64 => out.push(Changing::Written(Pattern::literal(&base64(&bytes(value)?)))),
        Transform::Base64Offset => {
            let variants = base64_offsets(&bytes(value)?);
            if variants.is_empty() {
                return Err(Fault::new(mark, "the value is too short for base64offset").hint("it needs two characters"));
            }
            out.extend(variants.iter().map(|variant| Changing::Written(Pattern::literal(variant))));
        }
        Transform::Utf16Le => out.push(Changing::Bytes(utf16_le(&plain(value)?))),
        Transform::Utf16Be => out.push(Changing::Bytes(utf16_be(&plain(value)?))),
        Transform::Utf16 => out.push(Changing::Bytes(utf16_with_mark(&plain(value)?))),
        Transform::Windash => {}
    }
    Ok(())
}

fn windashed(pattern: &Pattern, mark: Mark, out: &mut Vec<Changing>) -> Result<(), Fault> {
    // Written back with its escapes, so that wildcards survive; they are no word characters.
    let Some(variants) = windash(&pattern.to_string()) else {
        let message = format!("windash on a value with more than {MAX_WINDASH_DASHES} dashes");
        return Err(Fault::new(mark, message).hint("split the value"));
    };
    out.extend(variants.iter().map(|variant| Changing::Written(Pattern::parse(variant))));
    Ok(())
}

/// Returns the number an unquoted value is. Numbers that would lose something by being read as
/// one (leading zeros, hexadecimal) stay text, as the events have them.
fn number(value: &Scalar) -> Option<Number> {
    if !value.is_plain {
        return None;
    }
    let digits = value.text.strip_prefix('-').unwrap_or(&value.text);
    let leads_with_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let begins_as_number = digits.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if leads_with_zero || !begins_as_number { None } else { Number::parse(&value.text) }
}

fn compare(value: &Scalar, comparison: Comparison, modifiers: &Modifiers) -> Result<Test, Fault> {
    let Some(number) = Number::parse(&value.text) else {
        return Err(
            Fault::new(value.mark, format!("{} is no number", shown(&value.text))).hint("write a decimal number")
        );
    };
    Ok(match modifiers.calendar {
        Some(part) => Test::Calendar(part, comparison, number),
        None => Test::Compare(comparison, number),
    })
}

fn truth(value: &Scalar) -> Result<bool, Fault> {
    match value.text.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(Fault::new(value.mark, format!("exists takes true or false, found {}", shown(&value.text)))),
    }
}

fn null(value: &Scalar, modifiers: &Modifiers, is_keyword: bool) -> Result<Test, Fault> {
    let is_plain = modifiers.relation == Relation::Equal && modifiers.transforms.is_empty();
    if is_keyword || !is_plain || modifiers.calendar.is_some() {
        let fault = Fault::new(value.mark, "null where a text is needed");
        return Err(fault.hint("quote it if the text is meant, write '' for the empty text"));
    }
    Ok(Test::Null)
}

fn expression(text: &str, mark: Mark, insensitive: bool, multi_line: bool, dot_all: bool) -> Result<Expression, Fault> {
    if text.len() > MAX_REGEX_BYTES {
        let message = format!("the regular expression has {} bytes, limit is {MAX_REGEX_BYTES}", text.len());
        return Err(Fault::new(mark, message).hint("split it"));
    }
    let regex = RegexBuilder::new(text)
        .case_insensitive(insensitive)
        .multi_line(multi_line)
        .dot_matches_new_line(dot_all)
        .size_limit(MAX_REGEX_COMPILED_BYTES)
        .dfa_size_limit(MAX_REGEX_CACHE_BYTES)
        .nest_limit(MAX_REGEX_DEPTH)
        .build()
        .map_err(|error| regex_fault(&error, mark))?;
    Ok(Expression { regex, insensitive, multi_line, dot_all })
}

fn regex_fault(error: &regex::Error, mark: Mark) -> Fault {
    let said = error.to_string();
    let reason = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let fault = Fault::new(mark, format!("not a regular expression the engine can run: {reason}"));
    if said.contains("look-around") || said.contains("backreference") {
        return fault.hint("it must run in linear time: do without look-around and backreferences");
    }
    match error {
        regex::Error::CompiledTooBig(_) => fault.hint("shorten its repetitions"),
        _ => fault.hint("escape what is meant literally with a backslash"),
    }
}

#[cfg(test)]
mod tests;
