//! An enrolment token: what a host needs once, to become an agent. As text, to be copied.
//!
//! ```text
//! canh_ + base32( version u8 │ id u64 │ secret 16 │ SHA-256 of the CA's certificate 32 │ CRC-32C u32 )
//! ```
//!
//! The hash lets the host know the collector before it has any certificate; the id and the secret let
//! the collector know the token. Base32 (RFC 4648 section 6, lower case, no padding) survives being
//! read aloud and is selected by a double click; the CRC tells a slip of the hand from a wrong token.

use std::fmt;
use std::str::FromStr;

use canh_event::{ByteReader, ByteWriter, DecodeError};

use crate::fingerprint::Fingerprint;

/// What every token begins with.
const PREFIX: &str = "canh_";
const VERSION: u8 = 1;
const BODY_BYTES: usize = 1 + 8 + SECRET_BYTES + 32;
const TOKEN_BYTES: usize = BODY_BYTES + 4;
/// Digits of base32 for so many bytes.
const TEXT_BYTES: usize = (TOKEN_BYTES * 8).div_ceil(5);
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Bytes of a token's secret: 128 bits that nobody guesses.
pub const SECRET_BYTES: usize = 16;

/// Which token it is; no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

/// What proves the possession of a token. Never shown but inside a token's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET_BYTES]);

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolToken {
    /// Which one.
    pub id: TokenId,
    /// Its secret.
    pub secret: Secret,
    /// The certificate of the CA that the collector's own certificate is of.
    pub authority: Fingerprint,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not begin like one, or has the wrong length or digits.
    #[error("a token begins with canh_ and has {} letters and digits after it, this text does not", TEXT_BYTES)]
    Shape,
    /// It has the shape of one, and a digit is wrong.
    #[error("a letter or digit of the token is wrong: copy it again")]
    Checksum,
    /// It is of a release we do not know.
    #[error("the token has version {got}, this release reads version {VERSION}")]
    Version {
        /// Its version.
        got: u8,
    },
}

impl Secret {
    /// Returns the secret of these bytes; they must be random.
    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// Returns what the collector keeps of it. A hash without salt or rounds is enough: nobody can
    /// try 2^128 of them.
    pub fn hash(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.take(SECRET_BYTES, "token secret")?;
        Ok(Self(bytes.first_chunk().copied().unwrap_or_default()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() != 16 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(TokenError::Shape);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| TokenError::Shape)
    }
}

impl EnrolToken {
    /// Returns the token as it is handed out. Whoever has this text can use it.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        let mut writer = ByteWriter::new(&mut bytes);
        writer.u8(VERSION);
        writer.u64(self.id.0);
        writer.raw(self.secret.bytes());
        writer.raw(self.authority.bytes());
        let crc = crc32c::crc32c(&bytes);
        ByteWriter::new(&mut bytes).u32(crc);
        let mut text = String::from(PREFIX);
        text.extend(digits_of(&bytes));
        text
    }
}

impl FromStr for EnrolToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == TEXT_BYTES).ok_or(TokenError::Shape)?;
        let bytes = bytes_of(digits).ok_or(TokenError::Shape)?;
        let (body, crc) = bytes.split_at_checked(BODY_BYTES).ok_or(TokenError::Shape)?;
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(TokenError::Checksum);
        }
        read(body).map_err(|_| TokenError::Shape)?
    }
}

fn read(body: &[u8]) -> Result<Result<EnrolToken, TokenError>, DecodeError> {
    let mut reader = ByteReader::new(body);
    let version = reader.u8("token version")?;
    if version != VERSION {
        return Ok(Err(TokenError::Version { got: version }));
    }
    let id = TokenId(reader.u64("token id")?);
    let secret = Secret::read(&mut reader)?;
    Ok(Ok(EnrolToken { id, secret, authority: Fingerprint::read(&mut reader, "token authority")? }))
}

fn digits_of(bytes: &[u8]) -> impl Iterator<Item = char> {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| usize::from(*byte >> (7 - at % 8) & 1));
    (0..TEXT_BYTES).map(move |place| {
        let index = (0..5).fold(0, |sum, offset| sum << 1 | bit(place * 5 + offset));
        ALPHABET.get(index).copied().map_or('a', char::from)
    })
}

/// Returns the bytes; nothing if a character is no digit or a bit past the last byte is set.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(TOKEN_BYTES), 0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
        held &= (1 << bits) - 1;
    }
    (held == 0 && bytes.len() == TOKEN_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> EnrolToken {
        let secret = Secret::from_bytes([7; SECRET_BYTES]);
        EnrolToken { id: TokenId(0xfeed), secret, authority: Fingerprint::of(b"ca") }
    }

    #[test]
    fn text_and_back() {
        let text = token().to_text();
        assert_eq!(text.len(), PREFIX.len() + TEXT_BYTES);
        assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{text}");
        assert_eq!(text.parse(), Ok(token()));
    }

    #[test]
    fn a_slip_of_the_hand_is_told_from_another_text() {
        let text = token().to_text();
        for at in PREFIX.len()..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(wrong.parse::<EnrolToken>().is_err(), "{wrong}");
        }
        for wrong in
            ["", "canh_", &text[5..], &text.to_uppercase(), &format!("{text}a"), &text.replace("canh_", "canh-")]
        {
            assert_eq!(wrong.parse::<EnrolToken>(), Err(TokenError::Shape), "{wrong}");
        }
    }

    #[test]
    fn the_secret_is_never_shown() {
        assert_eq!(format!("{:?}", token().secret), "Secret(..)");
        assert_eq!(token().id.to_string().parse(), Ok(token().id));
        assert!("FEED".parse::<TokenId>().is_err() && "../../../etc/pass".parse::<TokenId>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_is_its_own(text in "(canh_)?[a-z2-7é]{0,120}") {
            if let Ok(token) = text.parse::<EnrolToken>() {
                prop_assert_eq!(token.to_text(), text);
            }
        }

        #[test]
        fn every_token_comes_back(id: u64, secret: [u8; SECRET_BYTES], hash: [u8; 32]) {
            let (id, secret) = (TokenId(id), Secret::from_bytes(secret));
            let token = EnrolToken { id, secret, authority: Fingerprint::from_bytes(hash) };
            prop_assert_eq!(token.to_text().parse(), Ok(token));
        }
    }
}
