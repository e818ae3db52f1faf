//! Many messages in one direction, between two processes.

use std::borrow::Cow;

use occasional::{Pid, Term, receive, self_pid, send, spawn};

use crate::bytes::Bytes;
use crate::clock;
use crate::meter::{Meter, serve};
use crate::peers;
use crate::place::{Cpus, Placement, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave};

const LARGE: usize = 64 * 1024;
const HUGE: usize = 1 << 20;

/// What is measured is their way, not how they came about.
static ZEROES: [u8; HUGE] = [0; HUGE];

pub(crate) fn place(Cpus { a, b }: Cpus) -> Placement {
    Placement::Apart {
        who: "the receiver",
        on: a,
        others: "the sender",
        there: b,
    }
}

pub(crate) fn small(scale: Scale, Cpus { a, b }: Cpus) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let count = scale.count(100_000);
    let ours = Meter::start(receive_small, (count, a, b))?;
    let raw = Meter::start(raw::one_way, (count, 16, a, b))?;
    let ipc = Meter::start(peers::ipc_one_way, (count, a, b))?;
    let [ours, raw, ipc_channel] = interleave(scale, [ours, raw, ipc])?;
    let peers = Peers {
        ipc_channel: Some(ipc_channel),
        ..Peers::default()
    };
    Ok(Measured { ours, raw, peers })
}

pub(crate) fn large(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    long(scale, cpus, scale.count(20_000), LARGE)
}

pub(crate) fn huge(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    long(scale, cpus, scale.count(2_000), HUGE)
}

fn long(scale: Scale, Cpus { a, b }: Cpus, count: usize, size: usize) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let ours = Meter::start(receive_large, (count, size, a, b))?;
    let raw = Meter::start(raw::one_way, (count, size, a, b))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn receive_small(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let sender = spawn(send_small, (self_pid(), there))?;
    serve(|| receive_all::<[u8; 16]>(sender, count))
}

fn receive_large(count: usize, size: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let sender = spawn(send_large, (self_pid(), size, there))?;
    serve(|| receive_all::<Bytes>(sender, count))
}

fn receive_all<T: Term>(sender: Pid, count: usize) -> anyhow::Result<f64> {
    let start = clock::now();
    send(sender, count)?;
    for _ in 0..count {
        receive::<T>()?;
    }
    Ok(clock::rate_since(start, count))
}

fn send_small(to: Pid, there: usize) -> anyhow::Result<()> {
    send_as_asked(to, there, || [1_u8; 16])
}

fn send_large(to: Pid, size: usize, there: usize) -> anyhow::Result<()> {
    send_as_asked(to, there, || Bytes(Cow::Borrowed(&ZEROES[..size])))
}

fn send_as_asked<T: Term>(to: Pid, there: usize, message: impl Fn() -> T) -> anyhow::Result<()> {
    pin(&[there])?;
    loop {
        let count: usize = receive()?;
        for _ in 0..count {
            send(to, message())?;
        }
    }
}
