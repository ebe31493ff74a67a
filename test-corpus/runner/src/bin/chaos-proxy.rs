//! `chaos-proxy TARGET SECONDS SEED`: a TCP proxy on a free port of loopback that, for some seconds,
//! holds bytes back, cuts connections and flips single bits, and after that only passes bytes on.
//!
//! It prints its address, and a line for each fault. The same seed draws the same faults for the same
//! bytes; how bytes are split is the kernel's doing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// Bytes between two faults, at most; drawn anew for each.
const CALM_BYTES: u64 = 400_000;
/// Longest time bytes are held back.
const LONGEST_DELAY_MS: u64 = 30;

/// What happens to a run of bytes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Delay(Duration),
    Cut,
    Flip { bit: u64 },
}

/// Draws faults (xorshift64).
struct Dice(u64);

/// What both directions of all connections share.
struct Plan {
    target: String,
    until: Instant,
    seed: u64,
}

impl Dice {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(below).unwrap_or(0)
    }

    fn fault(&mut self) -> Fault {
        match self.draw(4) {
            0 => Fault::Cut,
            1 => Fault::Flip { bit: self.draw(u64::MAX) },
            _ => Fault::Delay(Duration::from_millis(self.draw(LONGEST_DELAY_MS))),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed] = arguments.as_slice() else {
        return Err(anyhow!("usage: chaos-proxy TARGET SECONDS SEED"));
    };
    let seconds = seconds.parse().context("while reading SECONDS")?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let seed: u64 = seed.parse().context("while reading SEED")?;
    let plan = Arc::new(Plan { target: target.clone(), until, seed: seed.max(1) });
    let listener = TcpListener::bind("127.0.0.1:0").context("while binding")?;
    say(&format!("listening address={}", listener.local_addr()?));
    for (number, stream) in listener.incoming().enumerate() {
        let (plan, near) = (Arc::clone(&plan), stream.context("while accepting")?);
        let Ok(far) = TcpStream::connect(&plan.target) else { continue };
        relay(&plan, number as u64, &near, &far).context("while relaying")?;
    }
    Ok(())
}

/// Passes bytes on both ways, each on a thread of its own.
fn relay(plan: &Arc<Plan>, number: u64, near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    for (way, from, to) in [(1, near, far), (2, far, near)] {
        let (plan, from, to) = (Arc::clone(plan), from.try_clone()?, to.try_clone()?);
        let dice = Dice(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number * 2 + way) | 1);
        thread::spawn(move || {
            // Whatever ends one way ends both, as a broken line does.
            let _ = pass(&plan, dice, &from, &to);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn pass(plan: &Plan, mut dice: Dice, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut calm = dice.draw(CALM_BYTES);
    loop {
        let count = from.read(&mut buffer)?;
        let Some(run) = buffer.get_mut(..count).filter(|run| !run.is_empty()) else { return Ok(()) };
        if calm >= count as u64 {
            calm -= count as u64;
        } else if Instant::now() < plan.until {
            calm = dice.draw(CALM_BYTES);
            match dice.fault() {
                Fault::Cut => {
                    say("cut");
                    return Ok(());
                }
                Fault::Delay(span) => thread::sleep(span),
                Fault::Flip { bit } => {
                    say("flipped");
                    let at = usize::try_from((bit / 8).checked_rem(count as u64).unwrap_or(0)).unwrap_or(0);
                    run.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
                }
            }
        }
        to.write_all(run)?;
    }
}

fn say(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
}
