//! What a process does when a signal is about to end it: it says which, from whom, and what was wrong; and then ends as it
//! would have without us.
//!
//! | signal | from | what happens |
//! |---|---|---|
//! | SIGINT, SIGQUIT | the terminal | nothing: the host alone decides |
//! | SIGSEGV, SIGBUS, SIGFPE, SIGILL | the processor | told; the instruction is tried again, without a handler |
//! | the same, below the main thread's stack | the processor | told, said in words, and an abort: as in `std` |
//! | SIGABRT | abort(3) | a panic that could not unwind is told; the default |
//! | all others whose default is the end | anybody | told; the default |
//! | SIGPIPE | | nothing, as in `std` |
//!
//! A handler is taken away by an exec, so a program that a process starts finds the defaults; what the host inherited as
//! ignored stays so.
#![expect(unsafe_code, reason = "signal handlers, on a stack of their own")]

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::signals::{is_ignored, set_action};
use crate::last_signal::{self, NAME, Told};

/// Where the main thread's stack may be touched by an overflow: below this, and not far.
static STACK_LOW: AtomicUsize = AtomicUsize::new(0);
static ALTERNATE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

const ALTERNATE_SIZE: usize = 32 * 1024;

/// How far below its end a stack can be touched by what does not touch each page.
const BELOW: usize = 1 << 20;

/// Those whose default is the end of the process, but for SIGKILL, which nobody can handle, and SIGPIPE.
const DEADLY: &[c_int] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGUSR1,
    libc::SIGSEGV,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSYS,
];

/// Installs the handlers, once in a zygote, for all the processes that it makes.
pub(super) fn install() {
    last_signal::prepare();
    measure_stack();
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    for signal in DEADLY.iter().copied().chain(real_time) {
        if !is_ignored(signal) {
            let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            set_action(signal, handler as usize, flags);
        }
    }
    // As good as ignoring it, and an exec takes it away: a program that is started from here finds the default, as it
    // expects.
    let nothing: extern "C" fn(c_int) = on_pipe;
    set_action(libc::SIGPIPE, nothing as usize, libc::SA_RESTART);
}

/// Finds out where the stack of this thread ends, and gives handlers another.
fn measure_stack() {
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
    // The kernel counts from the top, where the arguments and the environment lie.
    let low = top_of_stack().map_or(0, |top| top.saturating_sub(size));
    STACK_LOW.store(if size == 0 { 0 } else { low }, Ordering::Relaxed);

    let memory = Box::leak(vec![0_u8; ALTERNATE_SIZE].into_boxed_slice())
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
}

/// Where the main thread's stack begins: the end of what /proc/self/maps calls so.
fn top_of_stack() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"))?;
    let (_, end) = line.split(' ').next()?.split_once('-')?;
    usize::from_str_radix(end, 16).ok()
}

extern "C" fn on_pipe(_: c_int) {}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let info = unsafe { &*info };
    let code = info.si_code;
    if code == libc::SI_KERNEL && matches!(signal, libc::SIGINT | libc::SIGQUIT) {
        return;
    }
    let told = told(signal, info);
    // abort(3) sends the signal to its own thread, and kill(2) to the process: to one of its threads, any of
    // which may be panicking for reasons of its own.
    let is_abort = signal == libc::SIGABRT && code == libc::SI_TKILL && told.from_itself;
    if !(is_abort && crate::panic::tell_abort()) {
        last_signal::tell(&told);
    }
    crate::earlier::tell_from_handler();

    set_action(signal, libc::SIG_DFL, 0);
    if told.stack_overflow {
        let text = b"\nthe main thread of this process has overflowed its stack\n";
        // SAFETY: write is async-signal-safe, and the text is valid for its length.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        // All has been told, and of this signal nothing more.
        set_action(libc::SIGABRT, libc::SIG_DFL, 0);
        // SAFETY: abort is async-signal-safe.
        unsafe { libc::abort() };
    }
    let is_fault = matches!(
        signal,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL
    );
    if code > 0 && is_fault {
        // The instruction is tried again when this returns.
        return;
    }
    if own_pid() == 1 {
        // The kernel keeps the first process of a PID namespace from ending so by its own hand (pid_namespaces(7)).
        // SAFETY: _exit takes any status.
        unsafe { libc::_exit(128 + signal) };
    }
    // SAFETY: raise is async-signal-safe. The signal is blocked until this handler returns.
    unsafe { libc::raise(signal) };
}

/// What there is to tell.
fn told(signal: c_int, info: &libc::siginfo_t) -> Told {
    let code = info.si_code;
    let mut told = Told {
        signal,
        code,
        on_main_thread: is_main_thread(),
        ..Told::default()
    };
    // SAFETY: the name of a thread is written to as many bytes as it can have.
    unsafe { libc::prctl(libc::PR_GET_NAME, told.thread.as_mut_ptr()) };
    let by_a_process = [
        libc::SI_USER,
        libc::SI_QUEUE,
        libc::SI_TKILL,
        libc::SI_MESGQ,
    ];
    if code <= 0 && !by_a_process.contains(&code) {
        // A timer, or what was asked of the kernel: where others have the sender, these have something else.
        return told;
    }
    if code <= 0 {
        // SAFETY: the field is there for such a signal.
        let sender = unsafe { info.si_pid() };
        told.sender = u32::try_from(sender).ok();
        told.from_itself = libc::c_long::from(sender) == own_pid();
        // SAFETY: as above.
        told.user = Some(unsafe { info.si_uid() });
        return told;
    }
    match signal {
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => {
            // SAFETY: the field is there for these when the kernel raised them.
            let address = unsafe { info.si_addr() }.addr();
            // A general protection fault has no address.
            told.address = (code != libc::SI_KERNEL).then_some(address as u64);
            let low = STACK_LOW.load(Ordering::Relaxed);
            told.stack_overflow = told.on_main_thread
                && low != 0
                && matches!(signal, libc::SIGSEGV | libc::SIGBUS)
                && address.abs_diff(low) < BELOW;
        }
        libc::SIGSYS => told.call = Some(forbidden_call(info)),
        _ => {}
    }
    told
}

/// The number of a system call that a filter did not let through (seccomp(2)): `si_syscall`, which libc has no name for.
/// It stands after three numbers, two of them with what belongs to them, and an address.
fn forbidden_call(info: &libc::siginfo_t) -> u32 {
    const AT: usize = 3 * size_of::<c_int>() + size_of::<c_int>() + size_of::<usize>();
    const _: () = assert!(AT + size_of::<u32>() <= size_of::<libc::siginfo_t>());
    let field = ptr::from_ref(info).wrapping_byte_add(AT).cast::<u32>();
    // SAFETY: it lies within the structure, which the kernel has filled for this signal, and is aligned for its type.
    unsafe { field.read() }
}

fn is_main_thread() -> bool {
    // SAFETY: gettid has no arguments.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    thread == own_pid()
}

fn own_pid() -> libc::c_long {
    // SAFETY: getpid has no arguments.
    unsafe { libc::syscall(libc::SYS_getpid) }
}

const _: () = assert!(NAME == 16, "what PR_GET_NAME writes");
