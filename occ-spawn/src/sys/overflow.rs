//! A stack that overflows, told as `std` tells it.
#![expect(unsafe_code, reason = "a signal handler on a stack of its own")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::signals::set_action;

/// Where the main thread's stack may be touched by an overflow: below this, and not far.
static STACK_LOW: AtomicUsize = AtomicUsize::new(0);
static ALTERNATE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

const ALTERNATE_SIZE: usize = 32 * 1024;

pub(super) fn install_overflow_handler() {
    let here = 0_u8;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit writes the structure it is given.
    unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    let size = if limit.rlim_cur == libc::RLIM_INFINITY {
        0
    } else {
        limit.rlim_cur as usize
    };
    STACK_LOW.store(
        (&raw const here).addr().saturating_sub(size),
        Ordering::Relaxed,
    );

    let memory = Box::leak(Box::new([0_u8; ALTERNATE_SIZE]))
        .as_mut_ptr()
        .cast::<c_void>();
    ALTERNATE.store(memory, Ordering::Relaxed);
    let stack = libc::stack_t {
        ss_sp: memory,
        ss_flags: 0,
        ss_size: ALTERNATE_SIZE,
    };
    // SAFETY: the memory is leaked, so it is there for as long as the process, and nobody else uses it.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        set_action(
            signal,
            handler as usize,
            libc::SA_SIGINFO | libc::SA_ONSTACK,
        );
    }
}

/// As in `std`: an overflow of the main thread's stack is said in words and is an abort; every other
/// fault is what it would have been.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let code = unsafe { (*info).si_code };
    // SAFETY: as above.
    let info = unsafe { &*info };
    // SAFETY: si_addr is set for these two signals when the kernel raised them; else it is not used.
    let address = unsafe { info.si_addr() }.addr();
    set_action(signal, libc::SIG_DFL, 0);
    if code <= 0 {
        // Sent by somebody: a return would swallow it, because nothing faults again.
        // SAFETY: raise is async-signal-safe. The signal is blocked until this handler returns.
        unsafe { libc::raise(signal) };
        return;
    }
    let low = STACK_LOW.load(Ordering::Relaxed);
    if address.abs_diff(low) < (1 << 20) {
        let text = b"\nthe main thread of this process has overflowed its stack\n";
        // SAFETY: write and abort are async-signal-safe, and the text is valid for its length.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        // SAFETY: as above.
        unsafe { libc::abort() };
    }
}
