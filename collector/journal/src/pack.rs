//! Makes the compressed form of a sealed segment, beside it and under another name.
//!
//! Every record is read and its checksum looked at on the way; what has been written is synced, read
//! back whole and compared before it is offered. A segment with damage keeps the form it has: what
//! can still be saved from it is not put through another program.

use std::io;
use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::fs::{Fs, FsError, FsFile, OpenMode};
use crate::header::{Form, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::info::SegmentInfo;
use crate::lsn::Lsn;
use crate::packed::{BLOCK_BYTES, Index, Seal};
use crate::record::Salt;
use crate::scan::{SegmentScan, Step};
use crate::segment::{segment_path, unfinished_path};

/// What became of packing a segment.
#[derive(Debug)]
pub(crate) enum Packing {
    /// The compressed form is on disk under another name.
    Done {
        /// Where it is.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// It would not be shorter; nothing is left behind.
    NotShorter,
    /// The segment does not hold all its records; nothing is left behind.
    Damaged,
    /// It was not to go on; nothing is left behind.
    Interrupted,
}

/// Packs the segment of a journal that `info` tells of.
///
/// # Errors
/// [`FsError`]; a file with an unfinished segment's name may be left behind.
pub(crate) fn pack_segment<F: Fs>(
    fs: &F,
    dir: &Path,
    uuid: [u8; 16],
    info: &SegmentInfo,
    level: i32,
    go_on: &dyn Fn() -> bool,
) -> Result<Packing, FsError> {
    let (path, new_path) = (segment_path(dir, info.first), unfinished_path(dir, info.first));
    let salt = Salt::new(&uuid);
    let Some((mut scan, header)) = open_scan(fs, &path, info.first, &uuid)? else { return Ok(Packing::Damaged) };
    let file = fs.open(&new_path, OpenMode::CreateEmpty).map_err(FsError::on("create", &new_path))?;
    let header = SegmentHeader { form: Form::Packed, ..header };
    let mut packer = Packer::start(file, salt, level, &header).map_err(FsError::on("write", &new_path))?;
    if !add_all(&mut packer, &mut scan, go_on).map_err(FsError::on("compress", &path))? {
        fs.remove(&new_path).map_err(FsError::on("remove", &new_path))?;
        return Ok(Packing::Interrupted);
    }
    let last = info.last.unwrap_or(Lsn::ZERO);
    let seal = Seal { last, since: info.since, until: info.until };
    let is_all = scan.expected == last.next() && info.last.is_some();
    let packing = if is_all {
        finish(fs, packer, &seal, info, new_path.clone()).map_err(FsError::on("write", &new_path))?
    } else {
        Packing::Damaged
    };
    if !matches!(packing, Packing::Done { .. }) {
        fs.remove(&new_path).map_err(FsError::on("remove", &new_path))?;
    }
    Ok(packing)
}

/// Packs all records up to the first that is not whole; false if it was not to go on.
fn add_all<H: FsFile>(packer: &mut Packer<H>, scan: &mut SegmentScan<H>, go_on: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut blocks = 0;
    while let Step::Record(found) = scan.step(u64::MAX)? {
        packer.add(found.lsn, scan.record(&found))?;
        let before = std::mem::replace(&mut blocks, packer.index.blocks.len());
        if blocks > before && !go_on() {
            return Ok(false);
        }
    }
    Ok(true)
}

type Opened<H> = Option<(SegmentScan<H>, SegmentHeader)>;

/// Opens a segment to walk it; nothing if it is not the segment its name says.
fn open_scan<F: Fs>(fs: &F, path: &Path, first: Lsn, uuid: &[u8; 16]) -> Result<Opened<F::File>, FsError> {
    let file = fs.open(path, OpenMode::Read).map_err(FsError::on("open", path))?;
    let header = match SegmentHeader::read(&file).map_err(FsError::on("read", path))? {
        Ok(header) if header.first == first && header.uuid == *uuid => header,
        _ => return Ok(None),
    };
    let salt = Salt::new(uuid);
    let content = Content::open(file, header.form, salt).map_err(FsError::on("read", path))?;
    Ok(Some((SegmentScan::new(content, salt, first), header)))
}

fn finish<F: Fs>(
    fs: &F,
    packer: Packer<F::File>,
    seal: &Seal,
    info: &SegmentInfo,
    path: PathBuf,
) -> io::Result<Packing> {
    let salt = packer.salt;
    let Some((file, bytes)) = packer.finish(seal)?.filter(|(_, bytes)| *bytes < info.bytes) else {
        return Ok(Packing::NotShorter);
    };
    file.sync_data()?;
    drop(file);
    if reads_back(fs.open(&path, OpenMode::Read)?, salt, info)? {
        Ok(Packing::Done { path, bytes })
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "what was packed does not read back"))
    }
}

/// Returns whether a compressed segment holds every record it must.
fn reads_back<H: FsFile>(file: H, salt: Salt, info: &SegmentInfo) -> io::Result<bool> {
    let Ok(header) = SegmentHeader::read(&file)? else { return Ok(false) };
    let mut scan = SegmentScan::new(Content::open(file, header.form, salt)?, salt, info.first);
    while let Step::Record(_) = scan.step(u64::MAX)? {}
    Ok(Some(scan.expected.previous()) == info.last)
}

/// Writes records into blocks.
struct Packer<H> {
    file: H,
    salt: Salt,
    compressor: zstd::bulk::Compressor<'static>,
    index: Index,
    /// Where the next block goes.
    end: u64,
    /// Records that are in no block yet, and the place of the first of them.
    raw: Vec<u8>,
    first: Lsn,
    /// Whether there are more blocks than a segment may have.
    is_overfull: bool,
}

impl<H: FsFile> Packer<H> {
    fn start(file: H, salt: Salt, level: i32, header: &SegmentHeader) -> io::Result<Self> {
        file.write_all_at(&header.encode(), 0)?;
        let compressor = zstd::bulk::Compressor::new(level)?;
        let (index, end, raw) = (Index::default(), SEGMENT_HEADER_BYTES, Vec::new());
        Ok(Self { file, salt, compressor, index, end, raw, first: Lsn::ZERO, is_overfull: false })
    }

    fn add(&mut self, lsn: Lsn, record: &[u8]) -> io::Result<()> {
        if !self.raw.is_empty() && self.raw.len() + record.len() > BLOCK_BYTES {
            self.flush()?;
        }
        if self.raw.is_empty() {
            self.first = lsn;
        }
        self.raw.extend_from_slice(record);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let frame = self.compressor.compress(&self.raw)?;
        let lengths = u32::try_from(frame.len()).ok().zip(u32::try_from(self.raw.len()).ok());
        self.is_overfull |= !lengths.is_some_and(|(frame, raw)| self.index.push(frame, raw, self.first));
        if let Some(block) = self.index.blocks.last().filter(|_| !self.is_overfull) {
            let mut bytes = block.head(self.salt, &frame);
            bytes.extend_from_slice(&frame);
            self.file.write_all_at(&bytes, self.end)?;
            self.end += bytes.len() as u64;
        }
        self.raw.clear();
        self.raw.shrink_to(BLOCK_BYTES);
        Ok(())
    }

    /// Writes the last block, the index and the seal, and returns the file and its length.
    fn finish(mut self, seal: &Seal) -> io::Result<Option<(H, u64)>> {
        self.flush()?;
        let bytes = self.index.encode(self.salt, seal);
        self.file.write_all_at(&bytes, self.end)?;
        let end = self.end + bytes.len() as u64;
        Ok((!self.is_overfull).then_some((self.file, end)))
    }
}
