//! Rule packs on disk: finds the rule files of a directory tree and reads them within bounds.
//!
//! Comes in: directories and files an operator named. Goes out: [`RuleFile`]s, sorted by path, for
//! `canh_sigma::RuleSet::load`, and the pack's [`Manifest`] if it has one. A pack may have come from
//! anywhere, so a symbolic link that leads out of the tree is refused, and number, size and depth
//! of the files are bounded.
//!
//! [`RuleFile`]: canh_sigma::RuleFile
//!
//! # Example
//!
//! ```no_run
//! let files = canh_rulepack::load_dir(&["/usr/share/canh/rules".into()])?;
//! let loaded = canh_sigma::RuleSet::load(files);
//! for refused in &loaded.refused {
//!     eprintln!("{refused}");
//! }
//! # Ok::<(), canh_rulepack::PackError>(())
//! ```

mod files;
mod manifest;

pub use files::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, PackError, load_dir};
pub use manifest::{MANIFEST_NAME, Manifest, ManifestError};
