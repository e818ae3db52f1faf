//! Signals: masks, and what processes of ours do when one comes.
#![expect(unsafe_code, reason = "signal handlers")]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use super::overflow::install_overflow_handler;

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
fn is_ignored(signal: c_int) -> bool {
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

/// What `std` does for the caller of `main`, and what a process of ours wants of its signals.
///
/// What the host inherited as ignored stays so, as under nohup(1), except SIGCHLD: a parent that ignores
/// it has children that reap themselves, and every exit reason would be lost.
pub(crate) fn set_up_signals() {
    set_action(libc::SIGCHLD, libc::SIG_DFL, 0);
    // A handler that does nothing is as good as ignoring, and an exec takes it away: a program that is
    // started from here finds the default, as it expects.
    set_action(
        libc::SIGPIPE,
        on_pipe as extern "C" fn(c_int) as usize,
        libc::SA_RESTART,
    );
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        if !is_ignored(signal) {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_interrupt;
            set_action(
                signal,
                handler as usize,
                libc::SA_SIGINFO | libc::SA_RESTART,
            );
        }
    }
    if !is_ignored(libc::SIGABRT) {
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_abort;
        set_action(libc::SIGABRT, handler as usize, libc::SA_SIGINFO);
    }
    install_overflow_handler();
}

extern "C" fn on_pipe(_: c_int) {}

/// From the terminal: nothing, the host alone decides. From kill(2): what it would have done without us.
extern "C" fn on_interrupt(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let code = unsafe { (*info).si_code };
    if code != libc::SI_KERNEL {
        set_action(signal, libc::SIG_DFL, 0);
        // SAFETY: raise is async-signal-safe. The signal is blocked until this handler returns.
        unsafe { libc::raise(signal) };
    }
}

/// From abort(3), when a panic could not unwind: the last moment to tell it. In any case, then, the default.
extern "C" fn on_abort(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let code = unsafe { (*info).si_code };
    // abort(3) sends the signal to its own thread, and kill(2) to the process: to one of its threads, any of
    // which may be panicking for reasons of its own.
    if code == libc::SI_TKILL {
        crate::panic::tell_abort();
    }
    set_action(signal, libc::SIG_DFL, 0);
    // SAFETY: raise is async-signal-safe. The signal is blocked until this handler returns.
    unsafe { libc::raise(signal) };
}
