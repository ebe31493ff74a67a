//! A chain into which a hand has put records: it breaks at the first one that does not link, and a
//! chain that nobody has touched holds, over restarts and compression.
//!
//! ```text
//! any number of: act u8 │ length u8 │ bytes
//! ```

#![no_main]

use std::path::Path;

use canh_fuzz::{MemoryFs, OPTIONS};
use canh_journal::{Chain, ChainBreak, Journal, Lsn, verify_chain_on};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (files, dir) = (MemoryFs::default(), Path::new("/ledger"));
    let mut foreign: Option<Lsn> = None;
    let mut last = Lsn::ZERO;
    let mut rest = bytes;
    while let Some((&[act, length], after)) = rest.split_first_chunk::<2>() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let (mut journal, _) = Journal::open_on(files.clone(), dir, OPTIONS).expect("memory does not fail");
        match act % 4 {
            0 => {
                let lsn = journal.append(1, payload).expect("memory does not fail");
                journal.sync().expect("memory does not fail");
                foreign.get_or_insert(lsn);
                last = lsn;
            }
            1 => while journal.sealed().compress_next(&|| true).expect("memory does not fail").is_some() {},
            _ => {
                // A record too short for a hash ends the chain for good.
                let Ok(mut chain) = Chain::resume(journal) else { continue };
                let body = if act & 4 == 0 { payload.to_vec() } else { payload.repeat(40) };
                last = chain.append(1, &body).expect("memory does not fail");
                chain.sync().expect("memory does not fail");
            }
        }
    }
    if last == Lsn::ZERO {
        return;
    }
    let report = verify_chain_on(files, dir).expect("it was opened before");
    match foreign {
        Some(lsn) => assert_eq!(report.broken, Some(ChainBreak::Hash { lsn }), "nobody guesses a hash"),
        None => assert_eq!((report.broken, report.last, report.records), (None, Some(last), last.0)),
    }
});
