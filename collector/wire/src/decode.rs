//! Bytes of a body into a frame, trusting none of them.

use std::time::Duration;

use canh_event::{
    ByteReader, DecodeError, Epoch, GapReason, MAX_BATCH_ROWS, MAX_LEDGER_SOURCES, RecordSequence, SourceAccount,
    StreamName, Timestamp, decode_losses,
};

use crate::body::Packed;
use crate::credential::{Credential, Denied, Enrol, Renew};
use crate::frame::{
    Account, Ack, Batch, Bye, ByeReason, Credit, Frame, Gap, Hello, Nack, NackCode, Ping, Place, Pong, StreamMark,
    StreamState, Terms, Welcome,
};
use crate::head::FrameHead;
use crate::kind::FrameKind;
use crate::limits::{MAX_SOFTWARE_BYTES, MAX_STREAMS};
use crate::version::Versions;

/// Reads the body that belongs to `head`.
pub(crate) fn decode_body(head: &FrameHead, body: &[u8]) -> Result<Frame, DecodeError> {
    let mut reader = ByteReader::new(body);
    let reader = &mut reader;
    let frame = match head.kind {
        // The two frames that are read before a version is settled may have more at their end.
        FrameKind::Hello => return decode_hello(reader).map(Frame::Hello),
        FrameKind::Welcome => return decode_welcome(reader).map(Frame::Welcome),
        FrameKind::Batch => return decode_batch(head, reader).map(Frame::Batch),
        FrameKind::Ack => {
            decode_place(reader).map(|(stream, epoch, durable)| Ack { stream, epoch, durable }).map(Frame::Ack)?
        }
        FrameKind::Nack => Frame::Nack(decode_nack(reader)?),
        FrameKind::Credit => Frame::Credit(Credit { window: reader.u64("window")? }),
        FrameKind::Ping => Frame::Ping(Ping { token: reader.u64("ping token")?, clock: decode_time(reader)? }),
        FrameKind::Pong => Frame::Pong(Pong { token: reader.u64("pong token")?, clock: decode_time(reader)? }),
        FrameKind::Gap => Frame::Gap(decode_gap(reader)?),
        FrameKind::Bye => Frame::Bye(Bye { reason: decode_bye_reason(reader)? }),
        FrameKind::Enrol => Frame::Enrol(Enrol::decode(reader)?),
        FrameKind::Credential => Frame::Credential(Credential::decode(reader)?),
        FrameKind::Renew => Frame::Renew(Renew::decode(reader)?),
        FrameKind::Denied => Frame::Denied(Denied::decode(reader)?),
        FrameKind::Account => Frame::Account(decode_account(reader)?),
    };
    reader.clone().finish("end of frame")?;
    Ok(frame)
}

fn decode_time(reader: &mut ByteReader<'_>) -> Result<Timestamp, DecodeError> {
    reader.i64("clock").map(Timestamp::from_nanos)
}

fn decode_span(reader: &mut ByteReader<'_>, what: &'static str) -> Result<Duration, DecodeError> {
    reader.u32(what).map(|millis| Duration::from_millis(u64::from(millis)))
}

fn decode_stream(reader: &mut ByteReader<'_>) -> Result<StreamName, DecodeError> {
    let offset = reader.offset();
    let text = reader.text(63, "stream name")?;
    text.parse().map_err(|_| DecodeError::Invalid { what: "stream name", offset })
}

fn decode_place(reader: &mut ByteReader<'_>) -> Result<(StreamName, Epoch, RecordSequence), DecodeError> {
    let stream = decode_stream(reader)?;
    let epoch = Epoch(reader.u128("epoch")?);
    Ok((stream, epoch, RecordSequence(reader.u64("sequence")?)))
}

fn decode_hello(reader: &mut ByteReader<'_>) -> Result<Hello, DecodeError> {
    let versions = Versions { oldest: reader.u8("oldest version")?, newest: reader.u8("newest version")? };
    let boot = reader.u128("boot id")?;
    let clock = decode_time(reader)?;
    let offset = reader.offset();
    let software = Box::from(reader.text(MAX_SOFTWARE_BYTES, "software")?);
    if str::chars(&software).any(char::is_control) {
        return Err(DecodeError::Invalid { what: "software", offset });
    }
    let capabilities = reader.u32("capabilities")?;
    let count = reader.count(MAX_STREAMS, "stream count")?;
    let mut streams: Vec<StreamState> = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let state = decode_stream_state(reader)?;
        if streams.iter().any(|known| known.stream == state.stream) {
            return Err(DecodeError::Invalid { what: "stream given twice", offset });
        }
        streams.push(state);
    }
    Ok(Hello { versions, boot, clock, software, capabilities, streams })
}

