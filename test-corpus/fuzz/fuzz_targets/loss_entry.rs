//! An entry of the loss ledger: a stored gap or account. What can be read comes back as it was, and adds up or
//! says why not.

#![no_main]

use canh_event::{LossEntry, LossRecord};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(entry) = LossEntry::decode(bytes) else { return };
    let again = match &entry.record {
        LossRecord::Gap(gap) => {
            assert!(gap.last() >= gap.from);
            gap.encode()
        }
        LossRecord::Account(account) => {
            let _ = account.disagreement();
            account.encode()
        }
    };
    let again = LossEntry::encode(entry.position, &again);
    assert_eq!(LossEntry::decode(&again), Ok(entry));
});
