//! A file system in memory that forgets what was not synced.
//!
//! It keeps for every file what a running system sees and what the disk has, with the writes
//! between the two; likewise for names. A crash keeps the disk and, as told, none, all or a random
//! part of the rest: of writes any 512-byte sectors, of names the first few changes or any of them. It
//! can stop after the Nth change, fail the Nth sync the way Linux does, fail the Nth call whatever it
//! is, and be full.

#![expect(clippy::cast_possible_truncation, reason = "a test's numbers are small")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Fs, FsFile, OpenMode};

const SECTOR: usize = 512;

/// A file system in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeFs(Arc<Mutex<State>>);

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Crash {
    /// Nothing: the power went before anything was written back.
    Lost,
    /// Everything: only the process died.
    Kept,
    /// Some of it, by this seed.
    Mixed(u64),
}

/// An open file.
#[derive(Debug)]
pub(crate) struct FakeFile {
    fs: FakeFs,
    inode: usize,
    has_lock: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    disk_names: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
    changes: u64,
    stop_after: Option<u64>,
    syncs: u64,
    fail_sync: Option<u64>,
    calls: u64,
    fail_call: Option<u64>,
    capacity: Option<u64>,
    random: u64,
    now: Duration,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    disk: Vec<u8>,
    changes: Vec<Change>,
    is_locked: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// A small generator of numbers, the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => put(bytes, *offset, data),
            Self::Length(len) => bytes.resize(*len, 0),
        }
    }

    fn apply_in_part(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        match self {
            Self::Write(offset, data) => {
                let mut at = 0;
                while at < data.len() {
                    let end = (at + SECTOR - (offset + at) % SECTOR).min(data.len());
                    if dice.roll(2) == 0 {
                        put(bytes, offset + at, &data[at..end]);
                    }
                    at = end;
                }
            }
            Self::Length(_) if dice.roll(2) == 0 => self.apply(bytes),
            Self::Length(_) => {}
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl State {
    /// Counts a call that changes something; an error if the power is off or this call is to fail.
    fn change(&mut self) -> io::Result<()> {
        self.call()?;
        self.changes += 1;
        Ok(())
    }

    /// Counts a call; an error if the power is off or this call is to fail.
    fn call(&mut self) -> io::Result<()> {
        if self.stop_after.is_some_and(|last| self.changes >= last) {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        if self.fail_call == Some(self.calls) {
            return Err(io::Error::other("the call failed"));
        }
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].seen.len() as u64).sum()
    }
}

impl FakeFs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Returns how many changes were made: writes, syncs, renamings and so on.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Returns how many calls were made, readings included.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets the Nth call fail, and no other. A write that fails has written half.
    pub(crate) fn fail_call(&self, number: u64) {
        self.state().fail_call = Some(number);
    }

    /// Lets every call fail once that many changes have been made.
    pub(crate) fn stop_after(&self, changes: u64) {
        self.state().stop_after = Some(changes);
    }

    /// Lets the sync after that many syncs fail as Linux does: what was not written back never
    /// will be, and looks as if it had been.
    pub(crate) fn fail_sync(&self, after: u64) {
        self.state().fail_sync = Some(after);
    }

    /// Sets the clock, in seconds since 1970.
    pub(crate) fn set_now(&self, secs: u64) {
        self.state().now = Duration::from_secs(secs);
    }

    /// Bounds the bytes that files may reserve.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Returns the machine after a crash and a restart.
    pub(crate) fn after(&self, crash: Crash) -> Self {
        let state = self.state();
        let mut dice = Dice(if let Crash::Mixed(seed) = crash { seed } else { 0 });
        let mut inodes = Vec::new();
        for inode in &state.inodes {
            let mut bytes = inode.disk.clone();
            for change in &inode.changes {
                match crash {
                    Crash::Lost => {}
                    Crash::Kept => change.apply(&mut bytes),
                    Crash::Mixed(_) => change.apply_in_part(&mut bytes, &mut dice),
                }
            }
            inodes.push(Inode { seen: bytes.clone(), disk: bytes, ..Inode::default() });
        }
        let count = state.name_changes.len();
        let prefix = dice.roll(count as u64 + 1) as usize;
        let mut names = state.disk_names.clone();
        for (number, change) in state.name_changes.iter().enumerate() {
            let is_kept = match crash {
                Crash::Lost => false,
                Crash::Kept => true,
                Crash::Mixed(seed) if seed % 2 == 0 => number < prefix,
                Crash::Mixed(_) => dice.roll(2) == 0,
            };
            if is_kept {
                change.apply(&mut names);
            }
        }
        let after = State {
            inodes,
            names: names.clone(),
            disk_names: names,
            random: state.random + 1,
            now: state.now,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(after)))
    }

    /// Returns a copy that shares nothing with this one.
    pub(crate) fn copy(&self) -> Self {
        self.after(Crash::Kept)
    }

    /// Returns a file's bytes.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[path]].seen.clone()
    }

    /// Puts bytes in a file's place, on disk.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode { seen: bytes.clone(), disk: bytes, ..Inode::default() });
        state.names.insert(path.to_path_buf(), inode);
        state.disk_names.insert(path.to_path_buf(), inode);
    }

    /// Writes over a file that may be open.
    pub(crate) fn overwrite(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.names[path];
        put(&mut state.inodes[inode].seen, 0, bytes);
    }

    /// Takes a file away, on disk.
    pub(crate) fn take(&self, path: &Path) -> Vec<u8> {
        let bytes = self.read(path);
        let mut state = self.state();
        state.names.remove(path);
        state.disk_names.remove(path);
        bytes
    }

    /// Returns the names of all segments, in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let is_segment = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "seg");
        self.state().names.keys().filter(is_segment).cloned().collect()
    }
}

