//! What the captures show: an office network of 10.20.30.0/24 with servers in 10.20.31.0/24.
//! Addresses outside are of the blocks set aside for documentation (RFC 5737).

use crate::wire::{Address, Capture, Dice, End, RST, RST_ACK, SYN, SYN_ACK};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

const DNS_SERVER: End = ([10, 20, 31, 2], 53);
const FILE_SERVER: End = ([10, 20, 31, 3], 445);
const MAIL_SERVER: End = ([10, 20, 31, 4], 993);
const PRINTER: End = ([10, 20, 30, 250], 9_100);
const GATEWAY: Address = [10, 20, 30, 1];

fn workstation(number: u8) -> Address {
    [10, 20, 30, number]
}

/// 10.20.30.66 asks 60 servers for SSH and then for SMB, one every 100 ms. Of ten hosts six are
/// silent, three refuse, and one answers and is reset at once.
pub(crate) fn horizontal_scan() -> Capture {
    let (mut capture, mut dice) = (Capture::default(), Dice(22));
    let mut at = 0;
    for port in [22, 445] {
        for host in 1..=60 {
            let (from, to) = ((workstation(66), dice.port()), ([10, 20, 32, host], port));
            at += 90_000 + dice.below(20_000);
            capture.tcp(at, from, to, SYN, 0);
            match host % 10 {
                0..=5 => {}
                6..=8 => capture.tcp(at + 900, to, from, RST_ACK, 0),
                _ => {
                    capture.tcp(at + 900, to, from, SYN_ACK, 0);
                    capture.tcp(at + 1_100, from, to, RST, 0);
                }
            }
        }
        at += 2 * SECOND;
    }
    capture
}

/// 10.20.30.66 asks one server for 200 ports, one every 25 ms. Four are open, one in four refuses,
/// the others are filtered.
pub(crate) fn vertical_scan() -> Capture {
    const OPEN: [u16; 4] = [22, 80, 443, 445];
    let (mut capture, mut dice) = (Capture::default(), Dice(200));
    let others = (1..).filter(|port| !OPEN.contains(port)).map(|port: u16| port * 7 % 10_000).take(196);
    let ports = OPEN.into_iter().chain(others.filter(|port| !OPEN.contains(port)).chain(9_990..)).take(200);
    for (index, port) in ports.enumerate() {
        let (from, to) = ((workstation(66), 41_000), ([10, 20, 31, 5], port));
        let at = index as u64 * 25_000 + dice.below(5_000);
        capture.tcp(at, from, to, SYN, 0);
        if OPEN.contains(&port) {
            capture.tcp(at + 700, to, from, SYN_ACK, 0);
            capture.tcp(at + 900, from, to, RST, 0);
        } else if index % 4 == 0 {
            capture.tcp(at + 700, to, from, RST_ACK, 0);
        }
    }
    capture
}

/// 10.20.30.51 calls 203.0.113.80 on port 443 every 60 s, two seconds more or less, for an hour:
/// short connections of nearly the same size.
pub(crate) fn beacon() -> Capture {
    let (mut capture, mut dice) = (Capture::default(), Dice(60));
    for call in 0..60 {
        let at = call * MINUTE + 3 * SECOND + dice.below(4 * SECOND);
        let client = (workstation(51), dice.port());
        let sent = 280 + dice.below(16);
        capture.connection(at, client, ([203, 0, 113, 80], 443), sent, 120, 150_000);
    }
    capture
}

/// 10.20.30.41 sends 200 MB to 198.51.100.77 on port 443 in one connection of 200 s and gets next
/// to nothing back. The packets are as a host sees its own: up to half a megabyte before the
/// network card cuts them up.
pub(crate) fn exfiltration() -> Capture {
    const SEGMENTS: u64 = 400;
    let mut capture = Capture::default();
    let (client, server) = ((workstation(41), 51_413), ([198, 51, 100, 77], 443));
    capture.connection(0, client, server, 600, 4_000, 205 * SECOND);
    for segment in 0..SEGMENTS {
        let at = SECOND + segment * 500_000;
        capture.tcp(at, client, server, 0x18, 524_220);
        if segment % 8 == 0 {
            capture.tcp(at + 2_000, server, client, 0x10, 0);
        }
    }
    capture
}

/// An hour of twelve people at work: names looked up, web pages, shared files, mail asked for every
/// few minutes, a printer that is switched off, clocks set, the gateway pinged.
pub(crate) fn quiet_office() -> Capture {
    let (mut capture, mut dice) = (Capture::default(), Dice(7));
    for number in 11..=22 {
        let host = workstation(number);
        for _ in 0..3 {
            let at = dice.below(HOUR);
            browse(&mut capture, &mut dice, host, at);
        }
        let mail_begins = dice.below(10 * MINUTE);
        for turn in 0..3 {
            let at = mail_begins + turn * 15 * MINUTE + dice.below(2 * MINUTE);
            let client = (host, dice.port());
            capture.connection(at, client, MAIL_SERVER, 900 + dice.below(300), 2_000 + dice.below(40_000), 2 * SECOND);
        }
        let at = dice.below(HOUR);
        let returned = 20_000 + dice.below(45_000);
        capture.connection(at, (host, dice.port()), FILE_SERVER, 4_000, returned, 20 * SECOND);
        let at = dice.below(HOUR);
        exchange(&mut capture, at, (host, 123), ([10, 20, 31, 2], 123), 48, 48);
    }
    for minute in (0..60).step_by(10) {
        let at = minute * MINUTE + dice.below(SECOND);
        capture.echo(at, [10, 20, 31, 9], GATEWAY, false);
        capture.echo(at + 400, GATEWAY, [10, 20, 31, 9], true);
    }
    for try_number in 0..3 {
        capture.tcp(25 * MINUTE + try_number * SECOND, (workstation(14), 50_111), PRINTER, SYN, 0);
    }
    capture
}

/// A name looked up, and two connections to where it led.
fn browse(capture: &mut Capture, dice: &mut Dice, host: Address, at: u64) {
    const SITES: [Address; 5] =
        [[203, 0, 113, 10], [203, 0, 113, 44], [198, 51, 100, 20], [192, 0, 2, 80], [192, 0, 2, 81]];
    let answer = 80 + dice.below(200);
    exchange(capture, at, (host, dice.port()), DNS_SERVER, 40, answer);
    let site = SITES[usize::try_from(dice.below(5)).unwrap()];
    for delay in [5_000, 40_000] {
        let (sent, returned) = (500 + dice.below(1_500), 3_000 + dice.below(60_000));
        let lasts = SECOND + dice.below(20 * SECOND);
        capture.connection(at + delay, (host, dice.port()), (site, 443), sent, returned, lasts);
    }
}

fn exchange(capture: &mut Capture, at: u64, client: End, server: End, sent: u64, returned: u64) {
    capture.udp(at, client, server, sent);
    capture.udp(at + 1_500, server, client, returned);
}
