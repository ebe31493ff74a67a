//! SipHash-1-3 with 128 bits of result: how a group key or a counted value is remembered.
//!
//! Groups are kept by the hash of their key, not by its text: the text is at hand again whenever
//! an event of the group comes, and a million groups would otherwise hold a million texts. The hash
//! is keyed (`Limits::seed`), so nobody outside can make keys that meet in one group or in one place of a
//! table. It is our own because snapshots hold its results: they must mean the same in every
//! release, which the standard library's hasher does not promise.
//!
//! Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF"; the 128-bit form as
//! in their reference code.

use serde::{Deserialize, Serialize};

/// The hash of a group key or of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key(pub(crate) [u64; 2]);

/// The secret half of the hash.
pub(crate) type Seed = [u64; 2];

impl Key {
    /// Returns the hash of a text.
    pub(crate) fn of(seed: Seed, bytes: &[u8]) -> Self {
        let mut state = State::new(seed);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state.absorb::<1>(read(chunk));
        }
        let length = (bytes.len() as u64) << 56;
        state.absorb::<1>(length | read(chunks.remainder()));
        state.finish::<3>()
    }

    /// Returns the hash of several hashes in their order; `None` stands for one that is not there.
    pub(crate) fn of_parts(seed: Seed, parts: impl IntoIterator<Item = Option<Self>>) -> Self {
        let mut state = State::new(seed);
        let mut count = 0_u64;
        for part in parts {
            let Self([first, second]) = part.unwrap_or_default();
            state.absorb::<1>(first);
            state.absorb::<1>(second);
            count = count << 1 | u64::from(part.is_some());
        }
        state.absorb::<1>(count);
        state.finish::<3>()
    }

    /// Returns the half a hash table is to use.
    pub(crate) const fn table_hash(self) -> u64 {
        let Self([first, _]) = self;
        first
    }
}

fn read(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    fn new([first, second]: Seed) -> Self {
        Self {
            v0: first ^ 0x736f_6d65_7073_6575,
            // The 128-bit form differs in 0xee here and in `finish`.
            v1: second ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: first ^ 0x6c79_6765_6e65_7261,
            v3: second ^ 0x7465_6462_7974_6573,
        }
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    fn absorb<const ROUNDS: usize>(&mut self, word: u64) {
        self.v3 ^= word;
        for _ in 0..ROUNDS {
            self.round();
        }
        self.v0 ^= word;
    }

    fn finish<const ROUNDS: usize>(mut self) -> Key {
        self.v2 ^= 0xee;
        for _ in 0..ROUNDS {
            self.round();
        }
        let first = self.v0 ^ self.v1 ^ self.v2 ^ self.v3;
        self.v1 ^= 0xdd;
        for _ in 0..ROUNDS {
            self.round();
        }
        Key([first, self.v0 ^ self.v1 ^ self.v2 ^ self.v3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same with the rounds of SipHash-2-4, for which there are published vectors.
    fn sip_2_4_128(seed: Seed, bytes: &[u8]) -> Key {
        let mut state = State::new(seed);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state.absorb::<2>(read(chunk));
        }
        state.absorb::<2>((bytes.len() as u64) << 56 | read(chunks.remainder()));
        state.finish::<4>()
    }

    #[test]
    fn the_reference_vectors_of_the_128_bit_form() {
        // `vectors_sip128` of the reference code, inputs of 0 and 1 bytes, key 00 01 .. 0f.
        let seed = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes = |key: Key| [key.0[0].to_le_bytes(), key.0[1].to_le_bytes()].concat();
        let empty = [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93];
        assert_eq!(bytes(sip_2_4_128(seed, &[])), empty);
        let one = [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45];
        assert_eq!(bytes(sip_2_4_128(seed, &[0])), one);
    }

    #[test]
    fn parts_are_told_apart_by_place_and_presence() {
        let seed = [1, 2];
        let [a, b] = [Key::of(seed, b"a"), Key::of(seed, b"b")];
        let all = [
            Key::of_parts(seed, [Some(a), Some(b)]),
            Key::of_parts(seed, [Some(b), Some(a)]),
            Key::of_parts(seed, [Some(a), None]),
            Key::of_parts(seed, [Some(a), Some(Key::default())]),
            Key::of_parts(seed, [Some(a)]),
            Key::of_parts(seed, []),
        ];
        for (index, key) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(key), "{index}");
        }
    }

    #[test]
    fn another_seed_is_another_hash() {
        assert_ne!(Key::of([1, 2], b"10.0.0.7"), Key::of([1, 3], b"10.0.0.7"));
    }
}
