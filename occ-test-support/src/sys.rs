//! All of the unsafe code: what runs between fork and exec, and fds known by number.
#![expect(
    unsafe_code,
    reason = "pre_exec, OwnedFd::from_raw_fd and setresuid are unsafe"
)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Weak;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{
    Signal, getpid, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid,
};

/// Lets what `command` starts inherit `fd`.
pub(crate) fn keep_open(command: &mut Command, fd: Weak<OwnedFd>) {
    let clear = move || {
        let Some(fd) = fd.upgrade() else {
            return Err(Errno::BADF.into());
        };
        let cleared = fcntl_setfd(fd.as_fd(), FdFlags::empty());
        // Not dropped: were it the last reference in this copy of memory, that would close the fd.
        mem::forget(fd);
        Ok(cleared?)
    };
    // SAFETY: after fork only async-signal-safe work is allowed. Upgrading is an atomic increment; the rest
    // is one system call. Nothing allocates, locks or drops.
    unsafe { command.pre_exec(clear) };
}

/// Has the kernel kill what `command` starts when the thread that starts it ends.
pub(crate) fn die_with_spawner(command: &mut Command) {
    let parent = getpid();
    let arm = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Armed first, looked second: a parent that died before the line above sends nothing.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(Errno::SRCH))
        }
    };
    // SAFETY: after fork only async-signal-safe work is allowed: these are two system calls.
    unsafe { command.pre_exec(arm) };
}

/// Makes what `command` starts the leader of a new session with its stdin as controlling terminal.
pub(crate) fn lead_session_on_stdin(command: &mut Command) {
    let lead = || {
        setsid()?;
        Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
    };
    // SAFETY: after fork only async-signal-safe work is allowed: these are two system calls.
    unsafe { command.pre_exec(lead) };
}

/// Makes the calling process, all its threads, one of another user.
#[doc(alias = "setresuid")]
pub(crate) fn set_user(uid: u32) -> io::Result<()> {
    // SAFETY: it takes any numbers.
    match unsafe { libc::setresuid(uid, uid, uid) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes ownership of an fd that was inherited under this number, and makes it close-on-exec.
///
/// The caller has seen that the number refers to what the parent passed, and takes it once.
pub(crate) fn take_inherited(number: RawFd) -> OwnedFd {
    // SAFETY: the fd must be open and owned by nobody else. The caller compared what it refers to with what
    // the parent passed for us to own, and hands out each number once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).expect("the fd is open");
    fd
}
