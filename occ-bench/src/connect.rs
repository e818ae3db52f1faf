//! The first message to a process that one has no connection with.

use anyhow::ensure;
use occasional::{Down, Pid, os_pid, receive, self_pid, send, spawn_monitor};

use crate::clock;
use crate::killing::until_asleep;
use crate::meter::{Meter, serve};
use crate::place::{Cpus, pin};
use crate::raw_connect;
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave, median_of};

pub(crate) fn first_message(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start()?;
    let count = scale.count(200);
    let ours = Meter::start(send_to_new_ones, (count,))?;
    let raw = Meter::start(raw_connect::first_message, (count, cpus.a))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

/// Each is a new process, which waits for its first message, and says when it had it.
fn send_to_new_ones(count: usize) -> anyhow::Result<()> {
    serve(|| {
        median_of(count, || {
            let (peer, _) = spawn_monitor(say_when, ())?;
            until_asleep(os_pid(peer)?.get())?;

            let start = clock::now();
            send(peer, self_pid())?;
            let received: u64 = receive()?;
            let down: Down = receive()?;
            ensure!(down.pid == peer, "another has ended: {down}");
            Ok(clock::micros_between(start, received))
        })
    })
}

fn say_when() -> anyhow::Result<()> {
    let who: Pid = receive()?;
    let now = clock::now();
    Ok(send(who, now)?)
}
