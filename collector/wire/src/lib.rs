//! What agents and the collector say to each other: frames, the order they may come in, and the
//! TLS they come through. Both ends; no sockets, no clock.
//!
//! # Frames
//!
//! ```text
//!  0        4    5    6       8        12        16        20         24
//!  ┌────────┬────┬────┬───────┬────────┬─────────┬─────────┬──────────┬──── ─ ─
//!  │ "CANH" │ver │kind│ flags │  body  │   raw   │ CRC-32C │ reserved │ body
//!  │        │ u8 │ u8 │  u16  │len u32 │ len u32 │   u32   │ u32 = 0  │
//!  └────────┴────┴────┴───────┴────────┴─────────┴─────────┴──────────┴──── ─ ─
//! ```
//!
//! Numbers are little-endian. The CRC covers the header (with the CRC's own field as zeros) and
//! the body. Only a BATCH has a raw length: that of its body once unpacked, so a reader can set
//! memory aside, or refuse, before it unpacks a byte.
//!
//! | kind | from | carries |
//! |---|---|---|
//! | HELLO | agent | versions, boot id, clock, and for each stream its epoch, oldest and last sequence |
//! | WELCOME | collector | the version, the store's id, limits, the window, and for each stream the durable sequence |
//! | BATCH | agent | stream, epoch, first sequence, count, and a `RecordBatch`, packed |
//! | GAP | agent | stream, epoch, from, count, reason, sources: records that will never come |
//! | ACK | collector | stream, epoch, durable sequence: everything up to it is on disk |
//! | NACK | collector | code, when to come back, and which batch it is about; ends the connection |
//! | CREDIT | collector | the new window |
//! | PING, PONG | both | a token and the sender's clock |
//! | BYE | both | a reason; the last frame its sender sends |
//! | ENROL | host | a token's id and secret, the name it would like, a certificate request |
//! | RENEW | agent | a certificate request |
//! | CREDENTIAL | collector | a certificate, and the CAs to trust from now on |
//! | DENIED | collector | why there is no certificate, and when to ask again |
//! | ACCOUNT | agent | stream, epoch, position, and for each source what was produced and lost up to there |
//!
//! # A connection
//!
//! ```text
//!  agent                                         collector
//!  AgentSession<Greeting>  ── HELLO ───────────► CollectorSession<Greeting>
//!        │                                              │ the streams' marks are looked up
//!        │                                       CollectorSession<Welcoming>
//!        ▼                ◄─────────── WELCOME ──       ▼
//!  AgentSession<Open>      ── GAP? BATCH BATCH ► CollectorSession<Open>
//!        │                ◄───────────── ACK ────       │ after fdatasync, cumulative
//!        ▼                                              ▼
//!  AgentSession<Leaving>   ── BYE ─────────────► acknowledges what is under way, says BYE
//! ```
//!
//! Rules both state machines hold:
//!
//! * Sequences count records, from 1, without holes. A batch must begin right after what came
//!   before it in its epoch; a hole without a GAP is refused, so no loss is silent. A batch that
//!   was received before is a duplicate, one that overlaps is trimmed.
//! * At most the *window* of raw bytes is under way unacknowledged; with nothing under way one
//!   batch of any size may be sent. A CREDIT replaces the window.
//! * A NACK ends the connection. What to do next is in its code: come back later, skip the batch
//!   and say so by a GAP, or stop until somebody comes.
//! * A change of epoch needs a new HELLO.
//! * An ACCOUNT applies to exactly what was sent before it, so the other end can hold its own count
//!   against it. It takes no place in the stream, no window, and no acknowledgement.
//! * The agent's name is in its certificate ([`tls::identity`]), never in a frame.
//! * ENROL comes by a connection of its own ([`first_contact`]); the other end of it never becomes a
//!   session.
//!
//! # Versions
//!
//! Releases speak the last two versions. The collector picks the newest that both ends speak, and
//! from the WELCOME on every frame is in it. The header and the frames that may come before, HELLO,
//! WELCOME, NACK and BYE, are laid out the same in every version; HELLO and WELCOME may have bytes
//! at their end that an older reader does not know and skips.
//!
//! # Example
//!
//! ```
//! use canh_event::{Epoch, RecordBatch, RecordSequence, Timestamp};
//! use canh_wire::{
//!     AgentEvent, AgentSession, Batch, CollectorEvent, CollectorSession, DEFAULT_LEVEL, Hello, Packer, SPOKEN,
//!     StreamState, Terms, Unpacker,
//! };
//! # use std::time::Duration;
//! # let (window, max_body_bytes, max_raw_bytes, max_records) = (4 << 20, 1 << 20, 8 << 20, 4_096);
//! # let (ping_interval, idle_timeout) = (Duration::from_secs(30), Duration::from_secs(90));
//! # let terms = Terms { window, max_body_bytes, max_raw_bytes, max_records, ping_interval, idle_timeout };
//! # let (versions, boot, clock) = (SPOKEN, 1, Timestamp::EPOCH);
//! # let mut records = RecordBatch::new();
//! # let (name, host, format) = ("journald".parse()?, Box::from("web-01"), "auto".parse()?);
//! # let id = records.source(&canh_event::Source { name, host, format, utc_offset_secs: 0 })?;
//! # records.push(id, clock, b"a line")?;
//! // The agent has one record spooled.
//! let (stream, epoch, first): (canh_event::StreamName, _, _) = ("log".parse()?, Epoch(7), RecordSequence(1));
//! let streams = vec![StreamState { stream: stream.clone(), epoch, oldest: first, last: first }];
//! let software = Box::from("example 1");
//! let greeting = AgentSession::new(Hello { versions, boot, clock, software, capabilities: 0, streams });
//!
//! // The collector has none of it yet.
//! let welcoming = CollectorSession::new(SPOKEN).receive(greeting.hello())?;
//! let (mut collector, welcome) = welcoming.welcome(9, clock, terms, &[RecordSequence(0)]);
//! let mut agent = greeting.receive(welcome)?.session;
//!
//! let body = Packer::try_new(DEFAULT_LEVEL)?.pack(&records)?;
//! let frame = agent.send_batch(Batch { stream: stream.clone(), epoch, first, count: 1, body })?;
//! let CollectorEvent::Batch(accepted) = collector.receive(frame, clock)? else { unreachable!() };
//! let batch = accepted.batch;
//! assert_eq!(Unpacker::try_new()?.unpack(&batch.body, batch.count)?, records);
//!
//! // Once it is on disk:
//! let ack = collector.acknowledge(&stream, batch.last()).ok_or("it is new")?;
//! assert!(matches!(agent.receive(ack, clock)?, AgentEvent::Acknowledged(_)));
//! assert!(agent.is_idle());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod body;
mod certificate;
mod collector;
mod credential;
mod decode;
mod encode;
mod fingerprint;
pub mod first_contact;
mod frame;
#[cfg(test)]
mod golden;
mod head;
mod kind;
mod limits;
mod reader;
pub mod tls;
mod token;
mod version;
mod zstd_frame;

