//! Where a consumer stands: one journal place and a few bytes of its own, in a file of its own.
//!
//! A consumer sets its cursor before it lets the journal drop what lies behind it.

use std::path::{Path, PathBuf};

use crate::fs::{DiskFs, Fs, FsError};
use crate::lsn::Lsn;
use crate::slots::SlotFile;

/// Bytes of one slot.
const STRIDE: u64 = 64 << 10;

/// Longest payload of a cursor, in bytes.
pub const MAX_CURSOR_PAYLOAD_BYTES: usize = 65_000;

/// A cursor that cannot be read or set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// A call to the file system failed.
    #[error(transparent)]
    File(#[from] FsError),
    /// The file holds no cursor any more, though it once did.
    #[error("cursor {} is damaged", path.display())]
    Damaged {
        /// The cursor's file.
        path: PathBuf,
    },
    /// The payload is too long. Nothing was written.
    #[error("cursor payload is {bytes} bytes, limit is {MAX_CURSOR_PAYLOAD_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// An earlier write or sync failed: what the file holds is known only when it is opened anew.
    #[error("cursor stopped after an earlier failure")]
    Stopped,
}

/// A place in a journal that outlives a crash.
#[derive(Debug)]
pub struct Cursor<F: Fs = DiskFs> {
    slots: SlotFile<F::File>,
    value: Option<(Lsn, Vec<u8>)>,
    is_stopped: bool,
}

impl Cursor {
    /// Opens a cursor, or makes one that is not set yet.
    ///
    /// # Errors
    /// [`CursorError::Damaged`] if the file is there and holds none, [`CursorError::File`].
    pub fn open(path: &Path) -> Result<Self, CursorError> {
        Self::open_on(&DiskFs, path)
    }
}

