//! The condition's grammar.
//!
//! ```text
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | primary
//! primary = "(" or ")" | ( "1" | "any" | "all" ) "of" ( "them" | pattern ) | search identifier
//! ```
//!
//! Words are taken without regard to case. `them` is every search whose name does not begin with an
//! underscore; a pattern's `*` is any text. Depth and number of terms are bounded before anything
//! is built. Source: Sigma rules specification 2.1, "Condition".

use crate::detection::Condition;
use crate::diagnostic::{Fault, Mark, nearest, shown};
use crate::limits::{MAX_CONDITION_DEPTH, MAX_CONDITION_TERMS};
use crate::yaml::Scalar;

/// Parses a condition over the searches of these names.
pub(crate) fn parse(written: &Scalar, text: &str, names: &[&str]) -> Result<Condition, Fault> {
    let tokens = tokens(text);
    let mut parser = Parser { written, names, tokens: &tokens, at: 0, depth: 0, terms: 0 };
    let condition = parser.or()?;
    match parser.peek() {
        None => Ok(condition),
        Some(token) => Err(parser
            .fault(format!("{} stands where `and`, `or` or the end should", shown(token)))
            .hint("join searches with `and` or `or`; see that brackets close")),
    }
}

/// One word or bracket and where it begins.
type Token<'a> = (usize, &'a str);

struct Parser<'a> {
    written: &'a Scalar,
    names: &'a [&'a str],
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    terms: usize,
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        let is_bracket = matches!(character, '(' | ')');
        if (is_bracket || character.is_whitespace())
            && let Some(from) = start.take()
        {
            tokens.push((from, text.get(from..at).unwrap_or_default()));
        }
        if is_bracket {
            tokens.push((at, text.get(at..at + 1).unwrap_or_default()));
        } else if !character.is_whitespace() {
            start.get_or_insert(at);
        }
    }
    if let Some(from) = start {
        tokens.push((from, text.get(from..).unwrap_or_default()));
    }
    tokens
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|(_, token)| *token)
    }

    fn next(&mut self) -> Option<&'a str> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    fn accept(&mut self, word: &str) -> bool {
        let is_there = self.peek().is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(is_there);
        is_there
    }

    fn or(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.and()?];
        while self.accept("or") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn and(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.not()?];
        while self.accept("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn not(&mut self) -> Result<Condition, Fault> {
        if !self.accept("not") {
            return self.primary();
        }
        self.descend()?;
        let inner = self.not()?;
        self.depth -= 1;
        Ok(Condition::Not(Box::new(inner)))
    }

    fn primary(&mut self) -> Result<Condition, Fault> {
        self.terms += 1;
        if self.terms > MAX_CONDITION_TERMS {
            return Err(self.fault(format!("the condition has more than {MAX_CONDITION_TERMS} terms")));
        }
        if self.accept("(") {
            self.descend()?;
            let inner = self.or()?;
            self.depth -= 1;
            return if self.accept(")") { Ok(inner) } else { Err(self.fault("a bracket is not closed")) };
        }
        let quantified = self.tokens.get(self.at + 1).is_some_and(|(_, token)| token.eq_ignore_ascii_case("of"));
        if quantified { self.quantified() } else { self.search() }
    }

    fn quantified(&mut self) -> Result<Condition, Fault> {
        let quantifier = self.peek().unwrap_or_default().to_ascii_lowercase();
        let join: fn(Vec<Condition>) -> Condition = match quantifier.as_str() {
            "1" | "any" => Condition::Any,
            "all" => Condition::All,
            _ => {
                return Err(self
                    .fault(format!("unknown quantifier {}", shown(&quantifier)))
                    .hint("`1 of`, `any of` or `all of`"));
            }
        };
        self.at += 2;
        let Some(pattern) = self.next() else {
            return Err(self.fault("the condition ends after `of`").hint("name a search, a pattern or `them`"));
        };
        let is_them = pattern.eq_ignore_ascii_case("them");
        let is_meant = |name: &str| if is_them { !name.starts_with('_') } else { fits(pattern, name) };
        let named = self.names.iter().enumerate().filter(|(_, name)| is_meant(name));
        let parts: Vec<_> = named.map(|(index, _)| Condition::Search(index)).collect();
        self.terms += parts.len();
        if parts.is_empty() {
            self.at -= 1;
            return Err(self.fault(format!("no search is named {}", shown(pattern))).hint(self.known()));
        }
        Ok(one_or(parts, join))
    }

    fn search(&mut self) -> Result<Condition, Fault> {
        let Some(name) = self.peek() else {
            return Err(self.fault("the condition ends where a search should stand").hint(self.known()));
        };
        if let Some(index) = self.names.iter().position(|known| *known == name) {
            self.at += 1;
            return Ok(Condition::Search(index));
        }
        let fault = self.fault(format!("no search is named {}", shown(name)));
        Err(match nearest(name, self.names) {
            Some(meant) => fault.hint(format!("did you mean {meant}?")),
            None => fault.hint(self.known()),
        })
    }

    fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_CONDITION_DEPTH {
            return Err(self
                .fault(format!("brackets and `not`s are nested deeper than {MAX_CONDITION_DEPTH}"))
                .hint("simplify the condition"));
        }
        Ok(())
    }

    fn known(&self) -> String {
        let shown: Vec<&str> = self.names.iter().copied().take(12).collect();
        format!("the rule's searches are {}", shown.join(", "))
    }

    /// A fault at the token that comes next. The column is only known if the condition stands on
    /// the line it begins on.
    fn fault(&self, message: impl Into<String>) -> Fault {
        let mark = self.written.mark;
        let offset = self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(offset, _)| *offset);
        let single_line = !self.written.text.contains('\n');
        let column = if single_line { u32::try_from(offset).unwrap_or(0) } else { 0 };
        let quote = u32::from(single_line && !self.written.is_plain);
        Fault::new(Mark { line: mark.line, column: mark.column.saturating_add(column + quote) }, message)
    }
}

