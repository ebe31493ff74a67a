//! Finds and reads rule files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most rule files of one call. SigmaHQ has under 4,000.
pub const MAX_FILES: usize = 100_000;

/// Longest rule file, in bytes; what the engine takes at most.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Most bytes of all rule files together.
pub const MAX_TOTAL_BYTES: u64 = 512 << 20;

/// Deepest nesting of directories.
pub const MAX_DEPTH: usize = 32;

/// One file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFile {
    /// Its path, as it was found.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Why rule files could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The system refused.
    #[error("cannot {doing} {path:?}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A symbolic link leads out of the directory that was named.
    #[error("{path:?} is a symbolic link out of {root:?}, to {target:?}")]
    LeadsOut {
        /// The link.
        path: PathBuf,
        /// The directory that was named.
        root: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Something is larger than any pack should be.
    #[error("{path:?} has more {what} than the limit of {limit}")]
    TooLarge {
        /// Where.
        path: PathBuf,
        /// Of what there is too much.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// A walk under way.
struct Walk {
    /// The directory that was named, every symbolic link resolved.
    root: PathBuf,
    files: Vec<PackFile>,
    total_bytes: u64,
}

/// Reads every `.yml` and `.yaml` file of the given directories, recursively, sorted by path within
/// each; a path that is a file is read whatever its name. Files and directories whose name begins
/// with a dot are left out, as are non-files. Text that is not UTF-8 is read with U+FFFD in the
/// place of what is wrong, and the engine refuses it with its file and line.
///
/// # Errors
/// [`PackError`] if a path cannot be read, a symbolic link leads out of the directory that was
/// named, or a bound is passed.
pub fn load_dir(paths: &[PathBuf]) -> Result<Vec<PackFile>, PackError> {
    let mut files = Vec::new();
    let mut total_bytes = 0;
    for path in paths {
        let root = fs::canonicalize(path).map_err(failed("open", path))?;
        let mut walk = Walk { root, files, total_bytes };
        if walk.root.is_dir() {
            walk.directory(path, 0)?
        } else {
            walk.file(path)?
        }
        Walk { files, total_bytes, .. } = walk;
    }
    Ok(files)
}

impl Walk {
    fn directory(&mut self, path: &Path, depth: usize) -> Result<(), PackError> {
        if depth > MAX_DEPTH {
            return Err(PackError::TooLarge {
                path: path.to_owned(),
                what: "nested directories",
                limit: MAX_DEPTH as u64,
            });
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(failed("list", path))? {
            entries.push(entry.map_err(failed("list", path))?.file_name());
            if entries.len() > MAX_FILES {
                return Err(PackError::TooLarge { path: path.to_owned(), what: "files", limit: MAX_FILES as u64 });
            }
        }
        entries.sort();
        for name in entries {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = path.join(name);
            let kind = self.kind_within(&path)?;
            if kind.is_dir() {
                self.directory(&path, depth + 1)?;
            } else if kind.is_file() && is_rule_file(&path) {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    /// Returns what a path is, following a symbolic link only if it stays within the root.
    fn kind_within(&self, path: &Path) -> Result<fs::FileType, PackError> {
        let kind = fs::symlink_metadata(path).map_err(failed("look at", path))?.file_type();
        if !kind.is_symlink() {
            return Ok(kind);
        }
        let target = fs::canonicalize(path).map_err(failed("follow", path))?;
        if !target.starts_with(&self.root) {
            return Err(PackError::LeadsOut { path: path.to_owned(), root: self.root.clone(), target });
        }
        Ok(fs::metadata(&target).map_err(failed("look at", path))?.file_type())
    }

    fn file(&mut self, path: &Path) -> Result<(), PackError> {
        if self.files.len() >= MAX_FILES {
            return Err(PackError::TooLarge { path: path.to_owned(), what: "files", limit: MAX_FILES as u64 });
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed("open", path))?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
        let length = bytes.len() as u64;
        if length > MAX_FILE_BYTES {
            return Err(PackError::TooLarge { path: path.to_owned(), what: "bytes", limit: MAX_FILE_BYTES });
        }
        self.total_bytes += length;
        if self.total_bytes > MAX_TOTAL_BYTES {
            return Err(PackError::TooLarge { path: path.to_owned(), what: "bytes before it", limit: MAX_TOTAL_BYTES });
        }
        let text =
            String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned());
        self.files.push(PackFile { path: path.to_string_lossy().into_owned(), text });
        Ok(())
    }
}

fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml")
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PackError {
    let path = path.to_owned();
    move |source| PackError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[PackFile], root: &Path) -> Vec<String> {
        let strip = |file: &PackFile| Path::new(&file.path).strip_prefix(root).unwrap().display().to_string();
        files.iter().map(strip).collect()
    }

    #[test]
    fn rule_files_come_sorted_and_nothing_else_comes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        for name in ["b.yml", "a.yaml", "sub/c.yml", ".hidden.yml", ".git/d.yml", "readme.md"] {
            fs::write(dir.path().join(name), "title: x\n").unwrap();
        }
        let files = load_dir(&[dir.path().to_owned()]).unwrap();
        assert_eq!(names(&files, dir.path()), ["a.yaml", "b.yml", "sub/c.yml"]);
    }

    #[test]
    fn a_named_file_is_read_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rule.txt");
        fs::write(&path, b"title: \xff\n").unwrap();
        let files = load_dir(&[path]).unwrap();
        assert_eq!(files[0].text, "title: \u{fffd}\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_tree_is_refused_and_one_inside_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x.yml"), "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yml"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("a.yml"), dir.path().join("b.yml")).unwrap();
        assert_eq!(load_dir(&[dir.path().to_owned()]).unwrap().len(), 2);
        std::os::unix::fs::symlink(outside.path(), dir.path().join("c")).unwrap();
        assert!(matches!(load_dir(&[dir.path().to_owned()]), Err(PackError::LeadsOut { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        assert!(matches!(load_dir(&[dir.path().to_owned()]), Err(PackError::TooLarge { .. } | PackError::Io { .. })));
    }

    #[test]
    fn a_file_past_its_bound_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yml");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert!(matches!(load_dir(&[path]), Err(PackError::TooLarge { what: "bytes", .. })));
    }

    #[test]
    fn a_path_that_is_not_there_is_named() {
        let error = load_dir(&[PathBuf::from("no/such/place")]).unwrap_err();
        assert!(error.to_string().contains("no/such/place"));
    }
}
