//! The first message to a process that one has no connection with.

use anyhow::ensure;
use occasional::{Down, Pid, os_pid, receive, self_pid, send, spawn, spawn_monitor};
use serde::{Deserialize, Serialize};

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

/// Each is a process that has talked to somebody else before, and looked at the clock: what is measured is a connection, and not the
/// first steps of a process. It waits for a message, and says when it had it.
fn send_to_new_ones(count: usize) -> anyhow::Result<()> {
    let somebody = spawn(greet, (self_pid(),))?;
    serve(|| {
        median_of(count, || {
            let (peer, _) = spawn_monitor(say_when, (somebody,))?;
            ensure!(receive::<Warm>()?.0 == peer, "another has been greeted");
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

/// It has talked to somebody.
#[derive(Serialize, Deserialize)]
struct Warm(Pid);

fn greet(host: Pid) -> anyhow::Result<()> {
    loop {
        let who: Pid = receive()?;
        send(who, who)?;
        let Warm(who) = receive()?;
        send(host, Warm(who))?;
    }
}

fn say_when(somebody: Pid) -> anyhow::Result<()> {
    send(somebody, self_pid())?;
    receive::<Pid>()?;
    send(somebody, Warm(self_pid()))?;
    clock::look();
    let who: Pid = receive()?;
    let now = clock::now();
    Ok(send(who, now)?)
}
