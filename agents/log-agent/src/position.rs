//! Where reading goes on after a restart: for each file of a source its identity and offset.
//!
//! An inode number says which file it was, and is given to another file soon after that one is
//! gone. So two prints of the content go with it: of the first bytes of the file, and of the bytes
//! just before the offset. Only a file that still has both is read on.
//!
//! ```text
//! version u8 │ count u32 │ each: device u64, inode u64, written i64, born i64, offset u64, flags u8,
//!                                head (length u16, hash u64), before (length u16, hash u64)
//! ```

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use canh_event::{ByteReader, ByteWriter, DecodeError};

const VERSION: u8 = 1;
const FLAG_SKIPPING: u8 = 1;
const FLAG_FINISHED: u8 = 2;

/// Most files of one source that are remembered; the oldest goes first. Only a glob that also
/// matches rotated files comes near it.
pub(crate) const MAX_GENERATIONS: usize = 256;

/// Which file of this host it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// The hash of a run of bytes, and how many they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) length: u16,
    hash: u64,
}

/// How far one file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) file: FileId,
    /// When the file was last written, in nanoseconds since the epoch; 0 if unknown. Files that
    /// took its place come after it.
    pub(crate) written: i64,
    /// When the file was born, likewise. An inode that was born then is that file, whatever is in it.
    pub(crate) born: i64,
    /// Everything before has been handed over.
    pub(crate) offset: u64,
    /// Whether the offset is in the middle of a line whose beginning was handed over cut.
    pub(crate) is_skipping: bool,
    /// Whether the file was read to its end after it had left its path, and let go.
    pub(crate) is_finished: bool,
    /// The first bytes of the file.
    pub(crate) head: Print,
    /// The bytes just before the offset.
    pub(crate) before: Print,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Print {
    /// Returns the print of bytes: FNV-1a, 64 bits. It tells files apart; it does not withstand
    /// somebody who may write the file anyway.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { length: u16::try_from(bytes.len()).unwrap_or(u16::MAX), hash }
    }
}

/// The print of no bytes.
impl Default for Print {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Position {
    /// Returns the beginning of a file.
    pub(crate) fn start(file: FileId) -> Self {
        let (head, before) = (Print::default(), Print::default());
        Self { file, written: 0, born: 0, offset: 0, is_skipping: false, is_finished: false, head, before }
    }
}

/// Returns the cursor of a source: the positions of its files, oldest first.
pub(crate) fn encode(positions: impl Iterator<Item = Position>) -> Vec<u8> {
    let positions: Vec<Position> = positions.collect();
    let mut out = Vec::new();
    let mut writer = ByteWriter::new(&mut out);
    writer.u8(VERSION);
    writer.count(positions.len());
    for position in positions {
        writer.u64(position.file.device);
        writer.u64(position.file.inode);
        writer.i64(position.written);
        writer.i64(position.born);
        writer.u64(position.offset);
        let skipping = if position.is_skipping { FLAG_SKIPPING } else { 0 };
        let finished = if position.is_finished { FLAG_FINISHED } else { 0 };
        writer.u8(skipping | finished);
        for print in [position.head, position.before] {
            writer.u16(print.length);
            writer.u64(print.hash);
        }
    }
    out
}

/// Reads a cursor that [`encode`] wrote. An empty one is that of a source that was forgotten.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Position>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = ByteReader::new(bytes);
    let version = reader.u8("cursor version")?;
    if version != VERSION {
        return Err(DecodeError::Version { what: "a file cursor", got: version, known: VERSION });
    }
    let mut positions = Vec::new();
    for _ in 0..reader.count(MAX_GENERATIONS, "file count")? {
        positions.push(decode_position(&mut reader)?);
    }
    reader.finish("end of cursor")?;
    Ok(positions)
}

fn decode_position(reader: &mut ByteReader<'_>) -> Result<Position, DecodeError> {
    let file = FileId { device: reader.u64("device")?, inode: reader.u64("inode")? };
    let (written, born) = (reader.i64("time of writing")?, reader.i64("time of birth")?);
    let (offset, flags) = (reader.u64("offset")?, reader.u8("flags")?);
    Ok(Position {
        file,
        written,
        born,
        offset,
        is_skipping: flags & FLAG_SKIPPING != 0,
        is_finished: flags & FLAG_FINISHED != 0,
        head: decode_print(reader)?,
        before: decode_print(reader)?,
    })
}

fn decode_print(reader: &mut ByteReader<'_>) -> Result<Print, DecodeError> {
    Ok(Print { length: reader.u16("print length")?, hash: reader.u64("print")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn position()(
            device in any::<u64>(), inode in any::<u64>(), written in any::<i64>(), born in any::<i64>(), offset in any::<u64>(),
            is_skipping in any::<bool>(), is_finished in any::<bool>(), head in any::<Vec<u8>>(), before in any::<Vec<u8>>(),
        ) -> Position {
            let file = FileId { device, inode };
            Position { file, written, born, offset, is_skipping, is_finished, head: Print::of(&head), before: Print::of(&before) }
        }
    }

    proptest! {
        #[test]
        fn cursor_comes_back_as_it_was(positions in proptest::collection::vec(position(), 0..5)) {
            let bytes = encode(positions.iter().copied());
            prop_assert_eq!(decode(&bytes), Ok(positions));
        }

        #[test]
        fn bytes_cut_or_foreign_never_panic(positions in proptest::collection::vec(position(), 1..5), cut in any::<prop::sample::Index>(), noise in any::<Vec<u8>>()) {
            let bytes = encode(positions.into_iter());
            let cut = 1 + cut.index(bytes.len() - 1);
            prop_assert!(decode(&bytes[..cut]).is_err());
            let _ = decode(&noise);
        }
    }
}
