//! A process killed: how soon its watcher knows.

use anyhow::Context;
use occasional::{Down, os_pid, receive, spawn_monitor};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::meter::{Meter, serve};
use crate::place::{Cpus, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave, median_of};

/// Raw is what nobody can do without: the parent learns of the end from the kernel, and tells the watcher, which is
/// another process, with one message. The two are measured each for itself, and added.
pub(crate) fn down(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start()?;
    let count = scale.count(100);
    let ours = Meter::start(kill_to_down, (count,))?;
    let kill = Meter::start(raw::kill_poll_wait, (count,))?;
    let message = Meter::start(raw::one_message, (scale.count(1_000), cpus.a))?;
    let [ours, kill, message] = interleave(scale, [ours, kill, message])?;
    Ok(Measured {
        ours,
        raw: kill + message,
        peers: Peers::default(),
    })
}

/// The watcher kills, by kill(2) and not through the system, so one clock and one process see both ends.
fn kill_to_down(count: usize) -> anyhow::Result<()> {
    serve(|| {
        median_of(count, || {
            let (victim, monitor) = spawn_monitor(wait, ())?;
            let os_pid = os_pid(victim)?.get();
            let pid = i32::try_from(os_pid)
                .ok()
                .and_then(Pid::from_raw)
                .context("no OS pid")?;
            until_asleep(os_pid)?;

            let start = clock::now();
            kill_process(pid, Signal::KILL)?;
            let down: Down = receive()?;
            let took = clock::micros_since(start);
            anyhow::ensure!(
                down.monitor == monitor,
                "another one ended: {}",
                down.reason
            );
            Ok(took)
        })
    })
}

fn wait() -> anyhow::Result<()> {
    Ok(receive()?)
}

/// Waits until a process waits. It sends no word of that, because a connection with it would be one more thing to
/// be ended; so the kernel is asked, again and again.
pub(crate) fn until_asleep(os_pid: u32) -> anyhow::Result<()> {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{os_pid}/stat"))?;
        // The state follows the name, which may hold anything, a closing parenthesis too.
        if stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" S"))
        {
            return Ok(());
        }
        rustix::thread::sched_yield();
    }
}
