//! Opens the files, tells what they are, and sends their blocks to the judges in turn.
//!
//! Comes in: the words of the command line. Goes out: [`Load`]s. A file that cannot be read is a block
//! of its own that says so, and the next one is read. zstd is undone on the way, in a bounded window.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use canh_parse::{EVTX_CHUNK_BYTES, EVTX_MAGIC, evtx_chunks_start};

use crate::eval::arguments::FileFormat;
use crate::eval::block::{BLOCK_BYTES, Load};
use crate::eval::lines::{self, Pace};
use crate::eval::sink::Sink;
use crate::eval::span::Span;

/// What a zstd frame begins with. Source: RFC 8878 section 3.1.1.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The widest window of a zstd frame that is accepted, as a power of two: 64 MiB. `zstd -19` needs 8.
const MAX_ZSTD_WINDOW_LOG: u32 = 26;
/// As much of an event log's header as says how long it is.
const EVTX_HEADER_PART_BYTES: usize = 128;
const STDIN: &str = "-";

/// Counts the bytes of files as they are read, packed ones as they lie there.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Reads every file and sends its blocks.
pub(super) fn read_all(files: &[PathBuf], format: FileFormat, bytes: &Arc<AtomicU64>, mut sink: Sink) {
    for (file, path) in files.iter().enumerate() {
        sink.begin_file(file);
        if let Err(error) = read(path, format, bytes, &mut sink) {
            sink.send(Load::Fault(error.to_string().into()));
        }
        if sink.is_closed() {
            return;
        }
    }
}

/// Returns the bytes of all files together, if all are files.
pub(super) fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    let length = |path: &PathBuf| path.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
    // One that is not there is not waited for.
    files.iter().filter(|path| path.exists() || path.as_os_str() == STDIN).map(length).sum()
}

fn read(path: &Path, format: FileFormat, bytes: &Arc<AtomicU64>, sink: &mut Sink) -> io::Result<()> {
    if path.as_os_str() == STDIN {
        return read_stream(Counted { inner: io::stdin(), bytes: bytes.clone() }, Pace::Live, format, sink);
    }
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder; give the files in it"));
    }
    // A file of the kernel's says it is empty and is not.
    if !kind.is_file() || kind.len() == 0 {
        return read_stream(Counted { inner: file, bytes: bytes.clone() }, Pace::Live, format, sink);
    }
    let mut head = [0; EVTX_MAGIC.len()];
    let read = file.read_at(&mut head, 0)?;
    let head = head.get(..read).unwrap_or_default();
    if head.starts_with(ZSTD_MAGIC) || is_evtx(head, format) {
        return read_stream(Counted { inner: file, bytes: bytes.clone() }, Pace::Stored, format, sink);
    }
    deal_out(file, kind.len(), bytes, sink);
    Ok(())
}

/// Sends the parts of a plain file; the judges read them.
fn deal_out(file: File, length: u64, bytes: &AtomicU64, sink: &mut Sink) {
    let file = Arc::new(file);
    for start in (0..length).step_by(BLOCK_BYTES) {
        let end = (start + BLOCK_BYTES as u64).min(length);
        sink.send(Load::Span(Span { file: file.clone(), start, end }));
        bytes.fetch_add(end - start, Ordering::Relaxed);
        if sink.is_closed() {
            return;
        }
    }
}

fn read_stream(stream: impl Read, pace: Pace, format: FileFormat, sink: &mut Sink) -> io::Result<()> {
    let (head, stream) = peek(stream)?;
    if head.starts_with(ZSTD_MAGIC) {
        let mut unpacked = zstd::Decoder::with_buffer(BufReader::with_capacity(BLOCK_BYTES / 4, stream))?;
        unpacked.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
        let (head, stream) = peek(unpacked)?;
        return read_events(&head, stream, pace, format, sink);
    }
    read_events(&head, stream, pace, format, sink)
}

fn read_events(head: &[u8], mut stream: impl Read, pace: Pace, format: FileFormat, sink: &mut Sink) -> io::Result<()> {
    if is_evtx(head, format) { read_chunks(&mut stream, sink) } else { lines::send(&mut stream, pace, sink) }
}

fn is_evtx(head: &[u8], format: FileFormat) -> bool {
    match format {
        FileFormat::Evtx => true,
        FileFormat::Auto => head == EVTX_MAGIC,
        FileFormat::Ndjson => false,
    }
}

/// Returns a stream's first bytes, and the whole stream.
fn peek<R: Read>(mut stream: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    stream.by_ref().take(EVTX_MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(stream)))
}

fn read_chunks(stream: &mut dyn Read, sink: &mut Sink) -> io::Result<()> {
    let mut header = Vec::new();
    stream.take(EVTX_HEADER_PART_BYTES as u64).read_to_end(&mut header)?;
    let start = evtx_chunks_start(&header).map_err(io::Error::other)?;
    let rest = start.saturating_sub(header.len() as u64);
    io::copy(&mut stream.take(rest), &mut io::sink())?;
    while !sink.is_closed() {
        let mut bytes = sink.buffer();
        let read = stream.take((BLOCK_BYTES / EVTX_CHUNK_BYTES * EVTX_CHUNK_BYTES) as u64).read_to_end(&mut bytes);
        if bytes.is_empty() {
            return read.map(drop);
        }
        sink.send(Load::Chunks(bytes));
        read?;
    }
    Ok(())
}
