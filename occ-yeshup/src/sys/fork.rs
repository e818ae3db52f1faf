//! fork(2), and what a fork becomes.
#![expect(unsafe_code, reason = "raw clone(2), execve(2), execvp(3), _exit(2)")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use super::descriptors::put;

unsafe extern "C" {
    /// The C library's environment.
    #[link_name = "environ"]
    static ENVIRON: *const *const c_char;
}

/// Forks. `None` in the child.
///
/// fork(3) runs the handlers of pthread_atfork(3) and takes locks; this is nothing but the system call, so that a fork of a
/// process with threads may do it.
///
/// # Safety
///
/// The process must have one thread, or be a fork that does nothing but system calls.
#[doc(alias = "clone")]
pub(crate) unsafe fn fork() -> io::Result<Option<Pid>> {
    // glibc keeps the thread's id in memory. With these flags the kernel writes the new one there.
    let tid = rustix::thread::get_clear_child_tid_address()
        .ok()
        .flatten()
        .map_or(ptr::null_mut(), |address| address.as_ptr());
    let mut flags = libc::SIGCHLD;
    if !tid.is_null() {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    let null = ptr::null_mut::<c_void>();
    // SAFETY: without CLONE_VM the child has a copy of everything, and goes on here as after a fork(2). A null stack means
    // the caller's own. The order of the last two depends on the architecture (clone(2)); the one that is not `tid` is not
    // looked at without CLONE_SETTLS.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_ulong,
            null,
            null,
            tid,
            tid,
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(i32::try_from(pid).ok().and_then(Pid::from_raw)),
    }
}

/// Forks a process that has one thread. `None` in the child.
pub(crate) fn fork_alone() -> io::Result<Option<Pid>> {
    // A directory has two links, and this one has one more for each thread.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(io::Error::other("this process has several threads"));
    }
    // SAFETY: there is one thread, which is this.
    unsafe { fork() }
}

/// Makes a fork our own image again, called `name`, with these descriptors from `first` on and nothing at 0 to 2. It ends if
/// that fails.
///
/// Between fork and exec: system calls alone.
pub(super) fn become_image<const N: usize>(name: &CStr, fds: [&dyn AsFdDyn; N], first: RawFd) -> ! {
    let _ = try_become_image(name, fds, first);
    end(1)
}

/// [`AsFd`], of whatever type.
pub(super) trait AsFdDyn {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdDyn for T {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

fn try_become_image<const N: usize>(
    name: &CStr,
    fds: [&dyn AsFdDyn; N],
    first: RawFd,
) -> io::Result<()> {
    // Out of the way of the numbers that they will have.
    let mut high = [const { None }; N];
    for (high, fd) in high.iter_mut().zip(fds) {
        *high = Some(rustix::io::fcntl_dupfd_cloexec(fd.fd(), 10)?);
    }
    // The program's own are not to be held: whoever reads what it writes waits for the last writer.
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        for number in 0..=2 {
            put(&null, number)?;
        }
    } else if let Some(Some(any)) = high.first() {
        // In a root without devices: whatever can neither be read nor written by accident.
        for number in 0..=2 {
            put(any, number)?;
        }
    }
    for (number, fd) in (first..).zip(&high) {
        if let Some(fd) = fd {
            put(fd, number)?;
        }
    }
    let argv = [name.as_ptr(), ptr::null()];
    // SAFETY: the C library's variable is always there. `std` keeps others from changing it while it forks.
    let environment = unsafe { (&raw const ENVIRON).read() };
    // SAFETY: the path is a C string; argv and the environment are arrays of C strings with a null at the end.
    unsafe { libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), environment) };
    Err(io::Error::last_os_error())
}

/// Makes the process a program, which is looked for in `PATH`. It returns if that fails.
#[doc(alias = "execvp")]
pub(crate) fn become_program(command: &[CString]) -> io::Error {
    let mut argv: Vec<_> = command.iter().map(|argument| argument.as_ptr()).collect();
    argv.push(ptr::null());
    let Some(program) = command.first() else {
        return io::Error::from_raw_os_error(libc::ENOENT);
    };
    // SAFETY: C strings, and an array of them with a null at the end, all of which outlive the call.
    unsafe { libc::execvp(program.as_ptr(), argv.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends the process at once: no destructors, no exit handlers.
#[doc(alias = "_exit")]
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: _exit takes any status and never returns.
    unsafe { libc::_exit(status) }
}
