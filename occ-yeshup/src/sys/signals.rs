//! Signals: blocked, read from a descriptor, sent, and died of.
#![expect(unsafe_code, reason = "signal masks, actions and descriptors")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

/// `si_code` of what the kernel sends itself: for us, the terminal (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// Which signals were blocked.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

impl Mask {
    /// Blocks these signals and no others.
    pub(crate) fn restore(&self) {
        // SAFETY: the set is initialised; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

fn all() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: written by the call above.
    unsafe { all.assume_init() }
}

/// Blocks every signal; which ones were blocked before.
pub(crate) fn block_all() -> Mask {
    let all = all();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised; the old mask is written to the other.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, before.as_mut_ptr()) };
    // SAFETY: written by the call above, which cannot fail with these arguments.
    Mask(unsafe { before.assume_init() })
}

fn set_default(signal: i32) {
    let default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid sigaction, with SIG_DFL for its action.
    let default = unsafe { default.assume_init() };
    // SAFETY: `default` is initialised; the old action is not asked for.
    unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) };
}

/// Who was started with SIGCHLD ignored would have every child's status thrown away (waitid(2), "Notes").
pub(crate) fn default_for_children() {
    set_default(libc::SIGCHLD);
}

/// A descriptor on which every blocked signal can be read, also one that is ignored: it was blocked first (signal(7)).
#[doc(alias = "signalfd")]
pub(crate) fn signal_descriptor() -> io::Result<OwnedFd> {
    let all = all();
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made just now, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) signal: i32,
    /// The kernel sent it, as it does for a key at a terminal, and not a process.
    pub(crate) from_kernel: bool,
    /// The process that sent it, if one did.
    pub(crate) sender: u32,
}

/// The next signal that has come, if one has.
pub(crate) fn arrived(signals: &impl AsFd) -> Option<Arrived> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is as long as is said.
    let read = unsafe { libc::read(signals.as_fd().as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if usize::try_from(read) != Ok(size) {
        return None;
    }
    // SAFETY: the kernel has filled all of it.
    let info = unsafe { info.assume_init() };
    Some(Arrived {
        signal: i32::try_from(info.ssi_signo).ok()?,
        from_kernel: info.ssi_code == SI_KERNEL,
        sender: info.ssi_pid,
    })
}

/// Sends a process any signal; also those that have no name.
pub(crate) fn send(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes any numbers.
    match unsafe { libc::kill(pid.as_raw_pid(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends the process by this signal, without a core file. It returns where the signal ends nobody.
pub(crate) fn end_by(signal: i32) {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    set_default(signal);
    let _ = send(rustix::process::getpid(), signal);
    let mut only = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the set it is given.
    unsafe { libc::sigemptyset(only.as_mut_ptr()) };
    // SAFETY: initialised above; a number that is none is refused.
    unsafe { libc::sigaddset(only.as_mut_ptr(), signal) };
    // SAFETY: initialised; the old mask is not asked for. The signal that waits comes here.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, only.as_ptr(), ptr::null_mut()) };
}