impl Fs for FakeFs {
    type File = FakeFile;

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.state().call()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.call()?;
        let in_dir = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(in_dir.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FakeFile> {
        let mut state = self.state();
        state.call()?;
        let inode = match (state.names.get(path).copied(), mode) {
            (Some(inode), OpenMode::CreateEmpty) => {
                state.change()?;
                state.inodes[inode].seen.clear();
                state.inodes[inode].changes.push(Change::Length(0));
                inode
            }
            (Some(inode), _) => inode,
            (None, OpenMode::CreateEmpty) => {
                state.change()?;
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.rename(NameChange::Link(path.to_path_buf(), inode));
                inode
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(FakeFile { fs: self.clone(), inode, has_lock: AtomicBool::new(false) })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.rename(NameChange::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.disk_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut state = self.state();
        state.random += 1;
        Ok([state.random as u8; 16])
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.state().now
    }
}

impl FakeFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.fs.state();
        state.change()?;
        let inode = &mut state.inodes[self.inode];
        change.apply(&mut inode.seen);
        inode.changes.push(change);
        Ok(())
    }
}

impl FsFile for FakeFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        state.call()?;
        let bytes = state.inodes[self.inode].seen.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let done = self.change(Change::Write(offset as usize, bytes.to_vec()));
        if done.is_err() && self.fs.state().stop_after.is_none() {
            // This call alone is to fail: the next one would pass.
            self.change(Change::Write(offset as usize, bytes[..bytes.len() / 2].to_vec()))?;
        }
        done
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.fs.state();
        let called = state.change();
        if called.is_err() && state.stop_after.is_some() {
            return called;
        }
        state.syncs += 1;
        let is_failing = called.is_err() || state.fail_sync.is_some_and(|after| state.syncs == after + 1);
        let inode = &mut state.inodes[self.inode];
        let changes = std::mem::take(&mut inode.changes);
        if is_failing {
            // They stay lost, however often a later sync succeeds, until they are made again.
            return Err(io::Error::other("the disk failed"));
        }
        changes.iter().for_each(|change| change.apply(&mut inode.disk));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let (now, is_full) = {
            let state = self.fs.state();
            let now = state.inodes[self.inode].seen.len() as u64;
            (now, state.capacity.is_some_and(|capacity| state.used() + len.saturating_sub(now) > capacity))
        };
        if is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Change::Length(now.max(len) as usize))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.fs.state();
        state.call()?;
        Ok(state.inodes[self.inode].seen.len() as u64)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.fs.state().call()?;
        let was_locked = std::mem::replace(&mut self.fs.state().inodes[self.inode].is_locked, true);
        self.has_lock.fetch_or(!was_locked, Ordering::Relaxed);
        Ok(!was_locked)
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        if self.has_lock.load(Ordering::Relaxed) {
            self.fs.state().inodes[self.inode].is_locked = false;
        }
    }
}
