//! `hold N`: N idle processes under a limit of 20,000 open files. What each weighs, and what one too many is told.
//!
//! What a process weighs is:
//!
//! - *user*: the shares (Pss) that the processes have in the pages that are mapped, and what the coordinator has more than
//!   before; each page is counted once in all, however many share it.
//! - *kernel*: what the kernel's stacks, page tables and slab have grown by, in /proc/meminfo. It is counted for the whole
//!   machine; but files that are read, and programs that come and go, hardly move it, if the processes are many. Others that come and
//!   go by the thousand do.
//!
//! The limit is for both together: 110 KiB, or 1.11 times what a plain fork with a pair of sockets weighs, in the same way and the same
//! run. 110 was set where a real process of a Rust program, with a socket, had 99 by another measure; but what the kernel has for a
//! process is not the same on two machines, and a plain fork alone has from 112 to 137 by this one. What lasts is the ratio.
//!
//! So that it is of like with like, the forks are as many, and of a process of the same system. Where the kernel puts a program and its
//! libraries in memory is drawn anew for each system, and says how many page tables each of its processes has: one more or less is 4 KiB.
//! And they are weighed twice, and the second time counts: slab is not all given back at an end, and is there for the next. So it was for
//! the processes, which come after them.
//!
//! One more figure stands beside: by how much the machine's available memory has shrunk. It has everything in it, and
//! is worth little: others have their share, and so has memory that is in no figure of /proc/meminfo, neither used nor
//! free, of which there was a gigabyte before and a tenth of that after. Twice the same processes took 57 and 102 KiB each.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anyhow::{Context, bail, ensure};
use occ_proc::{Stat, State};
use occasional::{Down, ExitReason, OsPid, Pid, SpawnError};
use occasional::{kill, processes, receive, receive_where, self_pid, send, spawn, spawn_monitor};

use crate::clock;
use crate::killing::until_asleep;
use crate::left::Before;
use crate::machine::{Memory, Weight, open_fds, pss};
use crate::raw_idle;
use crate::room;

/// The limit on open files that N processes are to fit under, if they are not more than that anyhow.
const OPEN_FILES: u64 = 20_000;

/// KiB that a process may weigh.
const REACH: f64 = 110.0;

/// What it may weigh where a plain fork does.
const RATIO: f64 = 1.11;

/// How many are asked whether they live.
const ASKED: usize = 100;

pub(crate) fn run(count: usize, quick: bool) -> anyhow::Result<()> {
    room::check(count)?;
    let needed = count as u64 + room::SPARE;
    let limit = if quick {
        needed
    } else {
        needed.max(OPEN_FILES)
    };
    let limit = room::limit_open_files(limit)?;
    say(&format!(
        "{count} processes under a limit of {limit} open files"
    ))?;

    let before = Before::now()?;
    let (weight, bare) = hold(count)?;
    before.nothing_is_left()?;
    say("nothing is left")?;
    ensure!(
        quick || weight <= REACH || weight <= RATIO * bare,
        "a process weighs {weight:.1} KiB, and may weigh {REACH}, or {RATIO} of a plain fork"
    );
    Ok(())
}

/// KiB that each weighs, and a plain fork.
fn hold(count: usize) -> anyhow::Result<(f64, f64)> {
    let system = occasional::start()?;
    let coordinator = system.coordinator().context("no coordinator")?;
    // The first few bring the zygote and the coordinator to the state that lasts.
    for _ in 0..10 {
        end(spawn_monitor(idle, ())?.0)?;
    }
    let each = |kib: u64| kib as f64 / count as f64;
    weigh_bare(count)?;
    let bare = weigh_bare(count)?;
    say(&format!(
        "a plain fork with a pair of sockets: {} KiB each",
        sum(bare, count)
    ))?;
    let bare = each(bare.user + bare.kernel);

    let user_before = pss(coordinator)?;
    let fds_before = open_fds(coordinator)?;
    let before = Memory::settled()?;

    let start = clock::now();
    let first = start_all(count)?;
    say(&format!("started in {:.2} s", seconds_since(start)))?;

    let after = Memory::now()?;
    let fds = open_fds(coordinator)? - fds_before;
    let all: Vec<OsPid> = first.iter().map(|(_, os_pid)| *os_pid).collect();
    let of_coordinator = pss(coordinator)?.saturating_sub(user_before);
    let mut weight = Weight::of(&all, before, after)?;
    weight.user += of_coordinator;
    let ours = each(weight.user + weight.kernel);
    say(&format!(
        "{} KiB each, {:.1} of it the coordinator's",
        sum(weight, count),
        each(of_coordinator),
    ))?;
    say(&format!("{:.2} of a plain fork", ours / bare))?;
    let machine = before.available.saturating_sub(after.available);
    say(&format!(
        "the machine's available memory: {:.1} KiB each",
        each(machine)
    ))?;
    say(&format!(
        "descriptors of the coordinator for each: {:.3}",
        fds as f64 / count as f64
    ))?;

    let more = fill(count)?;
    check_alive(&first)?;
    say("all of the first live")?;
    replace_one(more)?;
    say("one is ended, and one more can be spawned")?;

    let start = clock::now();
    system.stop();
    say(&format!("stopped in {:.2} s", seconds_since(start)))?;
    Ok((ours, bare))
}

