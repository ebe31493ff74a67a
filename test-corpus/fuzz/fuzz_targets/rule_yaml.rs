//! A rule file of somebody else's: it is loaded or refused, and what is loaded runs as its plain twin says.

#![no_main]

use canh_fuzz::check_rules;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_rules(text);
    }
});
