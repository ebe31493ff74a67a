//! Reads rule files and finds a rule among them.

use std::io::Read;
use std::path::{Path, PathBuf};

use canh_sigma::{Loaded, Member, Placeholders, RuleFile, RuleSet};

use crate::exit::{Exit, Failure};

/// Longest file of placeholders' values, in bytes.
const MAX_PLACEHOLDER_BYTES: u64 = 4 << 20;

/// Reads and loads rules from folders and files.
pub(crate) fn load(paths: &[PathBuf], placeholders: Option<&Path>) -> Result<Loaded, Failure> {
    let files = canh_rulepack::load_dir(paths).map_err(|error| {
        Failure::usage("the rules cannot be read")
            .because(&error)
            .hint("give folders or files that exist and are yours")
    })?;
    let files = files.into_iter().map(|file| RuleFile { path: file.path, text: file.text });
    Ok(RuleSet::load_with(files, &read_placeholders(placeholders)?))
}

fn read_placeholders(path: Option<&Path>) -> Result<Placeholders, Failure> {
    let Some(path) = path else { return Ok(Placeholders::new()) };
    let text = read_text(path, MAX_PLACEHOLDER_BYTES)?;
    Placeholders::parse(&path.to_string_lossy(), &text)
        .map_err(|error| Failure::usage("the placeholders' values cannot be used").because(&error))
}

/// Reads a file named on the command line, at most `limit` bytes of it.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Failure> {
    let refused = || Failure::usage(format!("{} cannot be read", path.display()));
    let file = std::fs::File::open(path).map_err(|error| refused().because(&error))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| refused().because(&error))?;
    if bytes.len() as u64 > limit {
        return Err(refused().why(format!("it has more than {limit} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refused().why("it is not UTF-8"))
}

/// Finds a rule by its id, its name or the beginning of its id.
pub(crate) fn find(wanted: &str, rules: &RuleSet) -> Result<Member, Failure> {
    if let Some(member) = rules.find(wanted) {
        return Ok(member);
    }
    let detections = rules.rules().iter().map(|rule| rule.id.as_str());
    let correlations = rules.correlations().iter().map(|rule| rule.id.as_str());
    let id = pick(wanted, detections.chain(correlations))?;
    rules.find(id).ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no rule {wanted:?}")))
}

/// Finds the one id that is `wanted` or begins with it.
pub(crate) fn pick<'a>(wanted: &str, ids: impl Iterator<Item = &'a str>) -> Result<&'a str, Failure> {
    let mut candidates: Vec<&str> = ids.filter(|id| id.starts_with(wanted)).collect();
    candidates.sort_unstable();
    candidates.dedup();
    match candidates.as_slice() {
        [id] => Ok(id),
        [first, ..] if *first == wanted => Ok(first),
        [] => Err(Failure::new(Exit::NotFound, format!("there is no rule {wanted:?}"))
            .hint("see the ids: canh rules list -o ids")),
        several => {
            let shown = several.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!("{} rules begin with {wanted:?}", several.len())).why(shown))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_the_beginning_of_its_id_if_that_is_enough() {
        let ids = ["abc-1", "abc-12", "xyz"];
        assert_eq!(pick("x", ids.into_iter()).unwrap(), "xyz");
        assert_eq!(pick("abc-1", ids.into_iter()).unwrap(), "abc-1");
        assert_eq!(pick("abc", ids.into_iter()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(pick("q", ids.into_iter()).unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn a_file_past_its_bound_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.yml");
        std::fs::write(&path, "Admins: root\n").unwrap();
        assert_eq!(read_text(&path, 13).unwrap(), "Admins: root\n");
        assert_eq!(read_text(&path, 12).unwrap_err().exit(), Exit::Usage);
    }
}
