//! Arming what a [`Command`] starts.

use std::process::Command;

use crate::parent::Parent;
use crate::sys;

/// [`die_with_parent`](CommandExt::die_with_parent) for [`std::process::Command`].
pub trait CommandExt: sealed::Sealed {
    /// What this command starts is killed by the kernel when the calling process ends, however it ends.
    ///
    /// The calling process is the one that calls this; a spawn from a fork of it fails with `ESRCH`. More
    /// exactly it is the *thread* that calls `spawn`: when that thread ends, the child dies, though the
    /// process lives on. Spawn from a thread that outlives the child.
    ///
    /// It holds also with [`uid`](std::os::unix::process::CommandExt::uid) and `gid`, which change the user
    /// before the child is armed, but not for a program that changes privileges by being executed
    /// (set-user-ID, set-group-ID, file capabilities): the kernel disarms those. What the child starts in
    /// turn is not armed.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use occ_yeshup::CommandExt;
    ///
    /// let status = Command::new("true").die_with_parent().status()?;
    /// assert!(status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn die_with_parent(&mut self) -> &mut Self;
}

impl CommandExt for Command {
    fn die_with_parent(&mut self) -> &mut Command {
        sys::arm_before_exec(self, Parent::current());
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Command {}
}
