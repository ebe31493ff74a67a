//! Names of users and groups from `/etc/passwd` and `/etc/group`.
//!
//! The files are read, not the name service: the daemon's sandbox has no business talking to LDAP.
//! A user who is in neither is still known by number, `uid-1007`, and the record says so.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A passwd file of a large site has some hundred kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Returns the name of a user, or `uid-N`.
pub(crate) fn name_of(uid: u32) -> String {
    // An unreadable file is no reason to turn away a user whom the kernel vouches for.
    read(Path::new("/etc/passwd")).ok().and_then(|passwd| name_in(&passwd, uid)).unwrap_or_else(|| format!("uid-{uid}"))
}

/// Returns the number of a group, if there is such a group.
pub(crate) fn group_id(name: &str) -> io::Result<Option<u32>> {
    let group = read(Path::new("/etc/group"))?;
    Ok(entries(&group).find(|(entry, _)| *entry == name).map(|(_, gid)| gid))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    entries(passwd).find(|(_, number)| *number == uid).map(|(name, _)| name.to_owned())
}

/// Returns (name, number) of each line `name:password:number:...`, passwd(5) and group(5).
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next().filter(|name| !name.is_empty() && !name.starts_with(['#', '+', '-']))?;
        Some((name, parts.nth(1)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# x:y:7:\n+nis:x:8:\nbroken\n:x:9:\nlan:x:1001:1001::/home/lan:/bin/sh\n";

    #[test]
    fn names_come_from_their_line_and_nowhere_else() {
        assert_eq!(name_in(PASSWD, 0).as_deref(), Some("root"));
        assert_eq!(name_in(PASSWD, 1001).as_deref(), Some("lan"));
        for uid in [7, 8, 9, 1000] {
            assert_eq!(name_in(PASSWD, uid), None, "{uid}");
        }
    }

    #[test]
    fn unknown_user_is_known_by_number() {
        assert_eq!(name_of(4_000_000_001), "uid-4000000001");
    }
}
