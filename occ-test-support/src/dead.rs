//! Dead, and how: a pidfd and poll(2).
//!
//! A zombie counts as dead: it has ended, and only its parent has not yet been told.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::poll::readable;
use crate::tree::describe;

/// One process, held by a pidfd: the kernel may reuse the number, this keeps naming the process.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    /// None if it was gone, and reaped, when we looked.
    pidfd: Option<OwnedFd>,
}

impl Watch {
    /// Watches `pid`. Take it while the process surely is the one you mean.
    ///
    /// # Panics
    ///
    /// If the kernel refuses a pidfd for any reason but that the process is gone.
    #[must_use]
    #[track_caller]
    #[doc(alias = "pidfd_open")]
    pub fn of(pid: u32) -> Watch {
        let pidfd = match pidfd_open(os_pid(pid), PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            // ENOENT while it is being reaped.
            Err(Errno::SRCH | Errno::NOENT) => None,
            Err(error) => panic!("pidfd_open({pid}): {error}"),
        };
        Watch { pid, pidfd }
    }

    /// The number it was opened by.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pidfd
            .as_ref()
            .is_some_and(|pidfd| !readable(pidfd.as_fd(), Instant::now()))
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it still lives after `limit`.
    #[track_caller]
    pub fn wait_gone(&self, limit: Duration) {
        let gone = self.ends_by(Instant::now() + limit);
        assert!(gone, "{} still lives after {limit:?}", describe(self.pid));
    }

    /// Whether it has ended by `deadline`.
    pub(crate) fn ends_by(&self, deadline: Instant) -> bool {
        self.pidfd
            .as_ref()
            .is_none_or(|pidfd| readable(pidfd.as_fd(), deadline))
    }

    /// Sends it `signal`; nothing if it is gone.
    ///
    /// # Panics
    ///
    /// If this process may not.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let Some(pidfd) = &self.pidfd else { return };
        match pidfd_send_signal(pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => panic!("sending {signal:?} to {}: {error}", self.pid),
        }
    }
}

/// Waits until the process `pid` has ended, whoever its parent is. Nothing is reaped.
///
/// # Panics
///
/// If it still lives after `limit`.
#[track_caller]
pub fn gone(pid: u32, limit: Duration) {
    Watch::of(pid).wait_gone(limit);
}

/// Waits until `child` has ended, reaps it and tells how.
///
/// # Panics
///
/// If it still lives after `limit`.
#[track_caller]
pub fn how(child: &mut Child, limit: Duration) -> ExitStatus {
    gone(child.id(), limit);
    child.wait().expect("it is our child")
}

#[track_caller]
pub(crate) fn os_pid(pid: u32) -> Pid {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.unwrap_or_else(|| panic!("{pid} is no pid"))
}
