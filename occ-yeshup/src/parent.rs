//! Whose death is meant.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, getppid};

/// A process, as the parent of what it is about to start.
///
/// Take it in the parent, *before* the fork. A child that asked who its parent is could already have been
/// given another one, and would then be armed against the wrong death.
///
/// ```
/// use occ_yeshup::Parent;
///
/// let me = Parent::current();
/// assert_eq!(Parent::from_os_pid(std::process::id()), Some(me));
/// assert_eq!(me.os_pid(), std::process::id());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parent(Pid);

impl Parent {
    /// The calling process.
    #[must_use]
    #[doc(alias = "getpid")]
    pub fn current() -> Parent {
        Parent(getpid())
    }

    /// The process with this number, as a child that was executed anew learns it from its parent: by an
    /// argument, an environment variable or a message. `None` for what cannot be one, such as 0.
    #[must_use]
    pub fn from_os_pid(pid: u32) -> Option<Parent> {
        i32::try_from(pid).ok().and_then(Pid::from_raw).map(Parent)
    }

    /// The kernel's number of the process, in the PID namespace in which it was taken.
    #[must_use]
    pub fn os_pid(self) -> u32 {
        self.0.as_raw_pid().unsigned_abs()
    }

    #[cfg(feature = "tree")]
    pub(crate) fn pid(self) -> Pid {
        self.0
    }

    /// Errs if the calling process has another parent now, or one that cannot be seen.
    pub(crate) fn must_be_ours(self) -> io::Result<()> {
        match getppid() {
            Some(parent) if parent == self.0 => Ok(()),
            Some(_other) => Err(Errno::SRCH.into()),
            // 0: the parent is outside of our PID namespace. It would be 0 just the same had it died and
            // somebody else out there adopted us.
            None => Err(Errno::OPNOTSUPP.into()),
        }
    }
}
