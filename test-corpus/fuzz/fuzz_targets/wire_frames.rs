//! Bytes from a connection, in pieces of any size: the frames are the same as in one piece.
//!
//! ```text
//! odd: checksums are made to fit │ size of the pieces u8 │ bytes
//! ```

#![no_main]

use canh_fuzz::mend_frames;
use canh_wire::{Frame, FrameError, FrameReader, SPOKEN, Unpacker};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, size], rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut stream = rest.to_vec();
    if mode % 2 == 1 {
        mend_frames(&mut stream);
    }
    let mut whole = FrameReader::new();
    whole.feed(&stream);
    let expected = drain(&mut whole);

    let (mut fed, mut filled) = (FrameReader::new(), FrameReader::new());
    let (mut from_fed, mut from_filled) = ((Vec::new(), None), (Vec::new(), None));
    for piece in stream.chunks(usize::from(size).max(1)) {
        fed.feed(piece);
        join(&mut from_fed, drain(&mut fed));
        let mut piece = piece;
        while !piece.is_empty() {
            let room = filled.room();
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
            filled.filled(count);
            piece = &piece[count..];
            join(&mut from_filled, drain(&mut filled));
        }
    }
    assert_eq!(from_fed, expected);
    assert_eq!(from_filled, expected);
    expected.0.iter().for_each(check_frame);
});

type Read = (Vec<Frame>, Option<FrameError>);

fn drain(reader: &mut FrameReader) -> Read {
    let mut frames = Vec::new();
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn join(sum: &mut Read, next: Read) {
    sum.0.extend(next.0);
    sum.1 = next.1;
}

/// A frame that was read can be written and reads the same; a batch's body unpacks or is refused.
fn check_frame(frame: &Frame) {
    let mut bytes = Vec::new();
    frame.encode(SPOKEN.newest, &mut bytes);
    let mut reader = FrameReader::new();
    reader.feed(&bytes);
    assert_eq!(reader.next_frame().as_ref(), Ok(&Some(frame.clone())));
    if let Frame::Batch(batch) = frame {
        let unpacked = Unpacker::try_new().expect("memory for one unpacker").unpack(&batch.body, batch.count);
        assert!(unpacked.is_err() || unpacked.is_ok_and(|records| records.len() as u64 == u64::from(batch.count)));
    }
}
