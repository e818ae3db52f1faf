//! System calls that a library must survive its users making, and that safe Rust has not.
#![expect(unsafe_code, reason = "that is what they are")]

use std::io;
use std::os::fd::RawFd;

/// Ends the process without a word.
#[doc(alias = "_exit")]
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any status.
    unsafe { libc::_exit(code) }
}

/// fork(2); `None` in the child, which may go on as a process with one thread may, if the caller had one; else only with
/// system calls.
///
/// # Panics
///
/// If the kernel refuses.
#[must_use]
pub fn fork() -> Option<u32> {
    // SAFETY: glibc makes its own locks usable in the child; what else a child does, its test answers for.
    match unsafe { libc::fork() } {
        0 => None,
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        pid => Some(pid.unsigned_abs()),
    }
}

/// Waits for a child of the caller's own, and gives its wait status.
///
/// # Panics
///
/// If it is none.
#[doc(alias = "waitpid")]
pub fn wait_for(pid: u32) -> i32 {
    let (pid, mut status) = (pid.cast_signed(), 0);
    // SAFETY: waitpid writes the status it is given.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "{}", io::Error::last_os_error());
    status
}

/// Lives until a signal ends it.
#[doc(alias = "pause")]
pub fn stay() -> ! {
    loop {
        // SAFETY: pause has no arguments.
        unsafe { libc::pause() };
    }
}

/// Closes a descriptor by its number.
///
/// # Panics
///
/// If it is not open.
pub fn close(fd: RawFd) {
    // SAFETY: whoever owns it does not use it any more, by the word of the test.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

/// Moves the calling process, which has one thread, into a network namespace of its own.
///
/// # Errors
///
/// What unshare(2) says: most users may not.
pub fn own_network() -> io::Result<()> {
    // SAFETY: a network namespace has nothing to do with memory or descriptors.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
