//! Arming the calling process.

use std::io;

use rustix::process::{Signal, parent_process_death_signal, set_parent_process_death_signal};

use crate::parent::Parent;

/// Arms the calling process: the kernel kills it when `parent` dies.
///
/// Call it in the child, before anything that matters, and on the thread that lives longest, which is the
/// main one: the kernel keeps the setting with the calling thread. It survives an exec, except of a program
/// that changes privileges. See [the crate](crate#what-it-does-not-do) for what ends it.
///
/// It may be called between fork and exec: it makes two system calls and nothing else.
///
/// # Errors
///
/// - `ESRCH` if `parent` is no longer the parent, or never was. The caller should exit: no signal will come.
/// - `EOPNOTSUPP` if the parent is outside of the caller's PID namespace. The signal is set and will come
///   when the parent dies, but whether the parent had died before cannot be seen from inside: look at
///   something else that ends with it, such as the end of file of a pipe that only it holds.
///
/// The calling process is armed after either error, too; [`disarm`] undoes it.
///
/// ```
/// use occ_yeshup::{Parent, arm, disarm, is_armed};
///
/// let parent = Parent::from_os_pid(std::os::unix::process::parent_id());
/// // The last moment to see that the parent is gone is inside `arm`. Here is too late.
/// arm(parent.expect("in the parent's PID namespace"))?;
/// assert!(is_armed()?);
/// disarm()?;
/// assert!(!is_armed()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "PR_SET_PDEATHSIG")]
#[doc(alias = "prctl")]
pub fn arm(parent: Parent) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;

    // Arm first, look second. A parent that died before the line above sends nothing, and we see a new
    // parent here; one that dies after this check finds us armed. The other order leaves a gap.
    parent.must_be_ours()
}

/// Undoes [`arm`]: the calling process outlives its parent again.
///
/// Call it on the thread that called [`arm`].
///
/// # Errors
///
/// None that prctl(2) documents for this call.
#[doc(alias = "PR_SET_PDEATHSIG")]
pub fn disarm() -> io::Result<()> {
    Ok(set_parent_process_death_signal(None)?)
}

/// Whether the calling thread is armed, as the kernel tells.
///
/// Another signal than SIGKILL, set by others, does not count: it can be caught.
///
/// # Errors
///
/// None that prctl(2) documents for this call.
#[doc(alias = "PR_GET_PDEATHSIG")]
pub fn is_armed() -> io::Result<bool> {
    Ok(parent_process_death_signal()? == Some(Signal::KILL))
}
