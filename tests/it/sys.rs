//! All unsafe code of these tests: what processes do behind the library's back.
#![expect(
    unsafe_code,
    reason = "fork, _exit, exec, signal, descriptors by number"
)]

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use rustix::process::{Pid, Signal, WaitOptions, waitpid};

unsafe extern "C" {
    #[link_name = "_exit"]
    safe fn exit_at_once(status: c_int) -> !;
    #[link_name = "fork"]
    fn raw_fork() -> c_int;
    fn execv(path: *const c_char, argv: *const *const c_char) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    #[link_name = "close_range"]
    fn raw_close_range(first: u32, last: u32, flags: c_int) -> c_int;
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, number: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, before: *mut SignalSet) -> c_int;
    safe fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
}

/// `sigset_t`: 1,024 bits.
#[repr(C)]
struct SignalSet([u64; 16]);

/// `_exit(2)`.
pub(crate) fn exit(status: i32) -> ! {
    exit_at_once(status)
}

/// A plain fork, made behind everybody's back.
#[derive(Debug)]
pub(crate) struct Fork(Pid);

impl Fork {
    /// The fork runs `body` and ends with the status that it gives, or with 101 if it panics.
    pub(crate) fn new(body: impl FnOnce() -> i32) -> Fork {
        // SAFETY: the child runs on this thread's copy of the memory alone. What it allocates with is made
        // ready for that by glibc, and no lock of ours is held across this line.
        let pid = unsafe { raw_fork() };
        if pid == 0 {
            let status = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
            exit_at_once(status);
        }
        Fork(Pid::from_raw(pid).expect("fork"))
    }

    /// Waits for its end: its exit status.
    pub(crate) fn wait(self) -> i32 {
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty())
            .unwrap()
            .unwrap();
        status.exit_status().expect("it exits")
    }
}

/// Becomes another program with nothing but execve(2).
pub(crate) fn exec(path: &CStr, arg: &CStr) -> ! {
    let argv = [path.as_ptr(), arg.as_ptr(), ptr::null()];
    // SAFETY: both are C strings, and the list ends with a null pointer.
    unsafe { execv(path.as_ptr(), argv.as_ptr()) };
    exit_at_once(127)
}

/// Closes every descriptor from `first` to `last`, whoever owns it.
pub(crate) fn close_range(first: u32, last: u32) {
    // SAFETY: plain numbers. What the owners do with a closed descriptor is what is tested.
    assert_eq!(unsafe { raw_close_range(first, last, 0) }, 0);
}

/// What a signal does to this process.
pub(crate) enum Action {
    Default,
    Ignore,
    Call(extern "C" fn(c_int)),
}

/// signal(2).
pub(crate) fn on_signal(number: Signal, action: Action) {
    let handler = match action {
        Action::Default => 0,
        Action::Ignore => 1,
        Action::Call(function) => function as usize,
    };
    // SAFETY: 0 and 1 are SIG_DFL and SIG_IGN; a function here does what a handler may.
    let before = unsafe { signal(number.as_raw(), handler) };
    assert_ne!(before, usize::MAX, "signal({number:?})");
}

/// Takes what a shell or nohup(1) may have ignored for a job in the background back to its default.
pub(crate) fn take_every_signal() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        on_signal(signal, Action::Default);
    }
}

/// Blocks a signal on the calling thread.
pub(crate) fn block(signal: Signal) {
    const SIG_BLOCK: c_int = 0;
    let mut set = SignalSet([0; 16]);
    // SAFETY: it writes the set that it is given.
    unsafe { sigemptyset(&raw mut set) };
    // SAFETY: the set is initialised.
    unsafe { sigaddset(&raw mut set, signal.as_raw()) };
    // SAFETY: the set is initialised; the mask before is not asked for.
    let done = unsafe { pthread_sigmask(SIG_BLOCK, &raw const set, ptr::null_mut()) };
    assert_eq!(done, 0, "pthread_sigmask");
}

/// Makes `group` the foreground group of the terminal on standard input.
pub(crate) fn to_foreground(group: Pid) {
    assert_eq!(tcsetpgrp(0, group.as_raw_nonzero().get()), 0, "tcsetpgrp");
}