/// What so many plain forks weigh, of a process of this system.
fn weigh_bare(count: usize) -> anyhow::Result<Weight> {
    spawn_monitor(raw_idle::weight, (count,))?;
    let down: Down = receive()?;
    let ExitReason::Value(weight) = down.reason else {
        bail!("forks could not be weighed: {}", down.reason);
    };
    Ok(weight.get()?)
}

fn sum(Weight { user, kernel }: Weight, count: usize) -> String {
    let each = |kib: u64| kib as f64 / count as f64;
    let (all, user, kernel) = (each(user + kernel), each(user), each(kernel));
    format!("{all:.1} = user {user:.1} + kernel {kernel:.1}")
}

/// Answers whoever asks, and else waits.
fn idle() -> anyhow::Result<()> {
    loop {
        let who: Pid = receive()?;
        send(who, self_pid())?;
    }
}

/// Gives them all, when all wait.
fn start_all(count: usize) -> anyhow::Result<Vec<(Pid, OsPid)>> {
    for number in 0..count {
        spawn(idle, ()).with_context(|| format!("after {number} processes"))?;
    }
    let all: Vec<(Pid, OsPid)> = listed()?;
    ensure!(
        all.len() == count,
        "{} processes are there, and not {count}",
        all.len()
    );
    for (_, os_pid) in &all {
        until_asleep(os_pid.get())?;
    }
    Ok(all)
}

/// All processes but this program.
fn listed() -> anyhow::Result<Vec<(Pid, OsPid)>> {
    let all = processes()?.into_iter();
    Ok(all
        .filter(|info| info.pid != self_pid())
        .filter_map(|info| Some((info.pid, info.os_pid?)))
        .collect())
}

/// Spawns until there is no room, and gives the last that there was room for.
fn fill(count: usize) -> anyhow::Result<Pid> {
    let mut last = None;
    // Every process has a descriptor, so it ends.
    for more in 0.. {
        match spawn(idle, ()) {
            Ok(pid) => last = Some(pid),
            Err(error @ SpawnError::TooManyProcesses { .. }) => {
                ensure!(
                    error.to_string().contains("open files"),
                    "it does not speak of open files: {error}"
                );
                say(&format!("after {more} more: {error}"))?;
                break;
            }
            Err(error) => bail!(
                "after {} processes: {:#}, and not that there are too many",
                count + more,
                anyhow::Error::from(error)
            ),
        }
    }
    last.context("there was no room for a single one more")
}

/// Each is there, and no zombie; and some are asked.
fn check_alive(all: &[(Pid, OsPid)]) -> anyhow::Result<()> {
    let now: BTreeSet<(Pid, OsPid)> = listed()?.into_iter().collect();
    for one in all {
        ensure!(now.contains(one), "{} is not there any more", one.0);
        let stat = Stat::of(one.1).with_context(|| format!("{}", one.0))?;
        ensure!(stat.state != State::Zombie, "{} has ended", one.0);
    }
    for (pid, _) in all.iter().step_by(all.len().div_ceil(ASKED)) {
        send(*pid, self_pid())?;
        let answer = receive_where(|answer: &Pid| answer == pid);
        answer.with_context(|| format!("{pid} does not answer"))?;
    }
    Ok(())
}

/// Where all is full, there is room for one when one has ended, and for one only.
fn replace_one(last: Pid) -> anyhow::Result<()> {
    occasional::monitor(last)?;
    end(last)?;
    spawn(idle, ()).context("when one had ended")?;
    match spawn(idle, ()) {
        Err(SpawnError::TooManyProcesses { .. }) => Ok(()),
        other => bail!("where there was room for one, another: {other:?}"),
    }
}

/// Ends one that is monitored.
fn end(pid: Pid) -> anyhow::Result<()> {
    kill(pid)?;
    let down: Down = receive()?;
    ensure!(down.pid == pid, "another has ended: {down}");
    Ok(())
}

fn seconds_since(start: u64) -> f64 {
    clock::micros_since(start) / 1e6
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "hold: {line}")
}
