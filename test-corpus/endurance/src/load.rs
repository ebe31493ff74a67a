//! What programs on two hosts write while everything is being killed: lines and attacks, into files
//! that are rotated.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::attacks::Attacks;
use crate::chance::Chance;
use crate::line::{self, plain};
use crate::oracle::Oracle;
use crate::writer::LogFile;

/// How often something is written.
const STEP: Duration = Duration::from_millis(10);
/// Steps between two rotations, and between two attacks, on average.
const ROTATION: u64 = 100;
const ATTACK: u64 = 40;

/// The load while it runs.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Written>>,
}

/// What a load has left behind.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) attacks: Attacks,
    pub(crate) rotations: u64,
}

/// A file and the host it is on.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) path: PathBuf,
}

struct Writers {
    files: Vec<(String, LogFile)>,
    oracle: Arc<Mutex<Oracle>>,
    chance: Chance,
    written: Written,
}

impl Load {
    /// Begins to write.
    ///
    /// # Errors
    /// A file cannot be made.
    pub(crate) fn start(targets: &[Target], oracle: Arc<Mutex<Oracle>>, chance: Chance) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for target in targets {
            files.push((target.host.clone(), LogFile::create(&target.path)?));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Writers { files, oracle, chance, written: Written::default() };
        let told = Arc::clone(&stop);
        let thread = spawn(move || {
            while !told.load(Ordering::Acquire) {
                writers.step()?;
                sleep(STEP);
            }
            writers.files.iter_mut().try_for_each(|(_, file)| file.finish())?;
            Ok(writers.written)
        });
        Ok(Self { stop, thread })
    }

    /// Completes the last lines and ends.
    ///
    /// # Errors
    /// A file could not be written.
    pub(crate) fn end(self) -> anyhow::Result<Written> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))?
    }
}

impl Writers {
    fn step(&mut self) -> anyhow::Result<()> {
        let index = usize::try_from(self.chance.below(self.files.len() as u64))?;
        let (host, file) = self.files.get_mut(index).context("there are files")?;
        let mut text = String::new();
        let mut oracle = self.oracle.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.chance.between(1, 40) {
            let length = self.chance.between(10, 300);
            let (_, line) = oracle.issue(|id| plain(line::now(), host, id, length, &mut self.chance));
            text.push_str(&line);
            text.push('\n');
        }
        if self.chance.once_in(ATTACK) {
            for (_, line) in self.written.attacks.next(host, &mut oracle, &mut self.chance) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        drop(oracle);
        file.append(&text, &mut self.chance)?;
        if self.chance.once_in(ROTATION) {
            file.rotate(&mut self.chance)?;
            self.written.rotations += 1;
        }
        Ok(())
    }
}
