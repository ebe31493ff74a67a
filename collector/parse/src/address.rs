//! Addresses: an IP address goes to one field, anything else to another.

use std::net::IpAddr;

use crate::fields::Fields;

/// Adds where a connection came from: `SourceIp` if it is an IP address, else `SourceHostname`.
/// The zone of a link-local address (`%eth0`) is left out, so that networks can be compared.
pub(crate) fn fill_source(text: &str, fields: &mut Fields<'_, '_>) {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    if is_ip(address) { fields.text("SourceIp", address) } else { fields.text("SourceHostname", text) }
}

/// Returns whether the text is an IPv4 or IPv6 address.
pub(crate) fn is_ip(text: &str) -> bool {
    // The longest IPv6 address has 45 characters; a quick look spares names the full reader.
    let can_be = text.len() <= 45 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'));
    can_be && text.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_addresses() {
        assert!(is_ip("10.0.0.7") && is_ip("2001:db8::1") && is_ip("::ffff:10.0.0.7"));
        for text in ["", "UNKNOWN", "10.0.0", "183.106.179.x", "10.0.0.7.example.com", "dead.beef", "10.0.0.07"] {
            assert!(!is_ip(text), "{text}");
        }
    }
}
