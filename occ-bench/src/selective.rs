//! An answer received while other messages wait: what is not asked for stays where it is, and is in nobody's way.

use anyhow::ensure;
use occasional::{Down, Pid, flush, receive, self_pid, send, spawn, spawn_monitor};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::meter::{Meter, serve};
use crate::place::{Cpus, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave, median_of};

/// Answers in a round.
const COUNT: usize = 500;

/// What waits.
#[derive(Serialize, Deserialize)]
struct Waiting(u64);

/// With one that waits, beside the bare system calls.
pub(crate) fn one(scale: Scale, Cpus { a, .. }: Cpus) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let count = scale.count(COUNT);
    let ours = Meter::start(ask_among, (count, 1, a))?;
    let raw = Meter::start(raw::round_trip, (count, a, a))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

pub(crate) fn thousand(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    beside_one(scale, cpus, 1_000)
}

pub(crate) fn hundred_thousand(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    beside_one(scale, cpus, 100_000)
}

/// With many that wait, beside the same with one.
fn beside_one(scale: Scale, Cpus { a, .. }: Cpus, waiting: usize) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let count = scale.count(COUNT);
    let ours = Meter::start(ask_among, (count, scale.count(waiting), a))?;
    let raw = Meter::start(ask_among, (count, 1, a))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn ask_among(count: usize, waiting: usize, here: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let echo = spawn(echo, (self_pid(),))?;
    // Its end is told after its last message was received: all are in memory then.
    spawn_monitor(fill, (self_pid(), waiting))?;
    receive::<Down>()?;
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            send(echo, [1_u8; 16])?;
            receive::<[u8; 16]>()?;
            Ok(clock::micros_since(start))
        })
    })?;
    let there = flush()?;
    ensure!(
        there == waiting,
        "{there} messages waited, and not {waiting}"
    );
    Ok(())
}

fn fill(to: Pid, waiting: usize) -> anyhow::Result<()> {
    for number in 0..waiting {
        send(to, Waiting(number as u64))?;
    }
    Ok(())
}

fn echo(back: Pid) -> anyhow::Result<()> {
    loop {
        let message: [u8; 16] = receive()?;
        send(back, message)?;
    }
}
