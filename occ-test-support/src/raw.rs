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

/// Sets a variable of the environment, in a process that has one thread.
pub fn set_env(key: &str, value: &str) {
    // SAFETY: the caller's process has one thread.
    unsafe { std::env::set_var(key, value) }
}

/// Removes one, likewise.
pub fn remove_env(key: &str) {
    // SAFETY: as above.
    unsafe { std::env::remove_var(key) }
}

/// Sends the calling thread a signal.
pub fn raise(signal: i32) {
    // SAFETY: raise takes any number.
    unsafe { libc::raise(signal) };
}

/// Writes to address 0.
pub fn write_to_null() {
    let null = std::hint::black_box(std::ptr::null_mut::<u8>());
    // SAFETY: none: it is a fault, and that is what it is for.
    unsafe { null.write_volatile(1) };
}

/// Recurses until the stack of the calling thread is full.
#[must_use]
#[expect(unconditional_recursion, reason = "that is what it is for")]
pub fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(frame[0] + 1) + frame[63]
}

/// Ends the process by SIGSYS when it asks for its parent's number.
///
/// # Panics
///
/// If the kernel refuses.
pub fn forbid_getppid() {
    filter(&[(libc::SYS_getppid, None, libc::SECCOMP_RET_TRAP)]);
}

/// Lets system calls fail, for the calling thread and all that it starts: each by its number, or only with this first argument, with
/// an errno.
///
/// # Panics
///
/// If the kernel refuses.
pub fn refuse(calls: &[(libc::c_long, Option<u32>, i32)]) {
    let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let rules: Vec<_> = calls
        .iter()
        .map(|(call, first, error)| (*call, *first, errno(*error)))
        .collect();
    filter(&rules);
}

/// For each call, and perhaps its first argument, what is to happen.
#[doc(alias = "seccomp")]
fn filter(rules: &[(libc::c_long, Option<u32>, u32)]) {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where the number stands, and the lower half of the first argument, on machines that begin with that.
    const NUMBER: u32 = 0;
    const FIRST: u32 = 16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = Vec::new();
    for (call, first, what) in rules {
        let number = u32::try_from(*call).expect("a number");
        program.push(step(LOAD, 0, 0, NUMBER));
        match first {
            None => program.push(step(JUMP_IF_EQUAL, 0, 1, number)),
            Some(first) => {
                program.push(step(JUMP_IF_EQUAL, 0, 3, number));
                program.push(step(LOAD, 0, 0, FIRST));
                program.push(step(JUMP_IF_EQUAL, 0, 1, *first));
            }
        }
        program.push(step(RETURN, 0, 0, *what));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl takes these numbers.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(promised, 0, "{}", io::Error::last_os_error());
    // SAFETY: the program lives until the call has copied it.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, 2, &raw const filter) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Uses the processor for as long as it may.
pub fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Closes every descriptor of the process.
pub fn close_all() {
    // SAFETY: whoever owns them does not use them any more, by the word of the test.
    unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) };
}

/// Sends a process any signal, real-time ones too.
///
/// # Panics
///
/// If the kernel refuses.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: kill takes any numbers.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Ignores a signal from here on; forks and programs inherit that.
pub fn ignore(signal: i32) {
    // SAFETY: ignoring runs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// fork(2), if the kernel lets it; nobody is told which of both one is.
pub fn try_fork() {
    // SAFETY: as in `fork`.
    unsafe { libc::fork() };
}
