//! A small message there and back, between two processes.

use std::time::Duration;

use occasional::{Pid, receive, self_pid, send, spawn, spin};

use crate::clock;
use crate::meter::{Meter, serve};
use crate::peers;
use crate::place::{Cpus, Placement, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave, median_of};

pub(crate) fn place_cross(Cpus { a, b }: Cpus) -> Placement {
    Placement::Apart {
        who: "the one who asks",
        on: a,
        others: "the echo",
        there: b,
    }
}

pub(crate) fn place_same(cpus: Cpus) -> Placement {
    Placement::One(cpus.a)
}

/// How long one looks for an answer before one sleeps.
const SPIN: Duration = Duration::from_micros(50);

pub(crate) fn cross(scale: Scale, Cpus { a, b }: Cpus) -> anyhow::Result<Measured> {
    measure(scale, (a, b), Duration::ZERO)
}

pub(crate) fn same(scale: Scale, Cpus { a, .. }: Cpus) -> anyhow::Result<Measured> {
    measure(scale, (a, a), Duration::ZERO)
}

pub(crate) fn idle(scale: Scale, Cpus { a, b }: Cpus) -> anyhow::Result<Measured> {
    measure(scale, (a, b), SPIN)
}

fn measure(
    scale: Scale,
    (here, there): (usize, usize),
    spin: Duration,
) -> anyhow::Result<Measured> {
    pin(&[here])?;
    let _system = occasional::start()?;
    let args = (scale.count(5_000), here, there);
    let ours = Meter::start(ask_and_hear, (args.0, here, there, spin))?;
    let raw = Meter::start(raw::round_trip, args)?;
    let ipc = Meter::start(peers::ipc_round_trip, args)?;
    let [ours, raw, ipc_channel] = interleave(scale, [ours, raw, ipc])?;
    let peers = Peers {
        ipc_channel: Some(ipc_channel),
        ..Peers::default()
    };
    Ok(Measured { ours, raw, peers })
}

fn ask_and_hear(count: usize, here: usize, there: usize, looks: Duration) -> anyhow::Result<()> {
    pin(&[here])?;
    spin(looks)?;
    let echo = spawn(echo, (self_pid(), there, looks))?;
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            send(echo, [1_u8; 16])?;
            receive::<[u8; 16]>()?;
            Ok(clock::micros_since(start))
        })
    })
}

fn echo(back: Pid, there: usize, looks: Duration) -> anyhow::Result<()> {
    pin(&[there])?;
    spin(looks)?;
    loop {
        let message: [u8; 16] = receive()?;
        send(back, message)?;
    }
}
