//! Bare idle processes, many at a time: what they weigh, and how soon they are killed.

use occasional::OsPid;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::killing::until_asleep;
use crate::machine::{Memory, Weight};
use crate::meter::serve;
use crate::raw::{die_with_parent, pair, wait};
use crate::sys::fork;

/// What idle processes weigh that have a pair of sockets each and nothing else.
pub(crate) fn weight(count: usize) -> anyhow::Result<Weight> {
    let before = Memory::settled()?;
    let all = idle_forks(count)?;
    let after = Memory::now()?;
    let os_pids: Vec<OsPid> = all
        .iter()
        .map(|child| OsPid::new(child.as_raw_pid().unsigned_abs()))
        .collect();
    let weight = Weight::of(&os_pids, before, after);
    end_all(all)?;
    weight
}

/// Idle processes killed one after the other by their parent, and then reaped, in µs.
pub(crate) fn kill_all(count: usize) -> anyhow::Result<()> {
    serve(|| {
        let all = idle_forks(count)?;
        let start = clock::now();
        end_all(all)?;
        Ok(clock::micros_since(start))
    })
}

/// Forks that wait, each with a pair of sockets. Their parent has none of those: each of them would have a copy of all before.
fn idle_forks(count: usize) -> anyhow::Result<Vec<Pid>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(fork(|| {
            die_with_parent();
            if let Ok((socket, _other)) = pair() {
                let _ = recv(socket, &mut [0; 1], RecvFlags::empty());
            }
        })?);
    }
    for child in &all {
        until_asleep(child.as_raw_pid().unsigned_abs())?;
    }
    Ok(all)
}

fn end_all(all: Vec<Pid>) -> rustix::io::Result<()> {
    for child in &all {
        kill_process(*child, Signal::KILL)?;
    }
    all.into_iter().try_for_each(wait)
}
