//! The frames by which an agent gets its certificate: with a token at first, and with the
//! certificate it has from then on.
//!
//! ```text
//!  first contact   agent ── ENROL ──► collector      TLS without a client certificate, ALPN canh-enrol/1
//!                        ◄─ CREDENTIAL or DENIED ─   and nothing else
//!
//!  open session    agent ── RENEW ──► collector      beside batches and acknowledgements
//!                        ◄─ CREDENTIAL or DENIED ─   the session goes on
//! ```
//!
//! What a certificate says is the collector's decision: of a request only its public key is taken.

use std::time::Duration;

use canh_event::{AgencyId, AgentId, ByteReader, ByteWriter, DecodeError};

use crate::token::{Secret, TokenId};

/// Longest certificate request, as DER: one for a P-256 key has about 250 bytes.
pub const MAX_REQUEST_BYTES: usize = 2 << 10;
/// Longest certificate, as DER.
pub const MAX_CERTIFICATE_BYTES: usize = 3 << 10;
/// Most authorities that are trusted at a time: the one in use, the one before, and one to spare.
pub const MAX_AUTHORITIES: usize = 4;
/// Longest name of an agent or agency.
const MAX_NAME_BYTES: usize = 63;

/// Asks for a first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrol {
    /// Which token is used.
    pub token: TokenId,
    /// The token's secret.
    pub secret: Secret,
    /// The name the host would like, for a token that does not say one.
    pub name: Option<AgentId>,
    /// The certificate request (PKCS#10, RFC 2986) as DER; only its public key counts.
    pub request: Box<[u8]>,
}

/// Asks for the next certificate, on a session that the present one has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// As in [`Enrol`].
    pub request: Box<[u8]>,
}

/// A certificate and what to trust from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The agent's name, as the certificate has it.
    pub agent: AgentId,
    /// Its agency.
    pub agency: AgencyId,
    /// The certificate, as DER.
    pub certificate: Box<[u8]>,
    /// The CAs a collector's certificate may be of, as DER; at least one, at most four.
    pub authorities: Vec<Box<[u8]>>,
}

/// No certificate. At first contact it is the collector's last frame; a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub code: DenialCode,
    /// How long to wait before asking again; zero if asking again is of no use.
    pub retry_after: Duration,
}

/// Why there is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DenialCode {
    /// No such token, or not its secret.
    TokenUnknown,
    /// The token was used before.
    TokenUsed,
    /// The token's time is over.
    TokenExpired,
    /// The token was called back.
    TokenRevoked,
    /// An agent of that name is enrolled, and the token does not replace it.
    NameTaken,
    /// The token is for an agent of another name.
    NameOther,
    /// Neither the token nor the host says a name.
    NameMissing,
    /// The request is no certificate request for a key we take.
    Request,
    /// The collector cannot issue certificates.
    Unavailable,
    /// Too many ask at a time.
    Busy,
    /// The certificate in use is not the newest one of its agent.
    Superseded,
    /// The certificate in use is not accepted any more.
    Revoked,
}

impl DenialCode {
    /// Every code, in order of its number, which counts from 1.
    pub const ALL: [Self; 12] = [
        Self::TokenUnknown,
        Self::TokenUsed,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::NameTaken,
        Self::NameOther,
        Self::NameMissing,
        Self::Request,
        Self::Unavailable,
        Self::Busy,
        Self::Superseded,
        Self::Revoked,
    ];

    fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|code| *code == self).unwrap_or_default();
        u8::try_from(place + 1).unwrap_or_default()
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Returns its one word, for metric labels and texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenUnknown => "token_unknown",
            Self::TokenUsed => "token_used",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::NameTaken => "name_taken",
            Self::NameOther => "name_other",
            Self::NameMissing => "name_missing",
            Self::Request => "request",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }
}

