//! What processes do here that safe Rust does not: all of these tests' unsafe code.
#![expect(
    unsafe_code,
    reason = "the system calls that a crate like this must survive"
)]

pub(crate) use occ_test_support::raw::{
    close, exit_now, fork, remove_env, set_env, stay, wait_for,
};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Closes every descriptor.
pub(crate) fn close_all() {
    // SAFETY: whoever owns one of them does not use it any more: callers end without it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    assert_eq!(closed, 0);
}

/// Puts `fd` at `number`, with close-on-exec off.
pub(crate) fn put_at(fd: OwnedFd, number: RawFd) -> OwnedFd {
    if std::os::fd::AsRawFd::as_raw_fd(&fd) == number {
        return fd;
    }
    // SAFETY: dup2 on plain numbers; what was there is not used any more.
    let at = unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&fd), number) };
    assert_eq!(at, number);
    // SAFETY: made just now.
    unsafe { OwnedFd::from_raw_fd(at) }
}

/// Lets `command` start with fds 0, 1 and 2 closed.
pub(crate) fn without_standard_fds(command: &mut Command) {
    let close = || {
        for fd in 0..=2 {
            // SAFETY: close is async-signal-safe, and the program starts without them.
            unsafe { libc::close(fd) };
        }
        Ok(())
    };
    // SAFETY: `close` makes system calls only.
    unsafe { command.pre_exec(close) };
}

/// Lives for a while. Where time is the behaviour, and never to wait for something.
pub(crate) fn live(time: Duration) {
    let mut left = libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap(),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: both point to a timespec; the second gets what a signal left over.
    while unsafe { libc::nanosleep(&raw const left, &raw mut left) } != 0 {}
}

/// raise(3), which std does not swallow as it may with its own handlers.
pub(crate) fn raise(signal: i32) {
    // SAFETY: raise takes any number.
    unsafe { libc::raise(signal) };
}

pub(crate) fn set_ignored(signal: i32, ignored: bool) {
    let action = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: both actions are valid for the signals that callers name.
    unsafe { libc::signal(signal, action) };
}

/// Reads where nothing is mapped.
pub(crate) fn fault() -> u8 {
    // SAFETY: none. That is the point: the kernel ends the process here.
    unsafe { std::ptr::without_provenance::<u8>(4096).read_volatile() }
}

/// Pins the calling thread to one processor, by the id that the C library keeps for it.
pub(crate) fn pin_to(cpu: usize) {
    // SAFETY: all-zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below CPU_SETSIZE on machines that these tests run on.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: pthread_self has no arguments.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: the set is initialised and as long as is said.
    let pinned = unsafe { libc::pthread_setaffinity_np(me, size_of_val(&set), &raw const set) };
    assert_eq!(pinned, 0);
}

/// The thread id that the C library keeps for the calling thread.
pub(crate) fn cached_tid() -> i32 {
    // SAFETY: gettid has no arguments. glibc asks the kernel, so ask what a mutex records instead: its owner.
    let mut attributes = unsafe { std::mem::zeroed::<libc::pthread_mutexattr_t>() };
    // SAFETY: init writes the object it is given.
    unsafe { libc::pthread_mutexattr_init(&raw mut attributes) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK) };
    // SAFETY: all-zero bytes are room for a mutex.
    let mut mutex = Box::new(unsafe { std::mem::zeroed::<libc::pthread_mutex_t>() });
    // SAFETY: both are there; the attributes are initialised.
    unsafe { libc::pthread_mutex_init(&raw mut *mutex, &raw const attributes) };
    // SAFETY: initialised above, and on the heap, where it stays.
    unsafe { libc::pthread_mutex_lock(&raw mut *mutex) };
    // SAFETY: `__lock`, `__count`, `__owner`: the layout of glibc's pthread_mutex_t is part of its ABI.
    unsafe { (&raw const *mutex).cast::<i32>().wrapping_add(2).read() }
}

/// What [`initialisers`](crate::initialisers) asks for, before `main`, in every start of this test binary.
#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = initialise;

extern "C" fn initialise() {
    crate::initialisers::run();
}

/// A duplicate of the descriptor with this number.
pub(crate) fn duplicate(fd: RawFd) -> OwnedFd {
    // SAFETY: dup on a plain number.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    assert!(copy >= 0);
    // SAFETY: made just now.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

fn only(signal: i32) -> libc::sigset_t {
    // SAFETY: all-zero is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is initialised, the number a signal.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    set
}

/// Blocks a signal on the calling thread.
pub(crate) fn block(signal: i32) {
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &only(signal), std::ptr::null_mut()) };
}
