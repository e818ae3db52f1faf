//! What this machine, or this user, does not have of what is used, and what is done instead.

use std::fmt;

use std::os::fd::{AsFd, OwnedFd};

use occ_proc::KernelLog;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions};

use crate::containment::Containment;
use crate::control_group::{self, Purpose};
use crate::guarantee::LifetimeGuarantee;

/// Something that is used where it can be had, or can be asked for, and cannot be had here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallback {
    /// What.
    pub what: &'static str,
    /// Why not.
    pub why: String,
    /// What is done instead.
    pub instead: &'static str,
}

impl Fallback {
    /// Looks what is missing here. clone3(2) is not used, and so never missing.
    ///
    /// Control groups are made for that, and removed. A controller of version 2 that was not passed on to them, and can be, is from
    /// then on, as after a spawn that asks for a limit.
    pub fn here() -> Vec<Fallback> {
        let missing = [
            (
                "pidfd_open",
                pidfd().err(),
                "a thread waits for each child that is not the coordinator's; the coordinator asks about programs at each SIGCHLD; who is \
                 no child is signalled by number",
            ),
            (
                "waitid by pidfd",
                waitid_by_pidfd().err(),
                "children are waited for by number",
            ),
            (
                "the kernel's log",
                KernelLog::open().err().map(|missing| missing.to_string()),
                "of an out-of-memory kill there is the kernel's count",
            ),
            (
                "control groups of version 2",
                group(),
                "containment by control group is an error; the sweep is the default",
            ),
            (
                "a limit on memory",
                limit(Purpose {
                    memory: Some(1 << 30),
                    ..Purpose::NONE
                }),
                "`Builder::memory_max` is an error of the spawn",
            ),
            (
                "a limit on the processors",
                limit(Purpose {
                    cpu: Some(1000),
                    ..Purpose::NONE
                }),
                "`Builder::cpu_max` is an error of the spawn",
            ),
        ];
        let told = |(what, why, instead)| {
            let why: Option<String> = why;
            why.map(|why| Fallback { what, why, instead })
        };
        missing.into_iter().filter_map(told).collect()
    }
}

fn pidfd() -> Result<OwnedFd, String> {
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty());
    pidfd.map_err(|errno| std::io::Error::from(errno).to_string())
}

fn waitid_by_pidfd() -> Result<(), String> {
    let own = pidfd()?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::process::waitid(WaitId::PidFd(own.as_fd()), options) {
        // We are no child of our own.
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(std::io::Error::from(errno).to_string()),
    }
}

fn group() -> Option<String> {
    let levels = LifetimeGuarantee::here().levels;
    let group = levels
        .into_iter()
        .find(|(level, _)| *level == Containment::ControlGroup)?;
    group.1.err()
}

fn limit(purpose: Purpose) -> Option<String> {
    control_group::try_out(purpose).err().map(|none| none.why)
}

/// A line, for people.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot be had here ({}): {}",
            self.what, self.why, self.instead
        )
    }
}
