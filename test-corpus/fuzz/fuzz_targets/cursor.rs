//! A cursor's file with anything in it: it is read or refused, and once set it says what was set.
//!
//! ```text
//! odd: the first slot is made to fit │ where the second slot's bytes begin u8 │ bytes
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, slot};
use canh_journal::{Cursor, Lsn};

const STRIDE: usize = 64 << 10;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&[mode, split], rest)) = bytes.split_first_chunk::<2>() else { return };
    let (first, second) = rest.split_at(usize::from(split).min(rest.len()));
    let mut file = if mode % 2 == 1 { slot(u64::from(mode), first) } else { first.to_vec() };
    if !second.is_empty() {
        file.resize(STRIDE, 0);
        file.extend_from_slice(second);
    }
    let (files, path) = (MemoryFs::default(), Path::new("/state/cursor"));
    files.put(path, file);
    let Ok(mut cursor) = Cursor::open_on(&files, path) else { return };
    let place = cursor.get().map_or(Lsn(1), |(lsn, _)| Lsn(lsn.0.saturating_add(1)));
    cursor.set(place, second).expect("memory does not fail");
    assert_eq!(cursor.get(), Some((place, second.to_vec())));
    let again = Cursor::open_on(&files, path).expect("a cursor that was set");
    assert_eq!(again.get(), Some((place, second.to_vec())));
});
