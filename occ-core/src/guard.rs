//! The guard: a process between the host and the coordinator, so that nothing of a system is left, whoever is killed.
//!
//! ```text
//! host
//! └─ guard        starts the coordinator, and waits for its end and for the host's
//!    └─ central   …
//!    └─ what processes had left, once the coordinator has been killed
//! ```
//!
//! The kernel kills each process of a system with the coordinator, because they have armed themselves. What they forked and
//! executed themselves has not; it loses its parent, and comes to the nearest subreaper above: here. So the guard outlives
//! both of those that it stands between, kills what comes, and ends.
//!
//! The coordinator is a fork of it, and both have their descriptors in one table (`CLONE_FILES`, clone(2)). So the sockets of a coordinator that
//! has been killed are open until the guard closes them. The kernel closes what a process has open before it kills its
//! children: without this they would all wake up first, to be told that the coordinator is gone, and so they are killed asleep.
//!
//! | who dies | what the guard does |
//! |---|---|
//! | the coordinator, or it ends | kills what has come, until there is nothing, and ends |
//! | the host | kills the coordinator, and the same |
//! | the guard | nothing any more: the coordinator is armed against it, and all processes with it; what they had left survives |

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use occ_sck::{Deadline, Packet, Socket};
use occ_spawn::OsPid;
use occ_spawn::entry::{Context, Descriptor, End};
use occ_spawn::kernel::{self, Whom};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getppid};

use crate::central::{self, Settings};
use crate::control_group;
use crate::descent::{Children, Mark, signal_child, signal_if, stop_all};
use crate::protocol::kind;
use crate::sys;

/// How long what is left may take to die.
const LAST: Duration = Duration::from_secs(10);

/// How often one looks whether the host lives, where it cannot be watched.
const LOOK: Duration = Duration::from_millis(20);

/// When to look again whether it has.
const AGAIN: Duration = Duration::from_millis(5);

pub(crate) const ENTRY: &Descriptor = &Descriptor::new(|| "guard", main);

fn main(context: Context) -> End {
    let lifeline = context.control;
    match guard(context) {
        Ok(()) => End::value(&()),
        Err(why) => {
            say_not_ready(lifeline, &why);
            End::chain(vec![why])
        }
    }
}

fn say_not_ready(lifeline: &Socket, why: &String) {
    if let Ok(packet) = Packet::of(kind::NOT_READY, why) {
        let _ = packet.send_whole(lifeline, &[], Deadline::Now);
    }
}

fn guard(mut context: Context) -> Result<(), String> {
    let failed = |op: &'static str| move |error: &dyn std::fmt::Display| format!("{op}: {error}");
    let mut settings: Settings = context.take_args().map_err(|e| failed("settings")(&e))?;
    let host = settings.host.to_rustix().ok_or("the host has no pid")?;
    // Where there is none, one looks who the parent is, again and again.
    let host_ended = rustix::process::pidfd_open(host, PidfdFlags::empty()).ok();
    // From here on the host's end is seen, and no longer felt; and if it had ended before, it is not our parent any more.
    occ_yeshup::disarm().map_err(|e| failed("prctl(PR_SET_PDEATHSIG)")(&e))?;
    if getppid() != Some(host) {
        return Err("the host has ended".to_owned());
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| failed("prctl(PR_SET_CHILD_SUBREAPER)")(&e))?;
    let _ = rustix::thread::set_name(c"occ-guard");
    let signals = sys::child_signals().map_err(|e| failed("signalfd")(&e))?;

    settings.parent = OsPid::own();
    let line = context
        .fds
        .into_iter()
        .next()
        .ok_or("the host's socket did not come")?;
    let control = context.control;
    let central = sys::fork_with_descriptors(line, |line| central::main(&settings, line, control))?;
    // `kill -9` of a job, and what timeout(1) does, is for all of a process group. One of us has to be left; the coordinator and
    // all others stay in the host's, which the terminal is about. A group of its own in the same session would not do: with its
    // end the host's might become an orphaned one, and the kernel sends SIGHUP to all of such a group if one in it is stopped
    // (setpgid(2)).
    let _ = rustix::process::setsid();

    wait_for_the_end(central, &signals, host, host_ended.as_ref());
    // Whoever has a connection with the coordinator is told now that it is gone: the host, and nobody else who lives.
    std::mem::forget(host_ended);
    let signals = sys::close_all_but(signals);
    end_what_is_left(settings.incarnation, &signals);
    // The coordinator removes them itself, unless it was killed.
    control_group::remove_all_of(settings.incarnation);
    Ok(())
}

