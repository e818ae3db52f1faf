//! `teardown N`: how soon nothing is left of N processes when their coordinator is killed.
//!
//! The clock runs from the SIGKILL until none of them exists any more, as a zombie neither: the kernel kills them with the
//! coordinator, their parent; then they are the guard's, which reaps them, and ends when it has no child left. Against it:
//! as many plain forks with a pair of sockets each, which their parent kills one after the other and reaps. Both by turns, in
//! systems of their own.

use std::io::{self, Write};

use anyhow::{Context, ensure};
use occ_proc::Stat;
use occasional::{processes, receive, self_pid, spawn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};

use crate::clock;
use crate::killing::until_asleep;
use crate::left::Before;
use crate::meter::Meter;
use crate::raw_idle;
use crate::room;
use crate::stats::median;

/// Rounds of each.
const ROUNDS: usize = 7;

/// Ours may take so many times as long as those that are killed directly.
const REACH: f64 = 1.3;

pub(crate) fn run(count: usize, quick: bool) -> anyhow::Result<()> {
    room::check(count)?;
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    for round in 0..if quick { 1 } else { ROUNDS } {
        let before = Before::now()?;
        ours.push(by_the_coordinators_death(count)?);
        before.nothing_is_left()?;
        direct.push(directly(count)?);
        before.nothing_is_left()?;
        writeln!(
            io::stdout(),
            "teardown: round {}: {:.1} ms; killed directly {:.1} ms",
            round + 1,
            ours[round] / 1e3,
            direct[round] / 1e3
        )?;
    }
    let (ours, direct) = (median(ours), median(direct));
    let ratio = ours / direct;
    writeln!(
        io::stdout(),
        "teardown: {count} processes: {:.1} ms; killed directly {:.1} ms; ratio {ratio:.2}; nothing is left",
        ours / 1e3,
        direct / 1e3
    )?;
    ensure!(
        quick || ratio <= REACH,
        "it takes {ratio:.2} times as long, and may take {REACH}"
    );
    Ok(())
}

/// In µs.
fn by_the_coordinators_death(count: usize) -> anyhow::Result<f64> {
    let system = occasional::start()?;
    for number in 0..count {
        spawn(idle, ()).with_context(|| format!("after {number} processes"))?;
    }
    let listed = processes()?.into_iter();
    let listed = listed.filter(|info| info.pid != self_pid());
    let mut all = Vec::with_capacity(count);
    for os_pid in listed.filter_map(|info| info.os_pid) {
        until_asleep(os_pid.get())?;
        all.push((os_pid, Stat::of(os_pid)?.started));
    }
    ensure!(
        all.len() == count,
        "{} processes, and not {count}",
        all.len()
    );
    let coordinator = system.coordinator().context("no coordinator")?;
    let guard = Stat::of(coordinator)?.parent.context("no guard")?;
    let guard = pidfd_open(guard.to_rustix().context("no pid")?, PidfdFlags::empty())?;

    let start = clock::now();
    kill_process(coordinator.to_rustix().context("no pid")?, Signal::KILL)?;
    poll(&mut [PollFd::new(&guard, PollFlags::IN)], None)?;
    let took = clock::micros_since(start);

    // The guard has ended, so all were reaped: nobody else is there who would have done that so soon.
    // Their numbers may be others' by now, on a machine where much is started.
    for (os_pid, started) in all {
        let left = Stat::of(os_pid).ok().filter(|stat| stat.started == started);
        ensure!(
            left.is_none(),
            "process {os_pid} is left, after the guard: {left:?}"
        );
    }
    system.stop();
    Ok(took)
}

fn idle() -> anyhow::Result<()> {
    Ok(receive()?)
}

/// In µs.
fn directly(count: usize) -> anyhow::Result<f64> {
    let system = occasional::start()?;
    let killer = Meter::start(raw_idle::kill_all, (count,))?;
    let took = killer.round()?;
    killer.end()?;
    system.stop();
    Ok(took)
}
