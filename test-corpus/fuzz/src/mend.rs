//! Checksums that fit: of frames, of a journal's segments and records, and of two-slot files.
//!
//! The formats are those of `canh_wire::FrameHead` and of `header.rs`, `record.rs`, `packed.rs` and
//! `slots.rs` of `canh-journal`. If one of them changes, the fuzzer gets no further than the checksum, and nothing
//! breaks; the seeds are made by the crates themselves and do get further.

use canh_wire::FRAME_HEAD_BYTES;
use crc32c::{crc32c, crc32c_append};

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;

const FRAME_CRC_AT: usize = 16;
const RECORD_HEADER_BYTES: usize = 24;
const BLOCK_HEAD_BYTES: usize = 24;
const SEAL_BYTES: usize = 48;

/// Makes the checksum of every frame fit, one after another as their headers say.
pub fn mend_frames(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(head) = rest.first_chunk::<FRAME_HEAD_BYTES>() {
        let total = FRAME_HEAD_BYTES.saturating_add(length_at(head, 8));
        if total > rest.len() {
            return;
        }
        let (frame, after) = rest.split_at_mut(total);
        frame[FRAME_CRC_AT..FRAME_CRC_AT + 4].fill(0);
        let crc = crc32c(frame);
        frame[FRAME_CRC_AT..FRAME_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
}

/// Returns the header of a journal's first segment in a version of the format.
pub fn segment_header(version: u8, uuid: [u8; 16], first: u64) -> Vec<u8> {
    let mut fields = vec![version, 0, 0, 0];
    fields.extend_from_slice(&uuid);
    fields.extend_from_slice(&first.to_le_bytes());
    fields.resize(SEGMENT_HEADER_BYTES - 12, 0);
    let mut header = b"CANHJRNL".to_vec();
    header.extend_from_slice(&crc32c(&fields).to_le_bytes());
    header.extend_from_slice(&fields);
    header
}

/// Makes the checksum of every record fit, one after another as their lengths say, up to the room that
/// is reserved and was not written.
pub fn mend_records(uuid: [u8; 16], bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<RECORD_HEADER_BYTES>() {
        let total = RECORD_HEADER_BYTES.saturating_add(length_at(header, 0));
        if total > rest.len() || *header == [0; RECORD_HEADER_BYTES] {
            return;
        }
        let (record, after) = rest.split_at_mut(total);
        let crc = crc32c_append(crc32c_append(crc32c(&uuid), &record[..4]), &record[8..]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
}

/// Makes the checksums of a compressed segment behind its header fit: those of its blocks, one after
/// another as their lengths say, and that of the seal at its end.
pub fn mend_packed(uuid: [u8; 16], bytes: &mut [u8]) {
    let salt = crc32c(&uuid);
    let mut rest = &mut *bytes;
    while let Some(head) = rest.first_chunk::<BLOCK_HEAD_BYTES>() {
        let total = BLOCK_HEAD_BYTES.saturating_add(length_at(head, 8));
        if total > rest.len() || !head.starts_with(b"CBLK") {
            break;
        }
        let (block, after) = rest.split_at_mut(total);
        let crc = crc32c_append(salt, &block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
    let Some(seal_at) = bytes.len().checked_sub(SEAL_BYTES) else { return };
    let count = length_at(&bytes[seal_at..], 12);
    let Some(index_at) = count.checked_mul(16).and_then(|index| seal_at.checked_sub(index)) else { return };
    let crc = crc32c_append(crc32c_append(salt, &bytes[index_at..seal_at]), &bytes[seal_at + 12..]);
    bytes[seal_at..seal_at + 8].copy_from_slice(b"CANHSEAL");
    bytes[seal_at + 8..seal_at + 12].copy_from_slice(&crc.to_le_bytes());
}

/// Returns a slot of a two-slot file.
pub fn slot(generation: u64, value: &[u8]) -> Vec<u8> {
    let crc = crc32c_append(crc32c(&generation.to_le_bytes()), value);
    let mut bytes = b"CSL1".to_vec();
    bytes.extend_from_slice(&u32::try_from(value.len()).expect("a short value").to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

fn length_at(head: &[u8], at: usize) -> usize {
    let bytes = <[u8; 4]>::try_from(&head[at..at + 4]).expect("within the header");
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}
