//! What processes do here that safe Rust does not: all of these tests' unsafe code.
#![expect(
    unsafe_code,
    reason = "the system calls that a coordinator must survive"
)]

pub(crate) use occ_test_support::raw::{close, exit_now, fork, stay, wait_for};
use std::os::fd::{BorrowedFd, RawFd};

use occ_sck::Socket;

pub(crate) fn ignore_sigchld() {
    // SAFETY: SIG_IGN is a valid action for SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sends a signal to the calling process, and waits for it to work.
pub(crate) fn die_by(signal: i32) -> ! {
    // SAFETY: getpid has no arguments.
    let pid = unsafe { libc::getpid() };
    // SAFETY: kill takes any numbers.
    unsafe { libc::kill(pid, signal) };
    stay()
}

/// A duplicate of the calling process's control socket.
pub(crate) fn control() -> Socket {
    given(3)
}

/// A duplicate of a socket that the calling process was given.
pub(crate) fn given(number: RawFd) -> Socket {
    // SAFETY: it was given this, or it is its control socket, and these tests do not close it meanwhile.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    Socket::from(socket.try_clone_to_owned().unwrap())
}

/// Ends the calling thread, and with it the process only if it was the last.
pub(crate) fn end_thread() -> ! {
    // SAFETY: exit(2) of the thread alone. Nothing on its stack is used by others.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!()
}

/// ptrace(2) of a process that forks: stops it, and the child, at each fork.
pub(crate) struct Tracer {
    forker: u32,
}

impl Tracer {
    /// `None` where it is not allowed.
    pub(crate) fn of(forker: u32) -> Option<Tracer> {
        let options = libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE;
        ptrace(libc::PTRACE_SEIZE, forker, options as usize).then_some(Tracer { forker })
    }

    /// Waits until it forks; the child, which has not run yet.
    pub(crate) fn next_fork(&self) -> u32 {
        wait_for_stop(self.forker);
        let mut child: libc::c_ulong = 0;
        assert!(ptrace(
            libc::PTRACE_GETEVENTMSG,
            self.forker,
            (&raw mut child).expose_provenance()
        ));
        let child = u32::try_from(child).unwrap();
        wait_for_stop(child);
        child
    }

    /// Lets a stopped one go on, not traced any more.
    pub(crate) fn release(pid: u32) {
        ptrace(libc::PTRACE_DETACH, pid, 0);
    }

    /// Kills a stopped one. Its parent learns of it when this returns.
    pub(crate) fn kill(pid: u32) {
        // SAFETY: kill takes any numbers.
        unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
        Tracer::reap(pid);
    }

    /// Is told of the end of one that was killed. Its parent is when this returns.
    pub(crate) fn reap(pid: u32) {
        assert!(libc::WIFSIGNALED(wait_for_traced(pid)));
    }
}

fn ptrace(request: libc::c_uint, pid: u32, data: usize) -> bool {
    let pid = i32::try_from(pid).unwrap();
    let null = std::ptr::null_mut::<libc::c_void>();
    let data = std::ptr::with_exposed_provenance_mut::<libc::c_void>(data);
    // SAFETY: of the requests made here one alone writes, to the number that its caller passes.
    unsafe { libc::ptrace(request, pid, null, data) == 0 }
}

fn wait_for_stop(pid: u32) {
    assert!(libc::WIFSTOPPED(wait_for_traced(pid)));
}

fn wait_for_traced(pid: u32) -> i32 {
    let (pid, mut status) = (i32::try_from(pid).unwrap(), 0);
    // SAFETY: waitpid writes the status it is given.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
    status
}

/// Lets the calling process ignore a signal.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is a valid action for a signal.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn set_of(signal: i32) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

/// Blocks a signal on the calling thread.
pub(crate) fn block(signal: i32) {
    // SAFETY: the set is initialised; no old one is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set_of(signal), std::ptr::null_mut()) };
}

/// Waits for a signal that is blocked.
pub(crate) fn wait_signal(signal: i32) {
    let mut came = 0;
    // SAFETY: the set is initialised, and the number is written.
    unsafe { libc::sigwait(&set_of(signal), &raw mut came) };
    assert_eq!(came, signal);
}

/// Takes a lease on a file: whoever opens it waits for that to end (fcntl(2)). The breaking of it is not felt.
pub(crate) fn lease(file: &std::fs::File) -> bool {
    use std::os::fd::AsRawFd;
    ignore(libc::SIGIO);
    // SAFETY: F_SETLEASE takes a number.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0 }
}

pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes any numbers.
    unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) };
}
