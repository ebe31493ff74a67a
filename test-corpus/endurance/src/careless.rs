//! A small writer that acknowledges before its bytes are on disk, if it is told to: it shows that the
//! method sees it. It runs as a process of its own, as the daemons do.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::chance::Chance;
use crate::image::Image;
use crate::report::say;

/// Bytes of one record.
const RECORD: usize = 1_024;
/// The verb under which this program is its own writer.
pub(crate) const VERB: &str = "careless-writer";
/// Records written before the first acknowledgement that a cut may follow.
const RECORDS: u64 = 200;

/// Writes records and acknowledges each on standard output, with or without a sync before.
///
/// # Errors
/// The disk, or nobody listens any more.
pub(crate) fn write(path: &Path, is_synced: bool) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    let mut out = std::io::stdout().lock();
    for number in 1_u64.. {
        let mut record = vec![b'.'; RECORD];
        record.splice(..8, number.to_le_bytes());
        file.write_all(&record)?;
        if is_synced {
            file.sync_data()?;
        }
        writeln!(out, "{number}")?;
        out.flush()?;
    }
    Ok(())
}

/// Cuts the power of writers that sync and of writers that do not.
///
/// # Errors
/// The first lose something, or the second do not: then a cut proves nothing.
pub(crate) fn check_method(dir: &Path, cuts: u64, chance: &mut Chance) -> anyhow::Result<()> {
    let mut lost_at = [0_u64, 0];
    for (is_synced, lost_cuts) in [true, false].into_iter().zip(&mut lost_at) {
        for _ in 0..cuts {
            let (acknowledged, found) = cut(dir, is_synced, chance)?;
            *lost_cuts += u64::from(found < acknowledged);
        }
    }
    let [synced, careless] = lost_at;
    ensure!(synced == 0, "a writer that syncs has lost records at {synced} of {cuts} cuts: the method is wrong");
    ensure!(careless == cuts, "a writer that does not sync has lost records at {careless} of {cuts} cuts only");
    say(&format!(
        "power: the method holds: a writer that acknowledges before it syncs loses records at {careless} of {cuts} cuts, \
         one that syncs before it acknowledges at {synced} of {cuts}"
    ));
    Ok(())
}

/// Returns how many records were acknowledged and how many are there after a cut.
fn cut(dir: &Path, is_synced: bool, chance: &mut Chance) -> anyhow::Result<(u64, u64)> {
    let image = Image::make(&dir.join("method.img"), 32 << 20)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(VERB)
        .arg(image.path("records"))
        .args(is_synced.then_some("--sync"))
        .stdout(Stdio::piped())
        .spawn()?;
    let read = freeze_after(&mut child, RECORDS + chance.below(RECORDS));
    let image = image.cut(|| {
        child.kill()?;
        child.wait()?;
        Ok(())
    })?;
    Ok((read?, records(&image.path("records"))?))
}

/// Reads so many acknowledgements, then has the writer stand still.
fn freeze_after(child: &mut Child, count: u64) -> anyhow::Result<u64> {
    let out = BufReader::new(child.stdout.take().context("its output is read")?);
    let mut last = 0;
    for line in out.lines() {
        last = line?.parse()?;
        if last >= count {
            break;
        }
    }
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
    kill_process(pid, Signal::STOP)?;
    while !std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?.contains(") T ") {
        sleep(Duration::from_millis(1));
    }
    Ok(last)
}

/// Returns how many records from the first on are whole.
fn records(path: &Path) -> anyhow::Result<u64> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let whole = (1_u64..).zip(bytes.chunks_exact(RECORD)).take_while(|(number, record)| {
        record.starts_with(&number.to_le_bytes()) && record.iter().skip(8).all(|byte| *byte == b'.')
    });
    Ok(whole.count() as u64)
}
