//! Ends all that is below the calling process, and waits until nothing is.
//!
//! Stop first, kill second. Whoever is stopped starts nobody, so a program that forks as fast as it can comes to its end: in
//! each pass more of it is stopped, and those that are still hold their places under whatever limit there is. Killed right
//! away they would make room for others.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use occ_proc::OsPid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;

use super::below::Below;
use crate::sys::{Waited, arrived, wait_any};

/// How long it may take to die. Who waits for a disk takes its time.
const LAST: Duration = Duration::from_secs(10);

/// When to look again whether it has.
const AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// How often one looks for another that is not stopped, at the most, before those that are stopped are killed.
const PASSES: u32 = 100;

/// A process that was there when its program had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) os_pid: OsPid,
    pub(crate) name: String,
}

/// Who was killed, when nothing is left that could be. What ends is told to `waited`.
///
/// Nobody else may wait for the children of the calling process. `signals` becomes readable when one of them ends.
pub(crate) fn take_down(signals: &OwnedFd, mut waited: impl FnMut(Waited)) -> Vec<Left> {
    let below = Below::this_process();
    let deadline = Instant::now() + LAST;
    let (mut left, mut spared) = (Vec::new(), BTreeSet::new());
    loop {
        loop {
            match wait_any() {
                Waited::Nothing => break,
                Waited::NoChildren => return left,
                other => waited(other),
            }
        }
        if Instant::now() >= deadline {
            return left;
        }
        let stopped = stop_all(&below, &mut left, &mut spared);
        for os_pid in stopped {
            // Who has ended meanwhile needs it no more.
            let _ = signal(&below, os_pid, Signal::KILL);
        }
        let mut living = below.now();
        // Looked at once: who ends between two looks would be among neither.
        living.retain(|one| below.look(*one).is_some());
        if !living.is_empty() && living.iter().all(|one| spared.contains(one)) {
            // They have become another user's, and nobody here can end them.
            return left;
        }
        let mut fds = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&AGAIN));
        while arrived(signals).is_some() {}
    }
}

/// Stops all, until there is nobody who is not stopped, and gives those that it has stopped.
fn stop_all(below: &Below, left: &mut Vec<Left>, spared: &mut BTreeSet<OsPid>) -> BTreeSet<OsPid> {
    let mut stopped = BTreeSet::new();
    for _ in 0..PASSES {
        let before = stopped.len();
        for os_pid in below.now() {
            if stopped.contains(&os_pid) || spared.contains(&os_pid) {
                continue;
            }
            let Some(seen) = below.look(os_pid) else {
                continue;
            };
            match signal(below, os_pid, Signal::STOP) {
                Ok(()) => {
                    stopped.insert(os_pid);
                    if !left.iter().any(|known| known.os_pid == os_pid) {
                        let name = seen.name;
                        left.push(Left { os_pid, name });
                    }
                }
                Err(Errno::PERM) => {
                    spared.insert(os_pid);
                }
                Err(_) => {}
            }
        }
        if stopped.len() == before {
            break;
        }
    }
    stopped
}

/// Signals a process while it is below. The number of a child is its own until it is reaped, which nobody else does; that of
/// any other may be a stranger's at any moment, so it is looked at again when a descriptor holds it.
fn signal(below: &Below, os_pid: OsPid, signal: Signal) -> rustix::io::Result<()> {
    let seen = below.look(os_pid).ok_or(Errno::SRCH)?;
    let pid = os_pid.to_rustix().ok_or(Errno::SRCH)?;
    if seen.is_child {
        return kill_process(pid, signal);
    }
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    below.look(os_pid).ok_or(Errno::SRCH)?;
    pidfd_send_signal(pidfd, signal)
}
