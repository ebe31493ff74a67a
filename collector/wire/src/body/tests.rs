use canh_event::{MAX_RECORD_BYTES, Source, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::limits::SAFE_BATCH_BYTES;

fn batch_of(records: &[Vec<u8>]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let source = Source {
        name: "/var/log/auth.log".parse().unwrap(),
        host: "web-01".into(),
        format: "auto".parse().unwrap(),
        utc_offset_secs: 0,
    };
    let id = batch.source(&source).unwrap();
    for record in records {
        batch.push(id, Timestamp::EPOCH, record).unwrap();
    }
    batch
}

/// Bytes that do not pack (xorshift64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

proptest! {
    #[test]
    fn every_batch_comes_back_as_it_was(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..40),
    ) {
        let batch = batch_of(&records);
        let packed = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&batch).unwrap();
        let count = u32::try_from(records.len()).unwrap();
        prop_assert_eq!(Unpacker::try_new().unwrap().unpack(&packed, count).unwrap(), batch);
    }

    #[test]
    fn any_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300), raw_len in 0..5_000_usize, like_zstd in any::<bool>(),
    ) {
        let mut input = if like_zstd { vec![0x28, 0xB5, 0x2F, 0xFD] } else { Vec::new() };
        input.extend(&bytes);
        let packed = Packed::from_parts(true, raw_len, input).unwrap();
        prop_assert!(Unpacker::try_new().unwrap().unpack(&packed, 1).is_err());
    }
}

#[test]
fn the_longest_record_fits_even_if_it_does_not_pack() {
    let batch = batch_of(&[noise(MAX_RECORD_BYTES)]);
    let packed = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&batch).unwrap();
    assert!(!packed.is_zstd());
    assert!(Unpacker::try_new().unwrap().unpack(&packed, 1).is_ok());
}

#[test]
fn a_safe_batch_always_fits() {
    let mut packer = Packer::try_new(DEFAULT_LEVEL).unwrap();
    assert!(packer.pack_encoded(&noise(SAFE_BATCH_BYTES)).is_ok());
    assert!(packer.pack_encoded(&vec![0; SAFE_BATCH_BYTES]).is_ok());
    assert!(matches!(packer.pack_encoded(&noise(2 << 20)), Err(PackError::PackedLength { .. })));
    assert!(matches!(packer.pack_encoded(&vec![0; 8 << 20]), Err(PackError::Ratio { .. })));
    assert!(matches!(packer.pack_encoded(&vec![0; (8 << 20) + 1]), Err(PackError::RawLength { .. })));
}

#[test]
fn a_length_that_is_not_what_zstd_states_is_refused_before_unpacking() {
    let packed = zstd::bulk::compress(&[7; 4_000], 3).unwrap();
    let lie = Packed::from_parts(true, 100, packed).unwrap();
    let refused = Unpacker::try_new().unwrap().unpack(&lie, 1);
    assert!(matches!(refused, Err(UnpackError::Length { announced: 100, stated: Some(4_000) })));
}

#[test]
fn a_second_zstd_frame_behind_the_first_is_refused() {
    let mut packed = zstd::bulk::compress(&[7; 4_000], 3).unwrap();
    packed.extend(zstd::bulk::compress(&[7; 4_000], 3).unwrap());
    let twice = Packed::from_parts(true, 4_000, packed).unwrap();
    let mut unpacker = Unpacker::try_new().unwrap();
    unpacker.buffer = Vec::with_capacity(10_000);
    let refused = unpacker.unpack(&twice, 1);
    assert!(matches!(refused, Err(UnpackError::Zstd { .. } | UnpackError::Length { .. })), "{refused:?}");
}

#[test]
fn a_window_past_the_bound_is_refused() {
    use std::io::Write;
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(24)).unwrap();
    encoder.write_all(&[7; 4_000]).unwrap();
    let packed = Packed::from_parts(true, 4_000, encoder.finish().unwrap()).unwrap();
    let refused = Unpacker::try_new().unwrap().unpack(&packed, 1);
    assert!(matches!(refused, Err(UnpackError::Window { .. })), "{refused:?}");
}

#[test]
fn another_count_than_announced_is_refused() {
    let packed = Packer::try_new(DEFAULT_LEVEL).unwrap().pack(&batch_of(&[b"a".to_vec(), b"b".to_vec()])).unwrap();
    let refused = Unpacker::try_new().unwrap().unpack(&packed, 3);
    assert!(matches!(refused, Err(UnpackError::Count { announced: 3, got: 2 })));
}

#[test]
fn parts_that_do_not_fit_each_other_are_refused() {
    assert!(Packed::from_parts(false, 4, vec![0; 5]).is_err());
    assert!(Packed::from_parts(true, MAX_RAW_BODY_BYTES + 1, vec![0; 5]).is_err());
    assert!(Packed::from_parts(true, MAX_RAW_BODY_BYTES, vec![0; 5]).is_err());
}
