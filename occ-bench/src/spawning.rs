//! Processes made: how soon the function runs, how soon its end is known, how many a second.

use anyhow::{Context, bail};
use occasional::{Down, Pid, receive, spawn, spawn_monitor};

use crate::clock;
use crate::killing::until_asleep;
use crate::meter::{Meter, serve};
use crate::peers;
use crate::place::{Cpus, Placement, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::room;
use crate::stats::{Scale, interleave, median, median_of};

/// Spawns in a round.
pub(crate) const COUNT: usize = 100;

/// Processes that are alive and idle while others are spawned.
const OTHERS: usize = 15_000;

/// Processes under way at a time.
const WINDOW: usize = 64;

/// One processor: what is compared is the work that a process costs, and not what it costs to wake another processor,
/// which a busy machine, or a virtual one, makes many times as much.
pub(crate) fn place_one(cpus: Cpus) -> Placement {
    Placement::One(cpus.a)
}

pub(crate) fn to_code(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start()?;
    let count = scale.count(COUNT);
    let ours = Meter::start(spawn_to_first_line, (count,))?;
    let raw = Meter::start(raw::fork_exit_wait, (count,))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn spawn_to_first_line(count: usize) -> anyhow::Result<()> {
    serve(|| to_first_lines(count))
}

pub(crate) fn to_first_lines(count: usize) -> anyhow::Result<f64> {
    median_of(count, || {
        let start = clock::now();
        spawn_monitor(clock::now, ())?;
        let down: Down = receive()?;
        let occasional::ExitReason::Value(value) = down.reason else {
            bail!("the function did not return: {}", down.reason);
        };
        Ok(clock::micros_between(start, value.get()?))
    })
}

pub(crate) fn down(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start()?;
    let count = scale.count(COUNT);
    let ours = Meter::start(spawn_to_down, (count,))?;
    let raw = Meter::start(raw::fork_exit_wait, (count,))?;
    let command = Meter::start(peers::command, (count,))?;
    let procspawn = Meter::start(peers::procspawn, (count,))?;
    let [ours, raw, command, procspawn] = interleave(scale, [ours, raw, command, procspawn])?;
    let peers = Peers {
        command: Some(command),
        procspawn: Some(procspawn),
        ..Peers::default()
    };
    Ok(Measured { ours, raw, peers })
}

fn spawn_to_down(count: usize) -> anyhow::Result<()> {
    serve(|| downs(count))
}

fn nothing() {}

pub(crate) fn downs(count: usize) -> anyhow::Result<f64> {
    median_of(count, || {
        let start = clock::now();
        let (_, monitor) = spawn_monitor(nothing, ())?;
        let down: Down = receive()?;
        let took = clock::micros_since(start);
        anyhow::ensure!(
            down.monitor == monitor,
            "an end that nobody waited for: {}",
            down.reason
        );
        Ok(took)
    })
}

/// In each round a system of its own: first with nobody in it, then full.
pub(crate) fn full(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let others = scale.count(OTHERS);
    room::check(others)?;
    let (mut none, mut full) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let system = occasional::start()?;
        let count = scale.count(COUNT);
        // The first few bring caches to the state that lasts.
        downs(count.min(10))?;
        none.push(downs(count)?);
        let mut last = None;
        for _ in 0..others {
            last = Some(spawn(idle, ())?);
        }
        until_idle(last.context("nobody was spawned")?)?;
        downs(count.min(10))?;
        full.push(downs(count)?);
        system.stop();
    }
    Ok(Measured {
        ours: median(full),
        raw: median(none),
        peers: Peers::default(),
    })
}

fn idle() -> anyhow::Result<()> {
    Ok(receive()?)
}

fn until_idle(pid: Pid) -> anyhow::Result<()> {
    until_asleep(occasional::os_pid(pid)?.get())
}

pub(crate) fn rate(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start()?;
    let count = scale.count(3_000);
    let ours = Meter::start(spawn_rate, (count, WINDOW))?;
    let raw = Meter::start(raw::fork_server, (count, WINDOW))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn spawn_rate(count: usize, window: usize) -> anyhow::Result<()> {
    serve(|| {
        let start = clock::now();
        for number in 0..count + window {
            if number < count {
                spawn_monitor(nothing, ())?;
            }
            if number >= window {
                receive::<Down>()?;
            }
        }
        Ok(clock::rate_since(start, count))
    })
}