fn one_or(mut parts: Vec<Condition>, join: impl FnOnce(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}

/// Lays a pattern with `*` against a name.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(between) = last.replace(part) {
            match rest.find(between).and_then(|at| rest.get(at + between.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Condition::{All, Any, Not, Search};

    const NAMES: [&str; 5] = ["selection", "sel_a", "sel_b", "filter_main", "_hidden"];

    fn parsed(text: &str) -> Result<Condition, Fault> {
        let written = Scalar { text: text.to_owned(), is_plain: true, mark: Mark { line: 7, column: 16 } };
        parse(&written, text, &NAMES)
    }

    fn ok(text: &str) -> Condition {
        parsed(text).unwrap()
    }

    /// Sigma rules specification 2.1, "Operator Precedence (least to most binding)": or, and, not,
    /// x of, brackets.
    #[test]
    fn not_binds_before_and_before_or() {
        let expected = Any(vec![Search(0), All(vec![Search(1), Not(Box::new(Search(2)))])]);
        assert_eq!(ok("selection or sel_a and not sel_b"), expected);
        assert_eq!(ok("selection OR (sel_a AND NOT sel_b)"), expected);
        assert_eq!(ok("(selection or sel_a) and sel_b"), All(vec![Any(vec![Search(0), Search(1)]), Search(2)]));
    }

    #[test]
    fn quantifiers_take_what_their_pattern_names() {
        assert_eq!(ok("1 of sel_*"), Any(vec![Search(1), Search(2)]));
        assert_eq!(ok("all of sel*"), All(vec![Search(0), Search(1), Search(2)]));
        assert_eq!(ok("any of *_a"), Search(1));
        assert_eq!(ok("1 of *l*_*"), Any(vec![Search(1), Search(2), Search(3)]));
        assert_eq!(ok("all of selection"), Search(0));
    }

    #[test]
    fn them_leaves_out_hidden_searches() {
        assert_eq!(ok("1 of them"), Any(vec![Search(0), Search(1), Search(2), Search(3)]));
        assert_eq!(ok("_hidden"), Search(4));
    }

    #[test]
    fn faults_say_where_and_what() {
        let fault = parsed("selection and slection").unwrap_err();
        assert_eq!(fault.mark, Mark { line: 7, column: 30 });
        assert_eq!(fault.hint.as_deref(), Some("did you mean selection?"));
        for wrong in
            ["", "selection and", "(selection", "selection)", "2 of them", "1 of", "1 of x*", "selection sel_a"]
        {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn five_thousand_nots_are_refused_by_their_bound() {
        assert!(parsed(&format!("{}selection", "not ".repeat(5_000))).unwrap_err().message.contains("nested deeper"));
        assert!(parsed(&"(".repeat(20_000)).unwrap_err().message.contains("nested deeper"));
        assert!(parsed(&format!("selection{}", " and selection".repeat(5_000))).unwrap_err().message.contains("terms"));
    }
}
