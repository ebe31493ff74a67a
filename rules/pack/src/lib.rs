//! Rule packs on disk: finds the rule files of a directory tree and reads them within bounds.
//!
//! Comes in: directories and files an operator named. Goes out: [`PackFile`]s, sorted by path, and the
//! pack's [`Manifest`] if it has one. A pack may have come from anywhere, so a symbolic link that
//! leads out of the tree is refused, and number, size and depth of the files are bounded. What is in a
//! file is canh-sigma's to read; this crate knows none of ours.
//!
//! # Example
//!
//! ```no_run
//! for file in canh_rulepack::load_dir(&["/usr/share/canh/rules".into()])? {
//!     println!("{}: {} bytes", file.path, file.text.len());
//! }
//! # Ok::<(), canh_rulepack::PackError>(())
//! ```

mod files;
mod manifest;

pub use files::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, PackError, PackFile, load_dir};
pub use manifest::{MANIFEST_NAME, Manifest, ManifestError};
