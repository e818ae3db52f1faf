//! Signals: masks, and what processes of ours do when one comes.
#![expect(unsafe_code, reason = "signal masks and actions")]

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;

use super::handlers;

/// Runs `body` with every signal blocked on this thread, and so on the threads that it starts.
pub(crate) fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is initialised; the old mask is written to the other.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = body();
    // SAFETY: `before` was written by the call above, which cannot fail with these arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

/// Makes the calling thread take every signal.
pub(crate) fn unblock_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the set it is given.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set is initialised; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
}

/// True when the signal is ignored.
pub(super) fn is_ignored(signal: c_int) -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction with no new action only writes the old one.
    unsafe { libc::sigaction(signal, ptr::null(), old.as_mut_ptr()) };
    // SAFETY: zeroed, and written by the call above.
    unsafe { old.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// True when the kernel throws the status of ended children away (waitid(2), "Notes").
pub(crate) fn sigchld_is_ignored() -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction with no new action only writes the old one.
    unsafe { libc::sigaction(libc::SIGCHLD, ptr::null(), old.as_mut_ptr()) };
    // SAFETY: zeroed, and written by the call above.
    let old = unsafe { old.assume_init() };
    old.sa_sigaction == libc::SIG_IGN || old.sa_flags & libc::SA_NOCLDWAIT != 0
}

pub(super) fn set_action(signal: c_int, action: libc::sighandler_t, flags: c_int) {
    let mut new = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid sigaction.
    let new = unsafe { new.assume_init_mut() };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: `new` is initialised, with an empty mask; the old action is not asked for.
    unsafe { libc::sigaction(signal, new, ptr::null_mut()) };
}

/// Undoes what `std` does to every Rust program: another has the default action for SIGPIPE.
pub(crate) fn default_sigpipe() {
    set_action(libc::SIGPIPE, libc::SIG_DFL, 0);
}

/// What `std` does for the caller of `main`, and what a process of ours wants of its signals.
///
/// What the host inherited as ignored stays so, as under nohup(1), except SIGCHLD: a parent that ignores
/// it has children that reap themselves, and every exit reason would be lost.
pub(crate) fn set_up_signals() {
    set_action(libc::SIGCHLD, libc::SIG_DFL, 0);
    handlers::install();
}
