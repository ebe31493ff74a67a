//! Which incidents a verb is for: ids as typed, ids from stdin, or all that a query finds.

use std::collections::HashSet;
use std::io::{BufRead, IsTerminal, Read, Write};

use canh_incident::IncidentNumber;
use canh_incident::api::{IncidentDetail, IncidentPage, MAX_LIMIT};

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::query;

/// More than this at once is no work of an analyst's.
const MAX_TARGETS: usize = 10_000;
/// 10,000 lines of a list, with room to spare.
const MAX_STDIN_BYTES: u64 = 4 << 20;
/// From here on a person is asked first.
const ASK_ABOVE: usize = 20;

/// An incident as it was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// In full.
    Number(IncidentNumber),
    /// By its counter alone.
    Counter(u32),
}

/// Reads the words and, for `-`, stdin; asks the daemon for what a query finds. Each incident once,
/// in the order named.
pub(crate) fn find(client: &Client, words: &[String], stdin: &mut dyn Read) -> Result<Vec<Target>, Failure> {
    let is_query = |word: &String| query::is_query_word(word);
    let targets = if words.iter().all(is_query) {
        found(client, words)?
    } else if let Some(word) = words.iter().find(|word| is_query(word)) {
        return Err(
            Failure::usage(format!("{word:?} is a query word among ids")).hint("give ids, or a query, not both")
        );
    } else {
        named(words, stdin)?
    };
    let mut seen = HashSet::new();
    let targets: Vec<Target> = targets.into_iter().filter(|target| seen.insert(*target)).collect();
    match targets.len() {
        0 => Err(Failure::new(Exit::NotFound, "there is no incident to work on").hint("see what there is: canh list")),
        1..=MAX_TARGETS => Ok(targets),
        count => Err(Failure::usage(format!("{count} incidents at once, limit is {MAX_TARGETS}"))),
    }
}

/// Looks up the full numbers of incidents named by their counter. Those that do not exist are in
/// the second list: one mistyped id is no reason to leave the others undone.
pub(crate) fn numbers(client: &Client, targets: &[Target]) -> Result<(Vec<IncidentNumber>, Vec<Failure>), Failure> {
    let mut numbers = Vec::with_capacity(targets.len());
    let mut missing = Vec::new();
    for target in targets {
        match target {
            Target::Number(number) => numbers.push(*number),
            Target::Counter(_) => match client.get::<IncidentDetail>(&target.resource()) {
                Ok(detail) => numbers.push(detail.incident.number),
                Err(failure) if failure.exit() == Exit::NotFound => missing.push(failure),
                Err(failure) => return Err(failure),
            },
        }
    }
    // `17` and `INC-26-000017` in one command are one incident.
    let mut seen = HashSet::new();
    numbers.retain(|number| seen.insert(*number));
    Ok((numbers, missing))
}

/// Asks before many incidents are touched: a person at the terminal, or else for `--yes`.
pub(crate) fn confirm(verb: &str, count: usize, is_agreed: bool) -> Result<(), Failure> {
    if count <= ASK_ABOVE || is_agreed {
        return Ok(());
    }
    let refused = || Failure::usage(format!("{verb} would touch {count} incidents")).hint("add --yes if that is meant");
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(refused());
    }
    write!(stderr, "{verb}: {count} incidents. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().take(16).read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(refused()) }
}

impl Target {
    /// Reads `INC-26-000017` or `17`.
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        if let Ok(counter) = word.parse::<u32>() {
            return Ok(Self::Counter(counter));
        }
        word.parse().map(Self::Number).map_err(|error| {
            Failure::usage(format!("{word:?} names no incident")).because(&error).hint("see the ids: canh list -o ids")
        })
    }

    /// Returns the resource that is the incident in full.
    pub(crate) fn resource(self) -> String {
        match self {
            Self::Number(number) => format!("/v1/incidents/{number}"),
            Self::Counter(counter) => format!("/v1/incidents/{counter}"),
        }
    }
}

fn named(words: &[String], stdin: &mut dyn Read) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    for word in words {
        if word == "-" {
            from_stdin(stdin, &mut targets)?;
        } else {
            targets.push(Target::parse(word)?);
        }
    }
    Ok(targets)
}

/// Takes the ids of a pipe: one or several a line, or the first column of `-o tsv`.
fn from_stdin(stdin: &mut dyn Read, targets: &mut Vec<Target>) -> Result<(), Failure> {
    let unreadable = |why: String| Failure::usage("the ids on stdin cannot be read").why(why);
    let mut text = String::new();
    let read =
        stdin.take(MAX_STDIN_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if read as u64 > MAX_STDIN_BYTES {
        return Err(unreadable(format!("there are more than {MAX_STDIN_BYTES} bytes")));
    }
    for line in text.lines() {
        let ids = line.split_once('\t').map_or(line, |(first, _)| first);
        for word in ids.split_whitespace() {
            targets.push(Target::parse(word)?);
        }
    }
    Ok(())
}

fn found(client: &Client, words: &[String]) -> Result<Vec<Target>, Failure> {
    let mut query = query::parse(words)?;
    query::only_open(&mut query);
    query.limit = MAX_LIMIT;
    let mut targets = Vec::new();
    loop {
        let page: IncidentPage = client.get(&query::resource(&query))?;
        targets.extend(page.incidents.iter().map(|incident| Target::Number(incident.number)));
        if page.next.is_none() || page.incidents.is_empty() || targets.len() > MAX_TARGETS {
            return Ok(targets);
        }
        query.after = page.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], stdin: &str) -> Result<Vec<String>, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let targets = named(&words, &mut stdin.as_bytes())?;
        Ok(targets.into_iter().map(Target::resource).collect())
    }

    #[test]
    fn ids_come_from_words_and_from_pipes() {
        let found = read(&["inc-26-17", "-", "4"], "INC-26-000001\n2 3\n\nINC-26-000009\tHIGH\t10.0.0.7\n").unwrap();
        let ids = ["INC-26-000017", "INC-26-000001", "2", "3", "INC-26-000009", "4"];
        assert_eq!(found, ids.map(|id| format!("/v1/incidents/{id}")));
    }

    #[test]
    fn what_names_no_incident_is_a_usage_error() {
        for (words, stdin) in [(&["x"][..], ""), (&["-1"], ""), (&["-"], "ok not\n"), (&["99999999999"], "")] {
            assert_eq!(read(words, stdin).unwrap_err().exit(), Exit::Usage, "{words:?}");
        }
    }

    #[test]
    fn stdin_is_bounded() {
        let endless = "1 ".repeat(usize::try_from(MAX_STDIN_BYTES).unwrap());
        assert_eq!(read(&["-"], &endless).unwrap_err().exit(), Exit::Usage);
    }
}
