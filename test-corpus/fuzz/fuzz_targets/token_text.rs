//! The text of an enrolment token: refused, or exactly what its token is written as.
//!
//! ```text
//! odd: a byte of a good token is changed │ even: text of its own
//! ```

#![no_main]

use canh_wire::{EnrolToken, Fingerprint, SECRET_BYTES, Secret, TokenId};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, rest)) = bytes.split_first() else { return };
    let text = if mode % 2 == 1 { changed(rest) } else { String::from_utf8_lossy(rest).into_owned() };
    if let Ok(token) = text.parse::<EnrolToken>() {
        assert_eq!(token.to_text(), text);
    }
});

/// A good token with the bytes at some places replaced.
fn changed(places: &[u8]) -> String {
    let secret = Secret::from_bytes([7; SECRET_BYTES]);
    let token = EnrolToken { id: TokenId(7), secret, authority: Fingerprint::of(b"ca") };
    let mut text = token.to_text().into_bytes();
    for place in places.chunks_exact(2) {
        let at = usize::from(place[0]) % text.len();
        text[at] = place[1];
    }
    String::from_utf8_lossy(&text).into_owned()
}