pub use agent::{AgentEvent, AgentSession, AgentSessionError, Greeting, Leaving, Open, Resume, SendError, Welcomed};
pub use body::{DEFAULT_LEVEL, PackError, Packed, Packer, UnpackError, Unpacker};
pub use canh_event::GapReason;
pub use certificate::{CertificateError, CertificateFacts, certificate_pem, certificates_of};
pub use collector::{
    Accepted, CollectorEvent, CollectorSession, CollectorSessionError, Receiving, WaitingForHello, Welcoming,
};
pub use credential::{
    Credential, DenialCode, Denied, Enrol, MAX_AUTHORITIES, MAX_CERTIFICATE_BYTES, MAX_REQUEST_BYTES, Renew,
};
pub use fingerprint::{FINGERPRINT_BYTES, Fingerprint, FingerprintError};
pub use frame::{
    Account, Ack, Advice, Batch, Bye, ByeReason, Credit, Frame, Gap, Hello, Nack, NackCode, Ping, Place, Pong,
    StreamMark, StreamState, Terms, Welcome,
};
pub use head::{FrameError, FrameHead};
pub use kind::FrameKind;
pub use limits::{
    CERTIFICATE_SKEW, CONTROL_LIMIT, FRAME_HEAD_BYTES, FRAME_TIMEOUT, HANDSHAKE_TIMEOUT, HELLO_TIMEOUT, IDLE_TIMEOUT,
    LEDGER_LIMIT, MAX_BODY_BYTES, MAX_RATIO, MAX_RAW_BODY_BYTES, MAX_STREAMS, PING_INTERVAL, SAFE_BATCH_BYTES,
    WINDOW_BYTES, frame_deadline,
};
pub use reader::FrameReader;
pub use token::{EnrolToken, SECRET_BYTES, Secret, TokenError, TokenId};
pub use version::{SPOKEN, Versions};
