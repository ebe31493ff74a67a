//! Little-endian bytes, written without surprises and read without trust.
//!
//! Comes in: bytes of disk or wire. Goes out: numbers, slices and checked text. A reader never
//! reads past its slice and never allocates from a length it has not compared with a bound.

/// Bytes that are not what their format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{what} is cut short at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where the value begins, in bytes from the start of the message.
        offset: usize,
    },
    /// A number is past its bound.
    #[error("{what} is {got}, limit is {limit}")]
    OverLimit {
        /// What the number counts.
        what: &'static str,
        /// What the bytes say.
        got: u64,
        /// The bound.
        limit: u64,
    },
    /// A value does not fit its format.
    #[error("{what} is not valid at byte {offset}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Where the value begins, in bytes from the start of the message.
        offset: usize,
    },
    /// The message is of a version this reader does not know.
    #[error("{what} has version {got}, this release reads {known}")]
    Version {
        /// What the message is.
        what: &'static str,
        /// The version in the bytes.
        got: u8,
        /// The newest version known.
        known: u8,
    },
}

/// Reads little-endian values from a slice.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

/// Appends little-endian values to a vector.
#[derive(Debug)]
pub struct ByteWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ByteReader<'a> {
    /// Returns a reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Returns how many bytes have been read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeError::Truncated { what, offset: self.offset };
        let end = self.offset.checked_add(count).ok_or_else(|| truncated.clone())?;
        let slice = self.bytes.get(self.offset..end).ok_or(truncated)?;
        self.offset = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let offset = self.offset;
        let slice = self.take(N, what)?;
        <[u8; N]>::try_from(slice).map_err(|_| DecodeError::Truncated { what, offset })
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; so for every reader below.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// Reads two bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads eight bytes as a signed number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_le_bytes)
    }

    /// Reads sixteen bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u128(&mut self, what: &'static str) -> Result<u128, DecodeError> {
        self.array(what).map(u128::from_le_bytes)
    }

    /// Reads a `u32` that counts something and must not exceed `limit`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::OverLimit`].
    pub fn count(&mut self, limit: usize, what: &'static str) -> Result<usize, DecodeError> {
        let got = self.u32(what)?;
        let over = DecodeError::OverLimit { what, got: u64::from(got), limit: limit as u64 };
        usize::try_from(got).ok().filter(|count| *count <= limit).ok_or(over)
    }

    /// Reads a text of at most `limit` bytes: its length as a `u32`, then UTF-8.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::OverLimit`], [`DecodeError::Invalid`].
    pub fn text(&mut self, limit: usize, what: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.count(limit, what)?;
        let offset = self.offset;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { what, offset })
    }

    /// Says that nothing may follow.
    ///
    /// # Errors
    /// [`DecodeError::Invalid`] if bytes are left.
    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest().is_empty() { Ok(()) } else { Err(DecodeError::Invalid { what, offset: self.offset }) }
    }
}

impl<'a> ByteWriter<'a> {
    /// Returns a writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends eight bytes of a signed number.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends sixteen bytes.
    pub fn u128(&mut self, value: u128) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends a length or a count.
    ///
    /// # Contract
    /// `count` fits a `u32`: every bound of this crate does.
    pub fn count(&mut self, count: usize) {
        debug_assert!(u32::try_from(count).is_ok(), "counts are bounded far below 2^32");
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Appends a text: its length as a `u32`, then its bytes.
    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }
}
