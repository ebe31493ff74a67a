//! A record of an agent's spool: what can be read comes back as it was.
//!
//! ```text
//! odd: a checkpoint, even: a batch │ bytes
//! ```

#![no_main]

use canh_ship::{Checkpoint, SpooledBatch};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    if kind % 2 == 1 {
        let Ok(checkpoint) = Checkpoint::decode(rest) else { return };
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint));
    } else {
        let Ok(batch) = SpooledBatch::decode(rest) else { return };
        assert_eq!(SpooledBatch::decode(&batch.encode()), Ok(batch));
    }
});
