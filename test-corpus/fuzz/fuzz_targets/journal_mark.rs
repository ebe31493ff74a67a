//! Marks that are somebody else's beside a journal that is right: the durable mark and the floor are
//! believed or not, but no record is invented and none is removed on a floor that nothing stands on.
//!
//! ```text
//! bit 0: the mark's slots are made to fit │ bit 1: the floor's │ where the floor begins u8 │ both
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, OPTIONS, read_all, slot, write_on};
use canh_journal::{Journal, Reader};

const STRIDE: usize = 4_096;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, split], rest)) = bytes.split_first_chunk::<2>() else { return };
    let (mark, floor) = rest.split_at(usize::from(split).min(rest.len()));
    let dir = Path::new("/journal");
    let files = MemoryFs::default();
    let (mut journal, _) = Journal::open_on(files.clone(), dir, OPTIONS).expect("memory does not fail");
    for number in 0..6_u8 {
        journal.append(1, &[number; 6_000]).expect("memory does not fail");
    }
    journal.sync().expect("memory does not fail");
    drop(journal);
    files.put(&dir.join("durable"), two_slots(mark, mode & 1 != 0));
    files.put(&dir.join("floor"), two_slots(floor, mode & 2 != 0));
    if let Ok(reader) = Reader::open_on(files.copy(), dir) {
        let last = read_all(reader);
        assert!(last.is_none_or(|body| body.len() == 6_000), "nothing but what was written");
    }
    write_on(&files, dir);
});

/// Two slots with one half of the bytes each; if they are made to fit, the second is the newer one.
fn two_slots(bytes: &[u8], is_mended: bool) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let slot = |generation: u64, bytes: &[u8]| if is_mended { slot(generation, bytes) } else { bytes.to_vec() };
    let mut file = slot(1, first);
    file.resize(STRIDE, 0);
    file.extend_from_slice(&slot(2, second));
    file.resize(2 * STRIDE, 0);
    file
}
