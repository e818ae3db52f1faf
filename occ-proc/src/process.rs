//! All that is known of one process that lives.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use rustix::process::{PidfdFlags, pidfd_open};

use crate::fds::{self, Fd, FdTarget};
use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::proc_dir::ProcDir;
use crate::sockets::Sockets;
use crate::stat::{Stat, State};
use crate::usage::Usage;

/// A process, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Process {
    /// What the kernel calls it.
    pub os_pid: OsPid,
    /// What there is on everybody: name, state, parent, group, threads.
    pub stat: Stat,
    /// What it has used.
    pub usage: Usage,
    /// What it has open, by number. A zombie has nothing open any more.
    pub fds: Field<Vec<Fd>>,
    /// Its children, zombies included.
    pub children: Field<BTreeSet<OsPid>>,
    /// The file that it runs. A zombie runs none.
    pub exe: Field<OsString>,
    /// The network namespace that it is in.
    network: Field<OsString>,
    /// What tells it from any other that had or will have its number.
    identity: Option<u64>,
}

impl Process {
    /// Looks at a process, but not at its sockets and children: those are looked at for many at once.
    pub(crate) fn look(os_pid: OsPid) -> Field<Process> {
        let dir = ProcDir::open(os_pid)?;
        let identity = identity(os_pid);
        // The folder is of a process that is still there, so the number has been its own all the while.
        let stat = Stat::parse(&dir.read("stat")?).ok_or(Missing::Unsupported)?;
        Ok(Process {
            usage: Usage::of(&dir, &stat),
            fds: fds::of(&dir, os_pid, &stat),
            children: Err(Missing::Unsupported),
            exe: dir.link("exe"),
            network: dir.link("ns/net"),
            os_pid,
            stat,
            identity,
        })
    }

    /// Whether both are one process, and not one that has the number of another that has ended.
    pub(crate) fn is_the_same_as(&self, other: &Process) -> bool {
        self.os_pid == other.os_pid
            && self.stat.started == other.stat.started
            && self.identity == other.identity
    }

    /// Says of its sockets what they are.
    pub(crate) fn tell_sockets(&mut self, sockets: &Sockets, network: &Field<OsString>) {
        let elsewhere =
            matches!((&self.network, network), (Ok(theirs), Ok(ours)) if theirs != ours);
        let dir = ProcDir::open(self.os_pid);
        let is_open = |number, inode| {
            let link = dir.as_ref().map(|dir| dir.link(&format!("fd/{number}")));
            matches!(link, Ok(Ok(link)) if link.as_bytes() == format!("socket:[{inode}]").as_bytes())
        };
        for fd in self.fds.iter_mut().flatten() {
            if let FdTarget::Socket(inode, about) = &mut fd.target {
                *about = match sockets.get(*inode) {
                    _ if elsewhere => Err(Missing::Unsupported),
                    Ok(socket) => Ok(Box::new(socket.clone())),
                    // It was open before the list was made and is after it: it is of a kind that the list leaves out.
                    Err(Missing::Gone) if is_open(fd.number, *inode) => Err(Missing::Unsupported),
                    Err(missing) => Err(missing),
                };
            }
        }
    }

    pub(crate) fn has_sockets(&self) -> bool {
        let mut fds = self.fds.iter().flatten();
        fds.any(|fd| matches!(fd.target, FdTarget::Socket(..)))
    }

    /// What it has open under this number.
    pub fn fd(&self, number: i32) -> Option<&Fd> {
        self.fds.iter().flatten().find(|fd| fd.number == number)
    }

    /// True for one that has ended and that its parent has not asked about.
    pub fn is_zombie(&self) -> bool {
        self.stat.state == State::Zombie && self.stat.threads <= 1
    }
}

/// The number of the process's inode in pidfs, which is nobody else's until the machine is restarted. Before Linux 6.9 all
/// pidfds have one inode, and what tells processes apart is when they started, by the hundredth of a second.
fn identity(os_pid: OsPid) -> Option<u64> {
    let pidfd = pidfd_open(os_pid.to_rustix()?, PidfdFlags::empty()).ok()?;
    Some(rustix::fs::fstat(&pidfd).ok()?.st_ino)
}

/// The network namespace of the caller.
pub(crate) fn own_network() -> Field<OsString> {
    ProcDir::open(OsPid::own())?.link("ns/net")
}

/// One line: `process 42 (cat), sleeping, 3 descriptors`.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} ({}), {}",
            self.os_pid, self.stat.name, self.stat.state
        )?;
        match &self.fds {
            Ok(fds) => write!(f, ", {} descriptors", fds.len()),
            Err(missing) => write!(f, ", descriptors {missing}"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Running => "running",
            State::Sleeping => "sleeping",
            State::DiskSleep => "in an uninterruptible sleep",
            State::Stopped => "stopped",
            State::Traced => "stopped by a debugger",
            State::Zombie => "ended and not reaped",
            State::Dead => "dead",
            State::Other(letter) => return write!(f, "in state {letter}"),
        })
    }
}
