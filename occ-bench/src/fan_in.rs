//! Small messages from many processes to one.

use occasional::{Pid, receive, self_pid, send, spawn};

use crate::clock;
use crate::meter::{Meter, serve};
use crate::place::{Cpus, Placement, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::room;
use crate::stats::{Scale, interleave};

pub(crate) fn place(Cpus { a, b }: Cpus) -> Placement {
    Placement::Apart {
        who: "the receiver",
        on: a,
        others: "the senders",
        there: b,
    }
}

pub(crate) fn fifty(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    measure(scale, cpus, 50, scale.count(4_000))
}

pub(crate) fn thousand(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    let senders = scale.count(1_000);
    room::check(senders)?;
    measure(scale, cpus, senders, scale.count(200))
}

fn measure(
    scale: Scale,
    Cpus { a, b }: Cpus,
    senders: usize,
    count: usize,
) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let args = (senders, count, a, b);
    let ours = Meter::start(receive_from_all, args)?;
    let raw = Meter::start(raw::fan_in, args)?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn receive_from_all(senders: usize, count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    room::raise_open_files(senders as u64)?;
    let all: Vec<Pid> = (0..senders)
        .map(|_| spawn(send_when_asked, (self_pid(), there)))
        .collect::<Result<_, _>>()?;
    serve(|| {
        let start = clock::now();
        for sender in &all {
            send(*sender, count)?;
        }
        for _ in 0..senders * count {
            receive::<[u8; 16]>()?;
        }
        Ok(clock::rate_since(start, senders * count))
    })
}

fn send_when_asked(to: Pid, there: usize) -> anyhow::Result<()> {
    pin(&[there])?;
    loop {
        let count: usize = receive()?;
        for _ in 0..count {
            send(to, [1_u8; 16])?;
        }
    }
}
