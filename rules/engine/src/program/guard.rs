//! Texts a regular expression cannot match without.
//!
//! Comes in: an expression. Goes out: a set of folded texts of which at least one stands in the
//! folded value whenever the expression matches, or nothing if no useful set is seen. Running an
//! expression only behind such a text turns nearly all of them into a lookup. Sound because folding
//! works character by character (`fold.rs`).

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::detection::Expression;
use crate::fold::{fold, fold_char};
use crate::limits::MAX_REGEX_DEPTH;

/// Shortest text worth looking for.
const MIN_BYTES: usize = 2;

/// Most texts of one guard.
const MAX_TEXTS: usize = 48;

/// Returns the texts of which one must be there.
pub(crate) fn guard(expression: &Expression) -> Option<Vec<String>> {
    let hir = ParserBuilder::new()
        .case_insensitive(expression.insensitive)
        .multi_line(expression.multi_line)
        .dot_matches_new_line(expression.dot_all)
        .nest_limit(MAX_REGEX_DEPTH)
        .build()
        .parse(expression.regex.as_str())
        .ok()?;
    required(&hir).filter(|texts| weakest(texts) >= MIN_BYTES)
}

/// The length of the shortest text: what decides how often the guard lets through.
fn weakest(texts: &[String]) -> usize {
    texts.iter().map(String::len).min().unwrap_or(0)
}

fn better(one: Option<Vec<String>>, other: Option<Vec<String>>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let rank = |texts: &Vec<String>| (weakest(texts).min(8), std::cmp::Reverse(texts.len()), weakest(texts));
            Some(if rank(&other) > rank(&one) { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

fn required(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(|text| vec![fold(text)]),
        HirKind::Class(_) => single(hir).map(|character| vec![character.to_string()]),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => concatenated(parts),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(required(part)?);
                if all.len() > MAX_TEXTS {
                    return None;
                }
            }
            all.sort();
            all.dedup();
            Some(all)
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// The best of the runs of literal text and of what each part requires by itself.
fn concatenated(parts: &[Hir]) -> Option<Vec<String>> {
    let mut best = None;
    let mut run = String::new();
    for part in parts {
        if let HirKind::Literal(literal) = part.kind()
            && let Ok(text) = std::str::from_utf8(&literal.0)
        {
            run.push_str(&fold(text));
            continue;
        }
        if let Some(character) = single(part) {
            run.push(character);
            continue;
        }
        // A look takes no text, so the run goes on across it.
        if matches!(part.kind(), HirKind::Look(_) | HirKind::Empty) {
            continue;
        }
        best = better(best, Some(vec![std::mem::take(&mut run)]).filter(|texts| weakest(texts) > 0));
        best = better(best, required(part));
    }
    better(best, Some(vec![run]).filter(|texts| weakest(texts) > 0))
}

/// Returns the one character all characters of a class fold to: what `a` is without regard to case.
fn single(hir: &Hir) -> Option<char> {
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return None };
    let mut folded = None;
    for (count, range) in class.ranges().iter().enumerate() {
        if count > 3 || range.start() != range.end() {
            return None;
        }
        let character = fold_char(range.start());
        if *folded.get_or_insert(character) != character {
            return None;
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::RegexBuilder;

    fn guard_of(text: &str, insensitive: bool) -> Option<Vec<String>> {
        let regex = RegexBuilder::new(text).case_insensitive(insensitive).build().unwrap();
        guard(&Expression { regex, insensitive, multi_line: false, dot_all: false })
    }

    #[test]
    fn the_longest_text_is_required() {
        assert_eq!(guard_of(r"cmd.{0,5}(?:/c|/r).+powershell", false).unwrap(), ["powershell"]);
        assert_eq!(guard_of(r"(?i)Invoke-Expression", false).unwrap(), ["invoke-expression"]);
        assert_eq!(guard_of(r"SysTem\d+", true).unwrap(), ["system"]);
        assert_eq!(guard_of(r"a(foo|barbar)b", false).unwrap(), ["barbar", "foo"]);
        assert_eq!(guard_of(r"x(abc)+y", false).unwrap(), ["abc"]);
    }

    #[test]
    fn what_requires_nothing_has_no_guard() {
        for text in [r"\d+", r"(?:abc)?", r"a|\d", r".*", r"[ab][cd]", r"a.b"] {
            assert_eq!(guard_of(text, false), None, "{text}");
        }
    }
}
