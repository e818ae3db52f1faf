//! All of this crate's unsafe code: a plain fork, rude ends and the clock, as a C program has them, a wait for the kernel, and a promise
//! to procspawn.
#![expect(
    unsafe_code,
    reason = "fork, _exit, close_range, clock_gettime, membarrier, what procspawn wants to be told"
)]

use std::io;

use rustix::process::Pid;

/// Forks. The child does `work` and ends, without a word to anybody.
///
/// # Panics
///
/// If the calling process has a second thread: the child would have copies of its locks.
pub(crate) fn fork(work: impl FnOnce()) -> io::Result<Pid> {
    debug_assert!(is_single_threaded());
    // SAFETY: there is one thread, so the child is a whole copy of the process, and may do what that may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // Dropped also when `work` panics: the child must not go on with its parent's stack.
        let _end = End;
        work();
    }
    Pid::from_raw(pid)
        .filter(|_| pid > 0)
        .ok_or_else(io::Error::last_os_error)
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        exit_now(0)
    }
}

/// Ends the process without a word.
#[doc(alias = "_exit")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit ends the process, and touches nothing of it.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor of the process, whoever owns it. The caller ends without touching any of them.
#[doc(alias = "close_range")]
pub(crate) fn close_all() {
    // SAFETY: no memory is touched, and the owners of the descriptors do not live to use them.
    unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) };
}

/// A directory has two links, and this one has one more for each thread.
fn is_single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|tasks| tasks.st_nlink == 3)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, by way of the C library: rustix would have to find the clock anew in every
/// process, and that is no part of what is measured.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime writes the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Waits until every processor has been outside of whatever it was in, so many times. Where the kernel does not offer that, not at all.
#[doc(alias = "membarrier")]
pub(crate) fn wait_for_all_processors(times: usize) {
    /// `MEMBARRIER_CMD_GLOBAL`, for which libc has no name everywhere.
    const GLOBAL: libc::c_int = 1;
    for _ in 0..times {
        // SAFETY: no memory is touched.
        unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    }
}

/// Tells procspawn that what it is to run lies in this image.
pub(crate) fn promise_procspawn_one_image() {
    // SAFETY: its one caller, `peers::procspawn`, spawns a closure of this crate, which is no shared library.
    unsafe { procspawn::assert_spawn_is_safe() }
}