impl<F: Fs> Cursor<F> {
    /// Opens a cursor on a given file system.
    ///
    /// # Errors
    /// As [`Cursor::open`].
    pub fn open_on(fs: &F, path: &Path) -> Result<Self, CursorError> {
        match SlotFile::open(fs, path, STRIDE) {
            Ok((mut slots, Some(bytes))) => {
                // A sync that failed may have left a value that only looks written, and whoever reads it
                // may let the journal drop what lies behind it.
                slots.write(&bytes)?;
                slots.sync()?;
                let damaged = || CursorError::Damaged { path: path.to_path_buf() };
                let (place, payload) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
                let lsn = Lsn(u64::from_le_bytes(*place));
                let value = lsn.known().map(|lsn| (lsn, payload.to_vec()));
                Ok(Self { slots, value, is_stopped: false })
            }
            Ok((_, None)) => Err(CursorError::Damaged { path: path.to_path_buf() }),
            Err(error) if error.is_not_found() => {
                let slots = SlotFile::create(fs, path, STRIDE, &Lsn::ZERO.0.to_le_bytes())?;
                Ok(Self { slots, value: None, is_stopped: false })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the place and the payload last set; nothing if none ever was.
    pub fn get(&self) -> Option<(Lsn, Vec<u8>)> {
        self.value.clone()
    }

    /// Sets the place and a payload; both are on disk when this returns.
    ///
    /// # Errors
    /// [`CursorError::TooLarge`]; [`CursorError::File`], after which the cursor only says
    /// [`CursorError::Stopped`].
    ///
    /// # Contract
    /// `lsn` is not [`Lsn::ZERO`], which stands for "not set".
    pub fn set(&mut self, lsn: Lsn, payload: &[u8]) -> Result<(), CursorError> {
        debug_assert_ne!(lsn, Lsn::ZERO, "a cursor is set to a record");
        if self.is_stopped {
            return Err(CursorError::Stopped);
        }
        if payload.len() > MAX_CURSOR_PAYLOAD_BYTES {
            return Err(CursorError::TooLarge { bytes: payload.len() });
        }
        let mut bytes = lsn.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(payload);
        self.is_stopped = true;
        self.slots.write(&bytes)?;
        self.slots.sync()?;
        self.is_stopped = false;
        self.value = Some((lsn, payload.to_vec()));
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "a test's numbers are small")]
mod tests {
    use super::*;
    use crate::fs::fake::{Crash, FakeFs};

    const PATH: &str = "/state/correlator.cursor";

    fn open(fs: &FakeFs) -> Result<Cursor<FakeFs>, CursorError> {
        Cursor::open_on(fs, Path::new(PATH))
    }

    fn payload(lsn: u64) -> Vec<u8> {
        vec![lsn as u8; 40 * lsn as usize]
    }

    #[test]
    fn what_set_returned_survives_a_crash_after_any_change() {
        for k in 0.. {
            let fs = FakeFs::default();
            fs.stop_after(k);
            let mut last = 0;
            let ended = (1..=5).try_for_each(|lsn| {
                open(&fs)?.set(Lsn(lsn), &payload(lsn))?;
                last = lsn;
                Ok::<(), CursorError>(())
            });
            for crash in [Crash::Lost, Crash::Kept, Crash::Mixed(k), Crash::Mixed(k + 1_000)] {
                let fs = fs.after(crash);
                let (lsn, read) = open(&fs).unwrap().get().unwrap_or_default();
                assert!(lsn.0 == last || lsn.0 == last + 1, "{crash:?} after change {k}: {lsn}, {last} was set");
                assert_eq!(read, payload(lsn.0));
            }
            if ended.is_ok() {
                return;
            }
        }
    }

    #[test]
    fn what_was_read_after_a_failed_sync_survives_a_crash() {
        let fs = FakeFs::default();
        open(&fs).unwrap().set(Lsn(3), b"").unwrap();
        let mut cursor = open(&fs).unwrap();
        fs.fail_sync(fs.syncs());
        cursor.set(Lsn(4), b"").unwrap_err();
        drop(cursor);
        let read = open(&fs).unwrap().get();
        assert_eq!(read, Some((Lsn(4), Vec::new())), "it looks written");
        assert_eq!(open(&fs.after(Crash::Lost)).unwrap().get(), read);
    }

    #[test]
    fn damaged_cursor_is_refused_and_not_taken_for_a_new_one() {
        let fs = FakeFs::default();
        open(&fs).unwrap().set(Lsn(3), b"here").unwrap();
        fs.put(Path::new(PATH), vec![0xee; 200_000]);
        assert!(matches!(open(&fs), Err(CursorError::Damaged { .. })));
    }

    #[test]
    fn one_damaged_slot_costs_one_step() {
        let fs = FakeFs::default();
        let mut cursor = open(&fs).unwrap();
        (1..=2).for_each(|lsn| cursor.set(Lsn(lsn), b"").unwrap());
        let bytes = fs.read(Path::new(PATH));
        let got: Vec<_> = [0, 1]
            .map(|slot| {
                let mut bytes = bytes.clone();
                bytes[slot * STRIDE as usize + 20] ^= 1;
                fs.put(Path::new(PATH), bytes);
                open(&fs).unwrap().get().map(|(lsn, _)| lsn.0)
            })
            .into();
        assert!(got.contains(&Some(1)) && got.contains(&Some(2)), "{got:?}");
    }

    #[test]
    fn failed_cursor_says_so_and_too_long_a_payload_is_refused() {
        let fs = FakeFs::default();
        let mut cursor = open(&fs).unwrap();
        let long = vec![0; MAX_CURSOR_PAYLOAD_BYTES + 1];
        assert!(matches!(cursor.set(Lsn(1), &long), Err(CursorError::TooLarge { .. })));
        cursor.set(Lsn(1), &long[1..]).unwrap();
        fs.fail_sync(fs.syncs());
        assert!(matches!(cursor.set(Lsn(2), b""), Err(CursorError::File(_))));
        assert!(matches!(cursor.set(Lsn(3), b""), Err(CursorError::Stopped)));
    }
}
