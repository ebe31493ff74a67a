//! Text in double quotes with a backslash before what would end it, as structured data and web
//! servers write it.

use nom::error::{Error, ErrorKind};
use nom::{Err, IResult};

/// Reads `"text"` and returns the text between the quotes, its escapes still in it.
pub(crate) fn quoted(input: &str) -> IResult<&str, &str> {
    let refused = || Err::Error(Error::new(input, ErrorKind::Escaped));
    let inner = input.strip_prefix('"').ok_or_else(refused)?;
    let mut from = 0;
    loop {
        let tail = inner.as_bytes().get(from..).ok_or_else(refused)?;
        let at = from + memchr::memchr2(b'"', b'\\', tail).ok_or_else(refused)?;
        if inner.as_bytes().get(at) == Some(&b'"') {
            let (text, rest) = inner.split_at_checked(at).ok_or_else(refused)?;
            return Ok((rest.strip_prefix('"').ok_or_else(refused)?, text));
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_quote_does_not_end_it() {
        assert_eq!(quoted(r#""a\"b\\" rest"#), Ok((" rest", r#"a\"b\\"#)));
        assert_eq!(quoted(r#""""#), Ok(("", "")));
        assert_eq!(quoted("\"\\é\"x"), Ok(("x", "\\é")));
    }

    #[test]
    fn text_without_an_end_is_refused() {
        for text in ["", "a", "\"", "\"a", r#""a\""#, r#""a\"#] {
            assert!(quoted(text).is_err(), "{text}");
        }
    }
}
