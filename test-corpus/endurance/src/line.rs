//! The lines of a run: each has a number of its own, is as an ordinary log line is, and can be told
//! from every other.
//!
//! ```text
//! 2026-11-24T03:07:03.250000Z web-01 endurance[2]: id=4711 sum=9f0c... words
//! 2026-11-24T03:07:03.250000Z web-01 sshd[812]: Failed password for invalid user id=4712 from 10.1.2.3 port 50312 ssh2
//! ```

use std::hash::{DefaultHasher, Hasher};
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use canh_event::Timestamp;

use crate::chance::Chance;

const MARK: &[u8] = b" id=";
const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";

/// Returns this moment in microseconds, as log lines have it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_micros()).unwrap_or(0).saturating_mul(1_000))
}

/// Returns a line of some program, with `length` letters of no meaning.
pub(crate) fn plain(time: Timestamp, host: &str, id: u64, length: u64, chance: &mut Chance) -> String {
    let words = letters(length, chance);
    format!("{time} {host} endurance[7]: id={id} sum={:016x} {words}", digest(words.as_bytes()))
}

/// Returns the line of a refused password.
pub(crate) fn refused_password(time: Timestamp, host: &str, id: u64, from: Ipv4Addr) -> String {
    let port = 1_024 + id % 60_000;
    format!("{time} {host} sshd[812]: Failed password for invalid user id={id} from {from} port {port} ssh2")
}

/// Returns the number in a line.
pub(crate) fn id_of(line: &[u8]) -> Option<u64> {
    let at = line.windows(MARK.len()).position(|window| window == MARK)?;
    let digits = line.get(at + MARK.len()..)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// Returns what tells a text from another.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Ten letters a number: six bits each.
fn letters(length: u64, chance: &mut Chance) -> String {
    let mut text = String::new();
    while (text.len() as u64) < length {
        let mut number = chance.next();
        for _ in 0..10 {
            let letter = LETTERS.get((number & 63) as usize).copied().unwrap_or(b' ');
            text.push(char::from(letter));
            number >>= 6;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_both_kinds_of_lines_and_not_where_there_is_none() {
        let mut chance = Chance::new(1);
        let time = Timestamp::from_secs(1_795_489_623);
        assert_eq!(id_of(plain(time, "web-01", 4_711, 40, &mut chance).as_bytes()), Some(4_711));
        assert_eq!(id_of(refused_password(time, "web-01", 12, Ipv4Addr::new(10, 1, 2, 3)).as_bytes()), Some(12));
        assert_eq!(id_of(b"a line without"), None);
        assert_eq!(id_of(b"a line with id=x"), None);
    }
}