/// Waits for the coordinator's end, and sees to it when the host has ended.
fn wait_for_the_end(central: OsPid, signals: &impl AsFd, host: Pid, host_ended: Option<&OwnedFd>) {
    let mut host_lives = true;
    loop {
        match kernel::ended(Whom::OsPid(central), true) {
            Ok(None) => {}
            _ => return,
        }
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        let watched = host_ended.filter(|_| host_lives);
        fds.extend(watched.map(|host| PollFd::new(host, PollFlags::IN)));
        let limit = match host_ended {
            None if host_lives => Deadline::after(LOOK).timespec(),
            _ => None,
        };
        let _ = rustix::event::poll(&mut fds, limit.as_ref());
        let seen = fds.get(1).is_some_and(|host| !host.revents().is_empty());
        if host_lives && (seen || host_ended.is_none() && getppid() != Some(host)) {
            host_lives = false;
            let _ = signal_child(central, Signal::KILL);
        }
        drop(fds);
        sys::signalled_children(signals);
    }
}

/// Whatever comes now has no process of the system to belong to any more.
fn end_what_is_left(incarnation: u32, signals: &OwnedFd) {
    let (children, own) = (Children::new(), OsPid::own());
    let is_left = |os_pid: OsPid| os_pid != own && Mark::of(os_pid, incarnation).is_some();
    let deadline = Instant::now() + LAST;
    loop {
        sys::reap_all();
        let here = children.now();
        if here.is_empty() || Instant::now() >= deadline {
            return;
        }
        for os_pid in &here {
            let _ = signal_child(*os_pid, Signal::STOP);
        }
        if all_are_dying(&here, signals) {
            continue;
        }
        let mut stopped = BTreeMap::new();
        stop_all(is_left, &mut stopped);
        for os_pid in stopped.keys() {
            signal_if(*os_pid, || is_left(*os_pid), Signal::KILL);
        }
        // Also those without a mark, or with one of a system within.
        let sent = here
            .iter()
            .filter(|left| signal_child(**left, Signal::KILL) != Err(Errno::PERM));
        if sent.count() == 0 {
            // They have become another user's, and nobody here can end them.
            return;
        }
        sys::wait_for_children(signals, AGAIN);
    }
}

/// Reaps for as long as one of them after the other dies; true if all have. Most are processes, which the kernel has killed with
/// the coordinator, and to look through all of /proc for others takes longer than their deaths. That others die meanwhile says
/// nothing: who starts them may live, and is not here.
fn all_are_dying(here: &[OsPid], signals: &OwnedFd) -> bool {
    let mut left: HashSet<OsPid> = here.iter().copied().collect();
    while !left.is_empty() {
        sys::wait_for_children(signals, AGAIN);
        let before = left.len();
        for reaped in sys::reap_all() {
            left.remove(&reaped);
        }
        if left.len() == before {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use occ_test_support::isolated;

    use super::*;

    fn start(program: &str, arg: &str) -> OsPid {
        let mut command = Command::new(program);
        #[expect(clippy::zombie_processes, reason = "that is what it is for")]
        let child = command.arg(arg).spawn().expect("a program");
        OsPid::new(child.id())
    }

    #[test]
    fn that_others_die_does_not_say_that_these_do() {
        isolated!(|| {
            let signals = sys::child_signals().expect("signalfd");
            let stays = start("sleep", "1000");
            let ends = start("true", "");
            while kernel::ended(Whom::OsPid(ends), false).is_ok_and(|ended| ended.is_none()) {
                std::thread::yield_now();
            }
            assert!(!all_are_dying(&[stays], &signals));
            signal_child(stays, Signal::KILL).expect("a child");
            while !all_are_dying(&[stays], &signals) {}
            sys::reap_all();
        });
    }
}
