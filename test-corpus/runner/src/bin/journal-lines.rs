//! `journal-lines DIR`: writes every record of a collector's journal as it was read, one a line, in the
//! order of the journal. The live tests compare that with what was written on the host.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use canh_event::StoredBatch;
use canh_journal::{Lsn, Reader};

/// The journal's records that hold events.
const KIND_EVENTS: u8 = 1;

fn main() -> anyhow::Result<()> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| anyhow!("usage: journal-lines DIR"))?;
    let mut reader = Reader::open(&dir).with_context(|| format!("while opening {}", dir.display()))?;
    reader.seek(Lsn::FIRST).context("while going to its beginning")?;
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(entry) = reader.next().context("while reading the journal")? {
        if entry.kind != KIND_EVENTS {
            continue;
        }
        let stored = StoredBatch::decode(entry.body).context("while reading a batch")?;
        for row in stored.batch.rows() {
            out.write_all(row.raw())?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(())
}
