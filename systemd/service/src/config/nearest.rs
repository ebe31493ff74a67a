//! The known name nearest to a wrong one, so that a fault can say what was probably meant.

/// Longest name that is compared; a longer one is no slip of the hand.
const MAX_COMPARED_BYTES: usize = 128;

/// Returns the known path that `wrong` was probably meant to be: the same last name in another
/// table, or the fewest edits, if they are few.
pub(crate) fn nearest<'k>(wrong: &str, known: impl Iterator<Item = &'k str> + Clone) -> Option<&'k str> {
    if wrong.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let allowed = (wrong.chars().count() / 3).clamp(1, 4);
    let closest = known.clone().map(|path| (distance(wrong, path), path)).min_by_key(|(edits, _)| *edits);
    if let Some((edits, path)) = closest
        && edits <= allowed
    {
        return Some(path);
    }
    known.clone().find(|path| last_name(path) == last_name(wrong))
}

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Returns how many insertions, deletions and replacements lead from one text to the other
/// (Levenshtein), by one row of the table at a time.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, left) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }

    #[test]
    fn slips_and_wrong_tables_are_seen_and_strangers_are_not() {
        let known = ["ship.spool_dir", "ship.spool_max_bytes", "metrics.address"];
        assert_eq!(nearest("ship.spol_dir", known.into_iter()), Some("ship.spool_dir"));
        assert_eq!(nearest("spool_dir", known.into_iter()), Some("ship.spool_dir"));
        assert_eq!(nearest("colour", known.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(1_000), known.into_iter()), None);
    }
}
