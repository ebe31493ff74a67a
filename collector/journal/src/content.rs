//! The bytes of a segment as they were written, whichever form its file has.

use std::io;

use crate::fs::{FsFile, read_full};
use crate::header::Form;
use crate::lsn::Lsn;
use crate::record::Salt;
use crate::unpack::Unpacked;

/// An open segment's bytes.
#[derive(Debug)]
pub(crate) enum Content<H> {
    /// They stand in the file.
    Raw(H),
    /// They are unpacked block by block.
    Packed(Box<Unpacked<H>>),
}

impl<H: FsFile> Content<H> {
    /// Returns the bytes of an open segment whose header has been read.
    pub(crate) fn open(file: H, form: Form, salt: Salt) -> io::Result<Self> {
        match form {
            Form::Raw => Ok(Self::Raw(file)),
            Form::Packed => Ok(Self::Packed(Box::new(Unpacked::open(file, salt)?))),
        }
    }

    /// Reads some bytes at an offset; 0 means the end.
    pub(crate) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Raw(file) => read_full(file, buffer, offset),
            Self::Packed(unpacked) => unpacked.read_at(buffer, offset),
        }
    }

    /// Returns how many bytes there are.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Raw(file) => file.len(),
            Self::Packed(unpacked) => Ok(unpacked.len()),
        }
    }

    /// Returns where to begin reading to find a record, if that is known without reading: the offset
    /// and the place of a record that does not come after it.
    pub(crate) fn before(&self, lsn: Lsn) -> Option<(u64, Lsn)> {
        match self {
            Self::Raw(_) => None,
            Self::Packed(unpacked) => unpacked.before(lsn),
        }
    }
}
