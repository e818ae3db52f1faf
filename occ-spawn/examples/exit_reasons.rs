//! Every way for a process to end, and what is told of it.

use std::fmt;

use occ_spawn::{ExitReason, Spawner, exit, fail};

fn return_nothing() {}

fn return_a_value() -> Vec<u8> {
    vec![1, 2, 3]
}

fn call_exit() {
    exit("from anywhere".to_owned())
}

#[derive(Debug)]
struct NoRoom {
    shelf: u32,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room on shelf {}", self.shelf)
    }
}

impl std::error::Error for NoRoom {}

fn return_an_error() -> anyhow::Result<()> {
    Err(anyhow::Error::new(NoRoom { shelf: 3 }).context("cannot store the box"))
}

fn call_fail() {
    fail(("a pair".to_owned(), 7))
}

fn panic() {
    let empty: [u8; 0] = [];
    let _ = empty[std::env::args().count()];
}

#[expect(clippy::exit, reason = "what is shown")]
fn end_with_a_code() {
    std::process::exit(7)
}

fn abort() {
    std::process::abort()
}

fn overflow(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 1024]);
    if n == u64::MAX {
        return n;
    }
    overflow(frame[0] + 1) + frame[1023]
}

fn stay() {
    loop {
        std::thread::park();
    }
}

#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> anyhow::Result<()> {
    let spawner = Spawner::new()?;
    let killed = spawner.spawn(stay, ())?;
    killed.kill()?;
    let processes = [
        ("returns nothing", spawner.spawn(return_nothing, ())?),
        ("returns a value", spawner.spawn(return_a_value, ())?),
        ("calls exit", spawner.spawn(call_exit, ())?),
        ("returns an error", spawner.spawn(return_an_error, ())?),
        ("calls fail", spawner.spawn(call_fail, ())?),
        ("panics", spawner.spawn(panic, ())?),
        ("ends with a code", spawner.spawn(end_with_a_code, ())?),
        ("aborts", spawner.spawn(abort, ())?),
        ("overflows its stack", spawner.spawn(overflow, (0,))?),
        ("is killed", killed),
    ];
    for (what, mut child) in processes {
        let exit = child.wait()?;
        let kind = match &exit.reason {
            ExitReason::Value(_) => "Value",
            ExitReason::Error(_) => "Error",
            ExitReason::Panic(_) => "Panic",
            ExitReason::Code(_) => "Code",
            ExitReason::Signal(_) => "Signal",
            ExitReason::NoProcess => "NoProcess",
        };
        println!("a process that {what}: {kind}: it {}", exit.reason);
    }
    Ok(())
}
