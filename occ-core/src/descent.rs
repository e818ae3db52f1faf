//! Who descends from whom, when parents are long gone.
//!
//! A process of a system carries a mark: its soft limit on file locks, which Linux does not enforce, and which all that it
//! forks and executes inherits, in any session and past any number of dead parents. In a system within a process the mark
//! of that process is kept as the soft limit on resident memory, which is not enforced either.
//!
//! A descendant that sets these limits itself belongs to nobody that can be told, and ends with the system.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use occ_proc::{Stat, State};
use occ_spawn::OsPid;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal};

/// How often all of /proc is looked through for one more, at the most.
const PASSES: u32 = 10;

/// A mark: of which system, and of which process of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) incarnation: u32,
    /// The lower half of the process's number: four thousand million processes later it comes again.
    pub(crate) process: u32,
}

impl Mark {
    /// The mark that a process carries, and the one that those carry which the system descends from that gave it the first.
    pub(crate) fn both(os_pid: OsPid) -> [Option<Mark>; 2] {
        let marks = occ_proc::unenforced_limits(os_pid).unwrap_or_default();
        marks.map(|bits| bits.map(Mark::from_bits))
    }

    /// That of the two that is of this system.
    pub(crate) fn of(os_pid: OsPid, incarnation: u32) -> Option<Mark> {
        let marks = Mark::both(os_pid).into_iter().flatten();
        marks
            .into_iter()
            .find(|mark| mark.incarnation == incarnation)
    }

    fn from_bits(bits: u64) -> Mark {
        Mark {
            incarnation: (bits >> 32) as u32,
            process: bits as u32,
        }
    }

    pub(crate) fn bits(self) -> u64 {
        (u64::from(self.incarnation) << 32) | u64::from(self.process)
    }
}

/// The list of the calling process's children, which must have one thread.
#[derive(Debug)]
pub(crate) struct Children {
    /// Nothing where the kernel has no such list.
    list: Option<OwnedFd>,
}

impl Children {
    pub(crate) fn new() -> Children {
        let path = format!("/proc/self/task/{}/children", std::process::id());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Children {
            list: openat(CWD, path, flags, Mode::empty()).ok(),
        }
    }

    pub(crate) fn now(&self) -> Vec<OsPid> {
        match self.list.as_ref().map(read_all) {
            Some(Ok(text)) => String::from_utf8_lossy(&text)
                .split_ascii_whitespace()
                .filter_map(|number| number.parse().ok().map(OsPid::new))
                .collect(),
            _ => children_by_stat(),
        }
    }
}

fn read_all(list: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    /// Longer than any number: the kernel gives no part of one, so a buffer with as much room left has the end.
    const ROOM: usize = 32;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match rustix::io::pread(list, &mut buffer, text.len() as u64) {
            Ok(read) => {
                text.extend_from_slice(&buffer[..read]);
                if read + ROOM <= buffer.len() {
                    return Ok(text);
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn children_by_stat() -> Vec<OsPid> {
    let own = OsPid::own();
    let all = occ_proc::processes().unwrap_or_default();
    let is_ours = |os_pid: &OsPid| Stat::of(*os_pid).is_ok_and(|stat| stat.parent == Some(own));
    all.into_iter().filter(is_ours).collect()
}

/// The name of a process that has not ended. One whose main thread has, and others have not, lives.
pub(crate) fn name_of(os_pid: OsPid) -> Option<String> {
    let stat = Stat::of(os_pid).ok()?;
    (stat.state != State::Zombie || stat.threads > 1).then_some(stat.name)
}

/// Signals a child of the caller's, which nobody else reaps: the number is its own.
pub(crate) fn signal_child(os_pid: OsPid, signal: Signal) -> rustix::io::Result<()> {
    let pid = os_pid.to_rustix().ok_or(Errno::SRCH)?;
    rustix::process::kill_process(pid, signal)
}

/// Signals a process that `is_one` is true of, and stays so while there is a descriptor for it: the number may be
/// another's at any moment.
pub(crate) fn signal_if(os_pid: OsPid, is_one: impl Fn() -> bool, signal: Signal) -> bool {
    if !is_one() {
        return false;
    }
    let Some(pid) = os_pid.to_rustix() else {
        return false;
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => is_one() && rustix::process::pidfd_send_signal(pidfd, signal).is_ok(),
        // Where there are none, the moment between the look and the signal is all that can be had.
        Err(Errno::NOSYS | Errno::PERM) => rustix::process::kill_process(pid, signal).is_ok(),
        Err(_) => false,
    }
}

/// Stops all processes that `is_one` is true of, until there is none that is not stopped, and adds them to `stopped`. Whoever
/// is stopped starts no other.
pub(crate) fn stop_all(is_one: impl Fn(OsPid) -> bool, stopped: &mut BTreeMap<OsPid, String>) {
    for _ in 0..PASSES {
        let before = stopped.len();
        for os_pid in occ_proc::processes().unwrap_or_default() {
            if !stopped.contains_key(&os_pid)
                && signal_if(os_pid, || is_one(os_pid), Signal::STOP)
                && let Some(name) = name_of(os_pid)
            {
                stopped.insert(os_pid, name);
            }
        }
        if stopped.len() == before {
            break;
        }
    }
}