fn decode_stream_state(reader: &mut ByteReader<'_>) -> Result<StreamState, DecodeError> {
    let stream = decode_stream(reader)?;
    let epoch = Epoch(reader.u128("epoch")?);
    let offset = reader.offset();
    let oldest = RecordSequence(reader.u64("oldest sequence")?);
    let last = RecordSequence(reader.u64("last sequence")?);
    // Sequences count from 1, and an empty spool's oldest is the one after its last.
    if oldest.0 == 0 || last.0 == u64::MAX || oldest.0 > last.0 + 1 {
        return Err(DecodeError::Invalid { what: "stream sequences", offset });
    }
    Ok(StreamState { stream, epoch, oldest, last })
}

fn decode_welcome(reader: &mut ByteReader<'_>) -> Result<Welcome, DecodeError> {
    let version = reader.u8("version")?;
    let store = reader.u128("store id")?;
    let clock = decode_time(reader)?;
    let terms = Terms {
        window: reader.u64("window")?,
        max_body_bytes: reader.u32("longest body")?,
        max_raw_bytes: reader.u32("longest raw body")?,
        max_records: reader.u32("most records")?,
        ping_interval: decode_span(reader, "ping interval")?,
        idle_timeout: decode_span(reader, "idle timeout")?,
    };
    let count = reader.count(MAX_STREAMS, "stream count")?;
    let mut marks = Vec::new();
    for _ in 0..count {
        let (stream, epoch, durable) = decode_place(reader)?;
        marks.push(StreamMark { stream, epoch, durable });
    }
    Ok(Welcome { version, store, clock, terms, marks })
}

fn decode_batch(head: &FrameHead, reader: &mut ByteReader<'_>) -> Result<Batch, DecodeError> {
    let (stream, epoch, first) = decode_place(reader)?;
    let offset = reader.offset();
    let count = reader.count(MAX_BATCH_ROWS, "record count")?;
    check_run(first, count as u64, offset)?;
    let offset = reader.offset();
    let body = Packed::from_parts(head.is_zstd, head.raw_bytes, reader.rest().to_vec())
        .map_err(|_| DecodeError::Invalid { what: "packed length", offset })?;
    Ok(Batch { stream, epoch, first, count: u32::try_from(count).unwrap_or(u32::MAX), body })
}

fn decode_nack(reader: &mut ByteReader<'_>) -> Result<Nack, DecodeError> {
    let code = reader.u16("nack code")?;
    let code = NackCode::from_code(code).ok_or(DecodeError::Invalid { what: "nack code", offset: 0 })?;
    let retry_after = decode_span(reader, "retry after")?;
    let offset = reader.offset();
    let place = match reader.u8("nack place")? {
        0 => None,
        1 => Some(decode_place(reader).map(|(stream, epoch, first)| Place { stream, epoch, first })?),
        _ => return Err(DecodeError::Invalid { what: "nack place", offset }),
    };
    Ok(Nack { code, retry_after, place })
}

fn decode_gap(reader: &mut ByteReader<'_>) -> Result<Gap, DecodeError> {
    let (stream, epoch, from) = decode_place(reader)?;
    let offset = reader.offset();
    let count = reader.u64("gap count")?;
    check_run(from, count, offset)?;
    let offset = reader.offset();
    let reason = GapReason::from_code(reader.u8("gap reason")?);
    let reason = reason.ok_or(DecodeError::Invalid { what: "gap reason", offset })?;
    let sources = if reader.rest().is_empty() { Vec::new() } else { decode_losses(reader, count)? };
    Ok(Gap { stream, epoch, from, count, reason, sources })
}

fn decode_account(reader: &mut ByteReader<'_>) -> Result<Account, DecodeError> {
    let (stream, epoch, position) = decode_place(reader)?;
    let offset = reader.offset();
    let spooled = RecordSequence(reader.u64("spooled sequence")?);
    if spooled < position {
        return Err(DecodeError::Invalid { what: "spooled sequence", offset });
    }
    let stated = decode_time(reader)?;
    let offset = reader.offset();
    let is_whole = match reader.u8("whole account")? {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Invalid { what: "whole account", offset }),
    };
    let mut sources: Vec<SourceAccount> = Vec::new();
    for _ in 0..reader.count(MAX_LEDGER_SOURCES, "sources of an account")? {
        let offset = reader.offset();
        let source = SourceAccount::decode(reader)?;
        // In order, so that none stands twice.
        if sources.last().is_some_and(|before| before.source >= source.source) {
            return Err(DecodeError::Invalid { what: "order of sources", offset });
        }
        sources.push(source);
    }
    Ok(Account { stream, epoch, position, spooled, stated, is_whole, sources })
}

fn decode_bye_reason(reader: &mut ByteReader<'_>) -> Result<ByeReason, DecodeError> {
    let reason = ByeReason::from_code(reader.u8("bye reason")?);
    reason.ok_or(DecodeError::Invalid { what: "bye reason", offset: 0 })
}

/// Says that `count` records from `first` on exist: at least one, from 1 on, and one more after.
fn check_run(first: RecordSequence, count: u64, offset: usize) -> Result<(), DecodeError> {
    let is_run = first.0 > 0 && count > 0 && first.0.checked_add(count).is_some();
    if is_run { Ok(()) } else { Err(DecodeError::Invalid { what: "run of sequences", offset }) }
}
