//! A small message there and back, between two processes.

use occasional::{Pid, receive, self_pid, send, spawn};

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

pub(crate) fn cross(scale: Scale, Cpus { a, b }: Cpus) -> anyhow::Result<Measured> {
    measure(scale, a, b)
}

pub(crate) fn same(scale: Scale, Cpus { a, .. }: Cpus) -> anyhow::Result<Measured> {
    measure(scale, a, a)
}

fn measure(scale: Scale, here: usize, there: usize) -> anyhow::Result<Measured> {
    pin(&[here])?;
    let _system = occasional::start()?;
    let args = (scale.count(5_000), here, there);
    let ours = Meter::start(ask_and_hear, args)?;
    let raw = Meter::start(raw::round_trip, args)?;
    let ipc = Meter::start(peers::ipc_round_trip, args)?;
    let [ours, raw, ipc_channel] = interleave(scale, [ours, raw, ipc])?;
    let peers = Peers {
        ipc_channel: Some(ipc_channel),
        ..Peers::default()
    };
    Ok(Measured { ours, raw, peers })
}

fn ask_and_hear(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let echo = spawn(echo, (self_pid(), there))?;
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            send(echo, [1_u8; 16])?;
            receive::<[u8; 16]>()?;
            Ok(clock::micros_since(start))
        })
    })
}

fn echo(back: Pid, there: usize) -> anyhow::Result<()> {
    pin(&[there])?;
    loop {
        let message: [u8; 16] = receive()?;
        send(back, message)?;
    }
}
