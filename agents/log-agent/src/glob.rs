//! Paths with `*` and `?`: which files they stand for now.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Ends of names that a wildcard does not match: compressed files are old, and no lines.
const COMPRESSED: [&str; 8] = [".gz", ".xz", ".bz2", ".zst", ".lz4", ".zip", ".Z", ".lzma"];

/// An absolute path in which `*` stands for any characters of a name and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    text: String,
    is_literal: bool,
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GlobError {
    #[error("must be an absolute path, beginning with /")]
    Relative,
    #[error("must not contain . or .. or ** between slashes; write the path out")]
    Component,
    #[error("must name a file; add a name or * after the last slash")]
    Directory,
}

/// What a pattern stands for now.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    pub(crate) paths: Vec<PathBuf>,
    /// Directories that could not be listed: what is in them is not known, not gone.
    pub(crate) errors: Vec<(PathBuf, io::Error)>,
    /// Whether there were more paths than the limit.
    pub(crate) is_cut: bool,
}

impl Glob {
    pub(crate) fn parse(text: &str) -> Result<Self, GlobError> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(GlobError::Relative);
        }
        let is_plain = |component: Component<'_>| match component {
            Component::RootDir => true,
            Component::Normal(name) => !name.as_bytes().windows(2).any(|two| two == b"**"),
            _ => false,
        };
        // `components` drops a `.`, so the text is looked at as well.
        if !path.components().all(is_plain) || text.split('/').any(|name| name == ".") {
            return Err(GlobError::Component);
        }
        if text.ends_with('/') {
            return Err(GlobError::Directory);
        }
        Ok(Self { text: text.to_owned(), is_literal: !is_wild(text.as_bytes()) })
    }

    /// Returns whether the path is one of those the pattern stands for, existing or not.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        let mut names = path.components();
        for pattern in Path::new(&self.text).components() {
            match (pattern, names.next()) {
                (Component::RootDir, Some(Component::RootDir)) => {}
                (Component::Normal(pattern), Some(Component::Normal(name))) if name_matches(pattern, name) => {}
                _ => return false,
            }
        }
        names.next().is_none() && (self.is_literal || !is_compressed(path.file_name().unwrap_or_default()))
    }

    /// Adds the paths that exist now, in the order of their names, until there are `limit`.
    pub(crate) fn expand(&self, limit: usize, out: &mut Expanded) {
        if self.is_literal {
            if out.paths.len() < limit {
                out.paths.push(PathBuf::from(&self.text));
            } else {
                out.is_cut = true;
            }
            return;
        }
        let names: Vec<&OsStr> = Path::new(&self.text).iter().skip(1).collect();
        descend(Path::new("/"), &names, limit, out);
    }
}

fn descend(dir: &Path, names: &[&OsStr], limit: usize, out: &mut Expanded) {
    let Some((pattern, rest)) = names.split_first() else { return };
    if !is_wild(pattern.as_bytes()) {
        let path = dir.join(pattern);
        if !rest.is_empty() {
            descend(&path, rest, limit, out);
        } else if path.exists() {
            add(path, limit, out);
        }
        return;
    }
    let mut found = match list(dir, pattern) {
        Ok(found) => found,
        // A directory that is not there yet holds no files.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return,
        Err(error) => return out.errors.push((dir.to_owned(), error)),
    };
    found.sort();
    for path in found {
        if !rest.is_empty() {
            descend(&path, rest, limit, out);
        } else if !is_compressed(path.file_name().unwrap_or_default()) {
            add(path, limit, out);
        }
    }
}

fn list(dir: &Path, pattern: &OsStr) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name_matches(pattern, &name) {
            found.push(dir.join(name));
        }
    }
    Ok(found)
}

fn add(path: PathBuf, limit: usize, out: &mut Expanded) {
    if out.paths.len() < limit {
        out.paths.push(path);
    } else {
        out.is_cut = true;
    }
}

fn is_wild(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?'))
}

pub(crate) fn is_compressed(name: &OsStr) -> bool {
    COMPRESSED.iter().any(|end| name.as_bytes().ends_with(end.as_bytes()))
}

/// Compares a name with a pattern; a hidden file is only matched by a pattern that begins with a dot.
fn name_matches(pattern: &OsStr, name: &OsStr) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut from) = (0, 0);
    // Where to go back to: the star, and the name's byte it is tried to end before.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(from) {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if wanted == byte || *wanted == b'?' => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, from) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_characters_of_one_name() {
        for (pattern, name, is_match) in [
            ("*.log", "a.log", true),
            ("*.log", ".log", false),
            ("*.log", "a.log.1", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "anything", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
        ] {
            assert_eq!(name_matches(OsStr::new(pattern), OsStr::new(name)), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_could_mean_something_else_are_refused() {
        assert_eq!(Glob::parse("var/log/x"), Err(GlobError::Relative));
        assert_eq!(Glob::parse("/var/../etc/shadow"), Err(GlobError::Component));
        assert_eq!(Glob::parse("/var/./log"), Err(GlobError::Component));
        assert_eq!(Glob::parse("/var/**/x.log"), Err(GlobError::Component));
        assert_eq!(Glob::parse("/var/log/"), Err(GlobError::Directory));
        assert!(Glob::parse("/var/log/*/x?.log").is_ok());
    }

    #[test]
    fn files_are_found_in_order_without_compressed_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/x.log", "a/x.log", "a/y.log", "a/x.log.2.gz", "c/readme"] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), "").unwrap();
        }
        let glob = Glob::parse(dir.path().join("*/*log*").to_str().unwrap()).unwrap();
        let mut out = Expanded::default();
        glob.expand(100, &mut out);
        let names: Vec<_> = out.paths.iter().map(|it| it.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/x.log", "a/y.log", "b/x.log"]);
        assert!(out.paths.iter().all(|path| glob.matches(path)));
        assert!(!glob.matches(&dir.path().join("a/x.log.2.gz")) && !glob.matches(&dir.path().join("a/b/x.log")));
        let mut few = Expanded::default();
        glob.expand(2, &mut few);
        assert!(few.is_cut && few.paths.len() == 2);
    }

    proptest! {
        /// Against the plain definition, by trying every split.
        #[test]
        fn matching_equals_its_definition(pattern in "[ab*?]{0,6}", name in "[ab]{0,8}") {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|taken| plain(rest, &name[taken..])),
                    Some((b'?', rest)) => !name.is_empty() && plain(rest, &name[1..]),
                    Some((byte, rest)) => name.first() == Some(byte) && plain(rest, &name[1..]),
                }
            }
            prop_assert_eq!(name_matches(OsStr::new(&pattern), OsStr::new(&name)), plain(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
