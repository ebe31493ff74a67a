//! Log files as programs and logrotate treat them: lines that come in two parts, files that are
//! renamed while their writer still holds them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::chance::Chance;

/// A log file and those it was rotated to: `name`, `name.1`, `name.2`, ...
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    /// The file that was renamed; its writer has not noticed yet.
    before: Option<File>,
    rotated: u64,
    /// What is to follow the part of a line that was written.
    rest: String,
}

impl LogFile {
    /// Makes the file.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file, before: None, rotated: 0, rest: String::new() })
    }

    /// Appends lines, each with its end; the last of them may wait for the next call.
    ///
    /// # Errors
    /// The disk says so.
    pub(crate) fn append(&mut self, lines: &str, chance: &mut Chance) -> anyhow::Result<()> {
        let mut text = std::mem::take(&mut self.rest);
        text.push_str(lines);
        if chance.once_in(4) {
            let cut = text.len().saturating_sub(usize::try_from(chance.between(1, 60))?);
            // The lines are ASCII, so a line may be cut anywhere.
            self.rest = text.split_off(cut.min(text.len()));
        }
        let file = self.before.as_mut().unwrap_or(&mut self.file);
        file.write_all(text.as_bytes()).context("while writing a log")?;
        if self.rest.is_empty() {
            self.before = None;
        }
        Ok(())
    }

    /// Completes the last line.
    ///
    /// # Errors
    /// The disk says so.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let file = self.before.as_mut().unwrap_or(&mut self.file);
        file.write_all(rest.as_bytes())?;
        self.before = None;
        Ok(())
    }

    /// Renames the file and those before it, as logrotate does, and makes a new one. The next lines
    /// may still go to the old one.
    ///
    /// # Errors
    /// The disk says so.
    pub(crate) fn rotate(&mut self, chance: &mut Chance) -> anyhow::Result<()> {
        self.finish()?;
        for number in (1..=self.rotated).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        fs::rename(&self.path, self.numbered(1)).context("while rotating a log")?;
        self.rotated += 1;
        let old = std::mem::replace(&mut self.file, open(&self.path)?);
        self.before = chance.once_in(2).then_some(old);
        Ok(())
    }

    fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("while opening {}", path.display()))
}
