//! A disk that can be cut off from power: an ext4 file system in a file, mounted through a loop
//! device.
//!
//! ```text
//!  daemon ──► page cache of the mounted file system ──(fdatasync, or the kernel's own time)──► file
//!             what is only here is lost                                                       what is
//!                                                                                             copied
//! ```
//!
//! The copy of the file is what a disk holds at the moment the power fails: everything the file
//! system has handed to its device, nothing that is still in its page cache. Nothing is synced or
//! unmounted before the copy. While it is made the device must not be written to, by the kernel
//! either: its counters are looked at before and after, and the copy is made again if they moved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// How often a copy is tried: the kernel writes for a moment every few seconds.
const COPIES: usize = 50;
/// Long intervals, so that what is not synced stays in the page cache: the kernel commits the file
/// system's own journal every five seconds otherwise.
const MOUNT_OPTIONS: &str = "noatime,commit=600";

/// A file system in a file. Dropped, it is unmounted.
#[derive(Debug)]
pub(crate) struct Image {
    file: PathBuf,
    mount: PathBuf,
    device: Option<String>,
}

impl Image {
    /// Makes a file system of so many bytes, mounted at a folder beside its file.
    ///
    /// # Errors
    /// A program fails or is not there; there is no loop device, or no right to use it.
    pub(crate) fn make(file: &Path, bytes: u64) -> anyhow::Result<Self> {
        fs::File::create(file)?.set_len(bytes)?;
        let made = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(Command::new("mkfs.ext4").args(made).arg(file))?;
        Self::mount(file)
    }

    /// Mounts the file system in a file.
    ///
    /// # Errors
    /// As [`Image::make`].
    fn mount(file: &Path) -> anyhow::Result<Self> {
        let mount = file.with_extension("mounted");
        fs::create_dir_all(&mount)?;
        let mut image = Self { file: file.to_owned(), mount, device: None };
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(file))?.trim().to_owned();
        image.device = Some(device.clone());
        run(Command::new("mount").args(["-t", "ext4", "-o", MOUNT_OPTIONS, &device]).arg(&image.mount))?;
        Ok(image)
    }

    /// Returns the folder it is mounted at.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// Cuts the power: what the device holds now is all that is left. `end` is called once the copy is
    /// made, to end whoever still has files open. Returns the file system as it is found afterwards,
    /// at the same place.
    ///
    /// # Contract
    /// Whoever writes to it stands still.
    ///
    /// # Errors
    /// As [`Image::make`]; or the device does not come to rest.
    pub(crate) fn cut(mut self, end: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let (file, copy) = (self.file.clone(), self.file.with_extension("copy"));
        self.copy_at_rest(&copy)?;
        end()?;
        self.unmount()?;
        fs::rename(&copy, &file)?;
        Self::mount(&file)
    }

    fn copy_at_rest(&self, copy: &Path) -> anyhow::Result<()> {
        for _ in 0..COPIES {
            let before = self.writes()?;
            run(Command::new("cp").arg("--sparse=always").arg(&self.file).arg(copy))?;
            if before.is_some() && self.writes()? == before {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("{} does not come to rest", self.file.display())
    }

    /// Returns what the device has been asked to write and to flush; nothing while it is at work.
    fn writes(&self) -> anyhow::Result<Option<Vec<u64>>> {
        let device = self.device.as_deref().and_then(|device| device.rsplit('/').next()).context("it is mounted")?;
        let text =
            fs::read_to_string(format!("/sys/block/{device}/stat")).context("while reading a device's counters")?;
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        // Documentation/block/stat.rst: 4 writes, 6 sectors written, 8 in flight, 15 flushes.
        let in_flight = numbers.get(8).copied().context("a device has its counters")?;
        let of = |index: usize| numbers.get(index).copied().unwrap_or(0);
        Ok((in_flight == 0).then(|| vec![of(4), of(6), of(15)]))
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        let Some(device) = self.device.take() else { return Ok(()) };
        let unmounted = run(Command::new("umount").arg(&self.mount));
        let freed = run(Command::new("losetup").args(["--detach", &device]));
        unmounted.and(freed).map(drop)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.device.is_some() && self.unmount().is_err() {
            // Somebody still has a file open: it is taken away when he ends.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount));
        }
    }
}

/// Returns why file systems in files cannot be had here, if they cannot.
pub(crate) fn missing(dir: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    let made = Image::make(&dir.join("probe.img"), 16 << 20);
    made.err().map(|error| format!("no loop-mounted ext4 here: {error:#}"))
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("while running {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
