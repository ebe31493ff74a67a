//! Frames into bytes.

use std::time::Duration;

use canh_event::{ByteWriter, Epoch, RecordSequence, StreamName, encode_losses};

use crate::frame::{Account, Batch, Frame, Gap, Hello, Nack, StreamMark, Welcome};
use crate::head::{FrameHead, seal};
use crate::limits::FRAME_HEAD_BYTES;

impl Frame {
    /// Appends the frame as bytes in the given version.
    ///
    /// # Contract
    /// Its texts and lists are within the bounds their types state, or the other end refuses it.
    pub fn encode(&self, version: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let (is_zstd, raw_bytes) = match self {
            Self::Batch(batch) => (batch.body.is_zstd(), batch.body.raw_len()),
            _ => (false, 0),
        };
        let mut body = Vec::new();
        encode_body(self, &mut body);
        out.reserve(FRAME_HEAD_BYTES + body.len());
        FrameHead { version, kind: self.kind(), is_zstd, body_bytes: body.len(), raw_bytes, checksum: 0 }.write(out);
        out.extend_from_slice(&body);
        if let Some(frame) = out.get_mut(start..) {
            seal(frame);
        }
    }
}

fn encode_body(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Hello(hello) => encode_hello(hello, out),
        Frame::Welcome(welcome) => encode_welcome(welcome, out),
        Frame::Batch(batch) => encode_batch(batch, out),
        Frame::Ack(ack) => encode_place(&ack.stream, ack.epoch, ack.durable, out),
        Frame::Nack(nack) => encode_nack(nack, out),
        Frame::Credit(credit) => ByteWriter::new(out).u64(credit.window),
        Frame::Ping(ping) => {
            let mut writer = ByteWriter::new(out);
            writer.u64(ping.token);
            writer.i64(ping.clock.nanos());
        }
        Frame::Pong(pong) => {
            let mut writer = ByteWriter::new(out);
            writer.u64(pong.token);
            writer.i64(pong.clock.nanos());
        }
        Frame::Gap(gap) => encode_gap(gap, out),
        Frame::Bye(bye) => ByteWriter::new(out).u8(bye.reason.code()),
        Frame::Enrol(enrol) => enrol.encode(out),
        Frame::Credential(credential) => credential.encode(out),
        Frame::Renew(renew) => renew.encode(out),
        Frame::Denied(denied) => denied.encode(out),
        Frame::Account(account) => encode_account(account, out),
    }
}

fn encode_place(stream: &StreamName, epoch: Epoch, sequence: RecordSequence, out: &mut Vec<u8>) {
    let mut writer = ByteWriter::new(out);
    writer.text(stream.as_str());
    writer.u128(epoch.0);
    writer.u64(sequence.0);
}

fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    let mut writer = ByteWriter::new(out);
    writer.u8(hello.versions.oldest);
    writer.u8(hello.versions.newest);
    writer.u128(hello.boot);
    writer.i64(hello.clock.nanos());
    writer.text(&hello.software);
    writer.u32(hello.capabilities);
    writer.count(hello.streams.len());
    for state in &hello.streams {
        writer.text(state.stream.as_str());
        writer.u128(state.epoch.0);
        writer.u64(state.oldest.0);
        writer.u64(state.last.0);
    }
}

fn encode_welcome(welcome: &Welcome, out: &mut Vec<u8>) {
    let mut writer = ByteWriter::new(out);
    writer.u8(welcome.version);
    writer.u128(welcome.store);
    writer.i64(welcome.clock.nanos());
    writer.u64(welcome.terms.window);
    writer.u32(welcome.terms.max_body_bytes);
    writer.u32(welcome.terms.max_raw_bytes);
    writer.u32(welcome.terms.max_records);
    writer.u32(millis(welcome.terms.ping_interval));
    writer.u32(millis(welcome.terms.idle_timeout));
    writer.count(welcome.marks.len());
    for StreamMark { stream, epoch, durable } in &welcome.marks {
        encode_place(stream, *epoch, *durable, out);
    }
}

fn encode_batch(batch: &Batch, out: &mut Vec<u8>) {
    out.reserve(batch.body.bytes().len() + 128);
    encode_place(&batch.stream, batch.epoch, batch.first, out);
    let mut writer = ByteWriter::new(out);
    writer.u32(batch.count);
    writer.raw(batch.body.bytes());
}

fn encode_nack(nack: &Nack, out: &mut Vec<u8>) {
    let mut writer = ByteWriter::new(out);
    writer.u16(nack.code.code());
    writer.u32(millis(nack.retry_after));
    writer.u8(u8::from(nack.place.is_some()));
    if let Some(place) = &nack.place {
        encode_place(&place.stream, place.epoch, place.first, out);
    }
}

fn encode_gap(gap: &Gap, out: &mut Vec<u8>) {
    encode_place(&gap.stream, gap.epoch, gap.from, out);
    let mut writer = ByteWriter::new(out);
    writer.u64(gap.count);
    writer.u8(gap.reason.code());
    if !gap.sources.is_empty() {
        encode_losses(&gap.sources, &mut writer);
    }
}

fn encode_account(account: &Account, out: &mut Vec<u8>) {
    encode_place(&account.stream, account.epoch, account.position, out);
    let mut writer = ByteWriter::new(out);
    writer.u64(account.spooled.0);
    writer.i64(account.stated.nanos());
    writer.u8(u8::from(account.is_whole));
    writer.count(account.sources.len());
    account.sources.iter().for_each(|source| source.encode(&mut writer));
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
