//! The view in sled, and how to live with it.
//!
//! sled 0.34.7 never fsyncs, may panic on damaged files and may wait for ever on its own lock.
//! So it holds nothing that is not in the ledger; it is opened on a thread of its own under a
//! deadline, with panics caught; and what cannot be opened is moved aside, never deleted.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use sled::transaction::{ConflictableTransactionError, TransactionError};

use crate::fault::SledFault;
use crate::view::{Pair, View, ViewError, Write};

/// The view in sled: one tree, so that one transaction holds all it writes.
#[derive(Debug)]
pub(crate) struct SledView {
    tree: sled::Tree,
    db: sled::Db,
}

impl SledView {
    /// Opens the view in a directory, or makes an empty one.
    pub(crate) fn open(dir: &Path, cache_bytes: u64, deadline: Duration) -> Result<Self, ViewError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        // The ledger is synced; the view is written out when the store asks for it.
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        let open = move || {
            let opened = catch_unwind(AssertUnwindSafe(|| {
                let db = config.open()?;
                let tree = db.open_tree(b"view")?;
                Ok::<_, sled::Error>(Self { tree, db })
            }));
            // Nobody waits any more if the deadline has passed.
            let _ = sender.send(opened);
        };
        let thread = std::thread::Builder::new().name("sled-open".to_owned()).spawn(open);
        let thread = thread.map_err(|error| ViewError::Sled(SledFault::NoThread(error)))?;
        let Ok(opened) = receiver.recv_timeout(deadline) else {
            return Err(ViewError::Sled(SledFault::TimedOut { secs: deadline.as_secs() }));
        };
        // It has sent its answer and ends.
        let _ = thread.join();
        opened.map_err(|_| ViewError::Sled(SledFault::Panicked))?.map_err(fault)
    }

    /// Hands what was written to the operating system.
    pub(crate) fn flush(&self) -> Result<(), ViewError> {
        self.db.flush().map(drop).map_err(fault)
    }

    /// Returns how many bytes the view takes on disk.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or_default()
    }
}

fn fault(error: sled::Error) -> ViewError {
    ViewError::Sled(SledFault::Said(error))
}

impl View for SledView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.tree.get(key).map_err(fault)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<Pair, ViewError>> + '_> {
        let pairs = self.tree.scan_prefix(prefix);
        Box::new(pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(fault)))
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), ViewError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let written = self.tree.transaction(|tree| {
            tree.apply_batch(&batch)?;
            Ok::<(), ConflictableTransactionError<std::convert::Infallible>>(())
        });
        written.map_err(|error| match error {
            TransactionError::Storage(error) => fault(error),
            TransactionError::Abort(never) => match never {},
        })
    }
}

/// Moves a view aside to `quarantine-<n>` beside it. Returns where it went; `None` if there was
/// none.
pub(crate) fn quarantine(view: &Path) -> io::Result<Option<PathBuf>> {
    if !view.exists() {
        return Ok(None);
    }
    let Some(parent) = view.parent() else { return Ok(None) };
    let free = (1_u32..).map(|number| parent.join(format!("quarantine-{number}"))).find(|path| !path.exists());
    let Some(target) = free else { return Ok(None) };
    fs::rename(view, &target)?;
    fs::File::open(parent)?.sync_all()?;
    Ok(Some(target))
}
