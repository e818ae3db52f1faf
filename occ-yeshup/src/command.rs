//! Arming what a [`Command`] starts.

use std::process::Command;
#[cfg(feature = "tree")]
use std::time::Duration;

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

    /// What this command starts, and all that it starts in turn, ends when the calling process ends, and when the command
    /// itself ends.
    ///
    /// `spawn` starts a *front*, and that is the [`Child`](std::process::Child): signals that are sent to it are passed on to
    /// the program, it ends as the program did, and when it has ended nothing is left of what the program started, in whatever
    /// session or group that was and whatever signals it ignores. [`Child::kill`](std::process::Child::kill) kills all.
    ///
    /// A program whose caller has ended, or whose front was sent SIGTERM, is sent SIGTERM and killed 5 seconds later, if it
    /// has not ended by then: see [`guard_tree_with_grace`](CommandExt::guard_tree_with_grace). What a program that ended has
    /// left is killed at once.
    ///
    /// It follows the calling *process*, and not the thread. Call it before anything else that makes use of
    /// [`pre_exec`](std::os::unix::process::CommandExt::pre_exec): what was added before is done in front and guard as well.
    /// Do not combine it with [`die_with_parent`](CommandExt::die_with_parent). To call it twice is to call it once.
    ///
    /// # Errors
    ///
    /// Of `spawn`, besides what it says of the program itself:
    ///
    /// - `ELIBACC`: the caller's own image, /proc/self/exe, cannot be executed again, and front and guard are that.
    /// - `ELIBEXEC`: /proc/self/exe is not the image that this code is part of: it is a library in another program, or the
    ///   program was started through the dynamic loader.
    /// - `ESRCH`: it is spawned by a fork of the process that has called this.
    /// - `EALREADY`: it was called twice, with two grace periods.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use occ_yeshup::CommandExt;
    ///
    /// // The shell ends at once, and what it has left in the background with it.
    /// let status = Command::new("sh").args(["-c", "sleep 1000 & exit 3"]).guard_tree().status()?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tree")]
    #[doc(alias = "PR_SET_CHILD_SUBREAPER")]
    fn guard_tree(&mut self) -> &mut Self;

    /// As [`guard_tree`](CommandExt::guard_tree), with another time between SIGTERM and SIGKILL.
    ///
    /// With none, all is killed right after SIGTERM: a program that does not handle that ends by it, and one that does has no time to.
    #[cfg(feature = "tree")]
    fn guard_tree_with_grace(&mut self, grace: Duration) -> &mut Self;
}

impl CommandExt for Command {
    fn die_with_parent(&mut self) -> &mut Command {
        sys::arm_before_exec(self, Parent::current());
        self
    }

    #[cfg(feature = "tree")]
    fn guard_tree(&mut self) -> &mut Command {
        self.guard_tree_with_grace(crate::tree::GRACE)
    }

    #[cfg(feature = "tree")]
    fn guard_tree_with_grace(&mut self, grace: Duration) -> &mut Command {
        sys::guard_before_exec(self, Parent::current(), grace);
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::process::Command {}
}
