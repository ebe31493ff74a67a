//! QUERY words: `state=new,ack sev>=high owner=me`. Comes in: words as typed. Goes out: the
//! filter the API knows. A word that cannot be said exactly is refused, never guessed at: a list
//! that quietly leaves something out is worse than an error.

use std::fmt::Write as _;
use std::net::IpAddr;

use canh_incident::api::IncidentQuery;
use canh_incident::{IncidentState, Severity};

use crate::exit::Failure;

const HINT: &str = "words are state=, sev>=, owner=, agency=, rule=, ip=, user=, host=; see `canh list --help`";

/// Returns whether a word is one of a query rather than an id.
pub(crate) fn is_query_word(word: &str) -> bool {
    word.contains('=')
}

/// Reads query words; one argument may hold several with blanks between.
pub(crate) fn parse(words: &[String]) -> Result<IncidentQuery, Failure> {
    let mut query = IncidentQuery::default();
    for word in words.iter().flat_map(|argument| argument.split_whitespace()) {
        let (key, is_at_least, value) = split(word)?;
        match (key, is_at_least) {
            ("state", false) => query.states = parse_states(word, value)?,
            ("sev" | "severity", _) => query.min_severity = Some(parse_severity(word, value, is_at_least)?),
            ("owner", false) => query.owner = Some(one(word, value)?.to_owned()),
            ("agency", false) => query.agency = Some(read(word, one(word, value)?)?),
            ("rule", false) => query.rule = Some(parse_rule(word, value)?),
            ("ip", false) => set_entity(&mut query, word, read::<IpAddr>(word, value)?.to_canonical().to_string())?,
            ("host", false) => set_entity(&mut query, word, one(word, value)?.trim_end_matches('.').to_lowercase())?,
            ("user", false) => set_entity(&mut query, word, one(word, value)?.to_owned())?,
            _ => return Err(refused(word, "there is no such filter")),
        }
    }
    Ok(query)
}

/// Restricts a query without a state word to open incidents.
pub(crate) fn only_open(query: &mut IncidentQuery) {
    if query.states.is_empty() {
        query.states = IncidentState::ALL.into_iter().filter(|state| state.is_open()).collect();
    }
}

/// Returns the resource that answers a query.
pub(crate) fn resource(query: &IncidentQuery) -> String {
    let mut resource = "/v1/incidents".to_owned();
    for (index, (key, value)) in query.to_pairs().into_iter().enumerate() {
        let _ = write!(resource, "{}{key}={}", if index == 0 { '?' } else { '&' }, percent_encoded(&value));
    }
    resource
}

/// Encodes everything but RFC 3986's unreserved characters.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// Takes a word apart: key, whether it says `>=`, value.
fn split(word: &str) -> Result<(&str, bool, &str), Failure> {
    let (key, value) = word.split_once('=').ok_or_else(|| refused(word, "it has no `=`"))?;
    let (key, is_at_least) = key.strip_suffix('>').map_or((key, false), |key| (key, true));
    if value.is_empty() {
        return Err(refused(word, "nothing stands after `=`"));
    }
    Ok((key, is_at_least, value))
}

fn parse_states(word: &str, value: &str) -> Result<Vec<IncidentState>, Failure> {
    // The API's own reader, so that both mean the same.
    IncidentQuery::from_pairs([("state", value)]).map(|query| query.states).map_err(|error| refused(word, error))
}

fn parse_severity(word: &str, value: &str, is_at_least: bool) -> Result<Severity, Failure> {
    let severity: Severity = read(word, value)?;
    if is_at_least || severity == Severity::Critical {
        return Ok(severity);
    }
    Err(refused(word, format!("a severity is asked for from there up: write sev>={severity}")))
}

fn parse_rule(word: &str, value: &str) -> Result<String, Failure> {
    let value = one(word, value)?;
    if value.strip_suffix('*').unwrap_or(value).contains('*') {
        return Err(refused(word, "`*` can only stand at the end"));
    }
    Ok(value.to_owned())
}

fn set_entity(query: &mut IncidentQuery, word: &str, value: String) -> Result<(), Failure> {
    if query.entity.is_some() {
        return Err(refused(word, "only one of ip=, user= and host= can be asked for"));
    }
    query.entity = Some(value);
    Ok(())
}

/// Returns the value if it is a single one.
fn one<'a>(word: &str, value: &'a str) -> Result<&'a str, Failure> {
    if value.contains(',') { Err(refused(word, "only state= takes several values")) } else { Ok(value) }
}

fn read<T>(word: &str, value: &str) -> Result<T, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error| refused(word, error))
}

fn refused(word: &str, why: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("the query word {word:?} is not understood")).why(why).hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(words: &[&str]) -> Result<String, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words).map(|query| resource(&query))
    }

    #[test]
    fn words_become_the_filter_of_the_api() {
        assert_eq!(query(&[]).unwrap(), "/v1/incidents?limit=50");
        let full =
            query(&["state=new,ack sev>=high", "owner=me", "agency=so-tttt", "rule=ssh-*", "ip=::ffff:10.0.0.7"]);
        assert_eq!(
            full.unwrap(),
            "/v1/incidents?state=new%2Cacknowledged&severity=high&owner=me&agency=so-tttt&rule=ssh-%2A\
             &entity=10.0.0.7&limit=50"
        );
    }

    #[test]
    fn values_cannot_break_out_of_the_request() {
        let resource = query(&["user=a&limit=9#\u{1ebf}"]).unwrap();
        assert_eq!(resource, "/v1/incidents?entity=a%26limit%3D9%23%E1%BA%BF&limit=50");
    }

    #[test]
    fn what_cannot_be_said_exactly_is_refused() {
        for word in [
            "new",
            "state=done",
            "state=",
            "sev=high",
            "sev>=9",
            "owner>=a",
            "owner=a,b",
            "agency=A B",
            "rule=*ssh",
            "ip=ten",
            "colour=red",
            "ip=10.0.0.7 host=a",
        ] {
            assert_eq!(query(&[word]).unwrap_err().exit().code(), 2, "{word}");
        }
        assert!(query(&["sev=critical"]).is_ok());
    }

    #[test]
    fn closed_ones_are_left_out_only_if_no_state_was_asked_for() {
        let mut asked = parse(&["state=closed".to_owned()]).unwrap();
        only_open(&mut asked);
        assert_eq!(asked.states, [IncidentState::Closed]);
        let mut unasked = IncidentQuery::default();
        only_open(&mut unasked);
        assert_eq!(unasked.states.len(), 4);
    }
}