impl Enrol {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.u64(self.token.0);
        writer.raw(self.secret.bytes());
        writer.text(self.name.as_ref().map_or("", AgentId::as_str));
        write_bytes(&mut writer, &self.request);
    }

    pub(crate) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let token = TokenId(reader.u64("token id")?);
        let secret = Secret::read(reader)?;
        let offset = reader.offset();
        let name = match reader.text(MAX_NAME_BYTES, "agent name")? {
            "" => None,
            text => Some(text.parse().map_err(|_| DecodeError::Invalid { what: "agent name", offset })?),
        };
        Ok(Self { token, secret, name, request: read_bytes(reader, MAX_REQUEST_BYTES, "certificate request")? })
    }
}

impl Renew {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&mut ByteWriter::new(out), &self.request);
    }

    pub(crate) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { request: read_bytes(reader, MAX_REQUEST_BYTES, "certificate request")? })
    }
}

impl Credential {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.text(self.agent.as_str());
        writer.text(self.agency.as_str());
        write_bytes(&mut writer, &self.certificate);
        writer.count(self.authorities.len());
        self.authorities.iter().for_each(|authority| write_bytes(&mut writer, authority));
    }

    pub(crate) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let offset = reader.offset();
        let agent = reader.text(MAX_NAME_BYTES, "agent name")?;
        let agent = agent.parse().map_err(|_| DecodeError::Invalid { what: "agent name", offset })?;
        let offset = reader.offset();
        let agency = reader.text(MAX_NAME_BYTES, "agency name")?;
        let agency = agency.parse().map_err(|_| DecodeError::Invalid { what: "agency name", offset })?;
        let certificate = read_bytes(reader, MAX_CERTIFICATE_BYTES, "certificate")?;
        let offset = reader.offset();
        let count = reader.count(MAX_AUTHORITIES, "authority count")?;
        if count == 0 {
            return Err(DecodeError::Invalid { what: "authority count", offset });
        }
        let mut authorities = Vec::new();
        for _ in 0..count {
            authorities.push(read_bytes(reader, MAX_CERTIFICATE_BYTES, "authority")?);
        }
        Ok(Self { agent, agency, certificate, authorities })
    }
}

impl Denied {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = ByteWriter::new(out);
        writer.u8(self.code.code());
        writer.u32(u32::try_from(self.retry_after.as_millis()).unwrap_or(u32::MAX));
    }

    pub(crate) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let code = DenialCode::from_code(reader.u8("denial code")?);
        let code = code.ok_or(DecodeError::Invalid { what: "denial code", offset: 0 })?;
        Ok(Self { code, retry_after: Duration::from_millis(u64::from(reader.u32("retry after")?)) })
    }
}

fn write_bytes(writer: &mut ByteWriter<'_>, bytes: &[u8]) {
    writer.count(bytes.len());
    writer.raw(bytes);
}

fn read_bytes(reader: &mut ByteReader<'_>, limit: usize, what: &'static str) -> Result<Box<[u8]>, DecodeError> {
    let count = reader.count(limit, what)?;
    reader.take(count, what).map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::limits::{CONTROL_LIMIT, FRAME_HEAD_BYTES};

    #[test]
    fn the_longest_credential_fits_its_frame() {
        let name = "a".repeat(MAX_NAME_BYTES);
        let longest = vec![0; MAX_CERTIFICATE_BYTES].into_boxed_slice();
        let (agent, agency) = (name.parse().unwrap(), name.parse().unwrap());
        let authorities = vec![longest.clone(); MAX_AUTHORITIES];
        let credential = Credential { agent, agency, certificate: longest, authorities };
        let mut bytes = Vec::new();
        Frame::Credential(credential).encode(1, &mut bytes);
        assert!(bytes.len() <= FRAME_HEAD_BYTES + CONTROL_LIMIT, "{}", bytes.len());
    }

    #[test]
    fn numbers_of_denials_come_back() {
        for code in DenialCode::ALL {
            assert_eq!(DenialCode::from_code(code.code()), Some(code));
        }
        assert_eq!((DenialCode::from_code(0), DenialCode::from_code(13)), (None, None));
    }
}
