//! The reference page and the shipped example, written from the table of keys so that they cannot
//! fall behind it.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::check::literal;
use crate::config::key::{Key, Kind, Presence};
use crate::config::schema::Schema;
use crate::generated;

const COMMENT_COLUMNS: usize = 96;

impl Schema {
    /// Returns the reference page, `docs/reference/config-<daemon>.md`.
    pub fn reference_markdown(&self) -> String {
        let mut out = String::new();
        let path = self.default_path();
        let _ = writeln!(out, "# Configuration of {}\n", self.daemon);
        let _ = writeln!(
            out,
            "<!-- Generated from the daemon's table of keys. UPDATE_GOLDEN=1 cargo test writes it. -->\n"
        );
        let _ = writeln!(
            out,
            "One TOML file, `{}` unless `--config` names another. `{} --check` reads it, names every fault with its line, and exits \
             with 2 if there is one. A file that other users can write is refused.",
            path.display(),
            self.daemon
        );
        for (section, keys) in sections(self.keys) {
            write_section(&mut out, section, &keys);
        }
        out
    }

    /// Returns the shipped example: required keys set to their examples, all others commented out
    /// at their defaults.
    pub fn example_toml(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "# Configuration of {}. Check it with: {} --check", self.daemon, self.daemon);
        let _ =
            writeln!(out, "# A key that is commented out shows its default, or an example where it says \"optional\".");
        for (section, keys) in sections(self.keys) {
            write_example_section(&mut out, section, &keys);
        }
        out
    }

    /// Returns which of the two generated files under the workspace's root differ from the table of
    /// keys: `docs/reference/config-<daemon>.md` and `systemd/config/<daemon>.toml`. For a test of
    /// each daemon; with `UPDATE_GOLDEN` set in the environment it writes them instead.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn stale_files(&self, root: &Path) -> io::Result<Vec<PathBuf>> {
        let page = root.join("docs/reference").join(format!("config-{}.md", self.daemon));
        let example = root.join("systemd/config").join(format!("{}.toml", self.daemon));
        let files = [(page, self.reference_markdown()), (example, self.example_toml())];
        let mut stale = Vec::new();
        for (path, text) in files {
            stale.extend(generated::stale(path, &text)?);
        }
        Ok(stale)
    }
}

/// Returns the keys by their tables, in the order of the table of keys: keys without one first.
fn sections(keys: &'static [Key]) -> Vec<(&'static str, Vec<&'static Key>)> {
    let mut sections: Vec<(&str, Vec<&Key>)> = Vec::new();
    for key in keys {
        let name = match key.kind {
            Kind::Tables(_) => key.path,
            _ => key.path.rsplit_once('.').map_or("", |(section, _)| section),
        };
        match sections.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push(key),
            None => sections.push((name, vec![key])),
        }
    }
    // A key outside all tables must stand before the first header, or TOML puts it inside.
    sections.sort_by_key(|(name, _)| !name.is_empty());
    sections
}

fn write_section(out: &mut String, section: &str, keys: &[&Key]) {
    for key in keys {
        if let Kind::Tables(inner) = key.kind {
            let many = if matches!(key.presence, Presence::Required(_)) { "at least one" } else { "any number" };
            let _ = writeln!(out, "\n## `[[{}]]` ({many})\n\n{}\n", key.path, key.doc);
            write_rows(out, inner.iter().map(|inner| (inner.path, inner)), key.reload);
        }
    }
    let mut plain = keys.iter().copied().filter(|key| !matches!(key.kind, Kind::Tables(_))).peekable();
    if plain.peek().is_some() {
        let _ = if section.is_empty() {
            writeln!(out, "\n## Outside all tables\n")
        } else {
            writeln!(out, "\n## `[{section}]`\n")
        };
        write_rows(out, plain.map(|key| (last_name(key.path), key)), false);
    }
}

fn write_rows<'k>(out: &mut String, keys: impl Iterator<Item = (&'k str, &'k Key)>, is_reloaded: bool) {
    let _ = writeln!(out, "| key | value | default | reload | what for |\n|---|---|---|---|---|");
    for (name, key) in keys {
        let unit = if key.unit.is_empty() { String::new() } else { format!(" ({})", key.unit) };
        let default = match key.presence {
            Presence::Default(plain) => format!("`{}`", literal(&key.kind, plain)),
            Presence::Required(_) => "required".to_owned(),
            Presence::Optional(_) => "optional".to_owned(),
        };
        let reload = if key.reload || is_reloaded { "yes" } else { "restart" };
        let words = key.kind.in_words().replace('|', "\\|");
        let _ = writeln!(out, "| `{name}` | {words}{unit} | {default} | {reload} | {} |", key.doc.replace('|', "\\|"));
    }
}

fn write_example_section(out: &mut String, section: &str, keys: &[&Key]) {
    if !section.is_empty() && !keys.iter().all(|key| matches!(key.kind, Kind::Tables(_))) {
        let _ = writeln!(out, "\n[{section}]");
    }
    for key in keys {
        match key.kind {
            Kind::Tables(inner) => {
                let mark = if matches!(key.presence, Presence::Required(_)) { "" } else { "# " };
                out.push('\n');
                write_comment(out, key.doc);
                let _ = writeln!(out, "{mark}[[{}]]", key.path);
                inner.iter().for_each(|key| write_example_key(out, key, key.path, mark));
            }
            _ => write_example_key(out, key, last_name(key.path), ""),
        }
    }
}

fn write_example_key(out: &mut String, key: &Key, name: &str, mark: &str) {
    let (plain, mark, word) = match key.presence {
        Presence::Required(plain) => (plain, mark, "required, "),
        Presence::Default(plain) => (plain, "# ", ""),
        Presence::Optional(plain) => (plain, "# ", "optional, "),
    };
    let unit = if key.unit.is_empty() { String::new() } else { format!(" ({})", key.unit) };
    write_comment(out, &format!("{} ({word}{}{unit})", key.doc, key.kind.in_words()));
    let _ = writeln!(out, "{mark}{name} = {}", literal(&key.kind, plain));
}

fn last_name(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Writes a text as comment lines of at most [`COMMENT_COLUMNS`] characters.
fn write_comment(out: &mut String, text: &str) {
    let mut columns = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if columns == 0 || columns + 1 + width > COMMENT_COLUMNS {
            let _ = write!(out, "{}# {word}", if columns == 0 { "" } else { "\n" });
            columns = 2 + width;
        } else {
            let _ = write!(out, " {word}");
            columns += 1 + width;
        }
    }
    out.push('\n');
}
