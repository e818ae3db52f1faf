//! All of this crate's unsafe code: what Linux offers and rustix does not.
#![expect(
    unsafe_code,
    reason = "raw clone, posix_spawn, signal handlers, our own ELF headers"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

// ---- our own image ----

unsafe extern "C" {
    /// Where the linker put the ELF header: the first byte of the image.
    #[link_name = "__ehdr_start"]
    static EHDR_START: u8;
    #[link_name = "__init_array_end"]
    static INIT_ARRAY_END: InitFn;
}

type InitFn = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);

pub(crate) type ElfHeader = libc::Elf64_Ehdr;
pub(crate) type ProgramHeader = libc::Elf64_Phdr;

/// The address of the first byte of the image.
pub(crate) fn image_start() -> usize {
    (&raw const EHDR_START).addr()
}

/// The image's own ELF header and program headers.
pub(crate) fn image_headers() -> (&'static ElfHeader, &'static [ProgramHeader]) {
    let start = &raw const EHDR_START;
    // SAFETY: the linker puts an ELF header at this symbol, and the segment that holds it is mapped,
    // read-only, for as long as the image is.
    let header: &ElfHeader = unsafe { &*start.cast() };
    // SAFETY: e_phoff is an offset from the start of the same file, and the program headers lie in the
    // segment that holds the ELF header: the kernel hands out their address as AT_PHDR.
    let at = unsafe { start.add(header.e_phoff as usize) };
    // SAFETY: e_phnum headers of this layout stand there, mapped like the header itself.
    let programs = unsafe { std::slice::from_raw_parts(at.cast(), usize::from(header.e_phnum)) };
    (header, programs)
}

/// `len` bytes of the image at `address`.
///
/// # Safety
///
/// The range must lie within a readable segment of the image that nothing writes to.
pub(crate) unsafe fn image_bytes(address: usize, len: usize) -> &'static [u8] {
    // SAFETY: the caller's obligation, word for word.
    unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(address), len) }
}

// ---- before main ----

#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: InitFn = hook;

/// Runs in every start of the image, before `main`: at once over for all but our own boots.
extern "C" fn hook(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) {
    if starts_with_marker(argc, argv) && crate::boot::has_control_socket() {
        // What the parent left open without close-on-exec is none of ours. This comes before the
        // initialisers, which may open files of their own.
        // SAFETY: nothing of this program has begun that could own a descriptor.
        if unsafe { close_from(crate::boot::CONTROL_FD + 1) }.is_err() {
            end(1);
        }
        finish_init(argc, argv, envp);
        if cfg!(target_env = "gnu") {
            // SAFETY: glibc passes init functions the argv of the process, argc entries and a null; no
            // other thread exists yet.
            unsafe { take_marker_off(argc, argv) };
        }
        crate::boot::take_over();
    }
}

/// True when argv[0] is our marker, in which case `main` must not run.
fn starts_with_marker(argc: c_int, argv: *mut *mut c_char) -> bool {
    if !cfg!(target_env = "gnu") {
        // Only glibc hands init functions what `main` gets.
        return crate::boot::cmdline_starts_with_marker();
    }
    if argc < 1 || argv.is_null() {
        return false;
    }
    // SAFETY: glibc passes init functions the argv of the process, with argc entries.
    let first = unsafe { argv.read() };
    // SAFETY: entry 0 exists, and each entry is a C string.
    !first.is_null() && unsafe { CStr::from_ptr(first) }.to_bytes() == crate::boot::MARKER
}

/// Runs the init functions that come after ours, because `main` and its loader never get control back.
fn finish_init(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) {
    let end = &raw const INIT_ARRAY_END;
    // The neighbours belong to the array that the linker made, not to `HOOK`: the compiler, which knows all
    // of `HOOK`, must not know that the pointer comes from there.
    let mut next = std::hint::black_box(&raw const HOOK).wrapping_add(1);
    // A linker may put our entry outside of the array that it names; then there is nothing to run.
    while next < end && end.addr() - next.addr() < (1 << 20) {
        // SAFETY: the array holds pointers to init functions from its start to `end`, and `next` is in it.
        let init = unsafe { next.read() };
        if init as usize != 0 {
            init(argc, argv, envp);
        }
        next = next.wrapping_add(1);
    }
}

/// Makes `std::env::args` what the host was started with, and the marker unrecognisable, so that a
/// library with this hook in it that is loaded later does not take its process for a boot.
///
/// # Safety
///
/// `argv` must be the argv of the process, with `argc` entries and a null after them, and no other
/// thread may be running.
unsafe fn take_marker_off(argc: c_int, argv: *mut *mut c_char) {
    let count = usize::try_from(argc).unwrap_or(0);
    if count == 0 || argv.is_null() {
        return;
    }
    // SAFETY: entry 0 exists, by the caller's word, and is the marker.
    let marker = unsafe { argv.read() };
    for (i, byte) in crate::title::PROCESS.iter().enumerate() {
        // SAFETY: the marker is as long, and the strings of argv may be written to (C11 5.1.2.2.1).
        unsafe { marker.wrapping_add(i).write(*byte as c_char) };
    }
    for i in 0..count {
        // SAFETY: i + 1 is at most argc, where the null stands.
        let next = unsafe { argv.wrapping_add(i + 1).read() };
        // SAFETY: i is below argc.
        unsafe { argv.wrapping_add(i).write(next) };
    }
}

// ---- starting ourselves again ----

/// Starts /proc/self/exe with `socket` as its fd 3 and every signal blocked.
///
/// This is posix_spawn(3), which shares the caller's memory until the exec: its cost does not grow with
/// the caller, and other threads may do as they like meanwhile.
pub(crate) fn exec_self(
    argv: &[CString],
    envp: &[CString],
    socket: BorrowedFd<'_>,
    socket_at: RawFd,
) -> io::Result<u32> {
    let mut actions = MaybeUninit::<libc::posix_spawn_file_actions_t>::uninit();
    // SAFETY: init writes the object it is given.
    check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
    // SAFETY: initialised above; both numbers are plain file descriptors. A dup2 onto the same number
    // clears close-on-exec (glibc 2.29).
    let dup = check(unsafe {
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), socket.as_raw_fd(), socket_at)
    });
    let result = dup.and_then(|()| exec_with(actions.as_ptr(), argv, envp));
    // SAFETY: initialised above, and not used after this.
    unsafe { libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr()) };
    result
}

fn exec_with(
    actions: *const libc::posix_spawn_file_actions_t,
    argv: &[CString],
    envp: &[CString],
) -> io::Result<u32> {
    let mut attributes = MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    // SAFETY: init writes the object it is given.
    check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: both are initialised. A ctrl-c between the exec and our own handlers must not kill.
    unsafe { libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), all.as_ptr()) };
    // SAFETY: initialised above.
    unsafe {
        libc::posix_spawnattr_setflags(
            attributes.as_mut_ptr(),
            libc::POSIX_SPAWN_SETSIGMASK as libc::c_short,
        )
    };

    let argv = pointers(argv);
    let envp = pointers(envp);
    let mut pid: libc::pid_t = 0;
    // SAFETY: the path is a C string; actions and attributes are initialised; argv and envp are arrays
    // of C strings that outlive the call, each ended by a null.
    let result = check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            c"/proc/self/exe".as_ptr(),
            actions,
            attributes.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
        )
    });
    // SAFETY: initialised above, and not used after this.
    unsafe { libc::posix_spawnattr_destroy(attributes.as_mut_ptr()) };
    result.map(|()| pid.unsigned_abs())
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr().cast_mut())
        .chain([ptr::null_mut()])
        .collect()
}

/// The posix_spawn family returns its error instead of setting errno.
fn check(error: c_int) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

// ---- fork ----

/// What a forked child has to put right in the C library.
pub(crate) struct ForkState {
    /// Where glibc keeps the id of the calling thread.
    tid_address: *mut c_void,
    robust_list: *mut c_void,
    robust_len: usize,
}

impl ForkState {
    /// Finds out what the calling thread's children need.
    ///
    /// # Errors
    ///
    /// A kernel that does not tell (built without `CONFIG_CHECKPOINT_RESTORE`).
    pub(crate) fn of_this_thread() -> io::Result<ForkState> {
        let tid_address = rustix::thread::get_clear_child_tid_address()?
            .map_or(ptr::null_mut(), |address| address.as_ptr());
        let mut robust_list = ptr::null_mut::<c_void>();
        let mut robust_len = 0_usize;
        // SAFETY: get_robust_list(2) writes one pointer and one length.
        let got = unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                0,
                &raw mut robust_list,
                &raw mut robust_len,
            )
        };
        if got != 0 {
            robust_list = ptr::null_mut();
        }
        Ok(ForkState {
            tid_address,
            robust_list,
            robust_len,
        })
    }
}

/// Forks a child whose parent is the caller's parent. `None` in the child.
///
/// # Safety
///
/// The process must have one thread, and `state` must be that thread's.
#[doc(alias = "clone")]
pub(crate) unsafe fn fork_sibling(state: &ForkState) -> io::Result<Option<u32>> {
    // glibc caches the thread id in memory, and a raw clone does not know: a child that pinned itself
    // to a processor would pin its parent. The two TID flags make the kernel write the new id there.
    let flags = libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
    let null = ptr::null_mut::<c_void>();
    // SAFETY: without CLONE_VM the child has a copy of everything, and one thread, by the caller's word;
    // so it continues here as after a fork(2). A null stack means the caller's own.
    #[cfg(not(target_arch = "aarch64"))]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, state.tid_address, null) };
    // SAFETY: as above; the order of the last two differs (clone(2)).
    #[cfg(target_arch = "aarch64")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, null, state.tid_address) };
    match pid {
        0 => {
            if !state.robust_list.is_null() {
                // SAFETY: the list head is the thread's own, at the same address in the copy.
                unsafe {
                    libc::syscall(
                        libc::SYS_set_robust_list,
                        state.robust_list,
                        state.robust_len,
                    )
                };
            }
            Ok(None)
        }
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Some(pid.unsigned_abs() as u32)),
    }
}

// ---- file descriptors ----

/// The descriptor numbered `fd`, without a claim to it.
///
/// # Safety
///
/// Nobody may close it while it is borrowed.
pub(crate) unsafe fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the caller's obligation.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Takes the descriptor numbered `fd`.
///
/// # Safety
///
/// It must be open, and nobody else may own it.
pub(crate) unsafe fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's obligation.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes `to` a duplicate of `from`, close-on-exec or not, and closes what `to` was.
pub(crate) fn duplicate_to(from: BorrowedFd<'_>, to: RawFd, cloexec: bool) -> io::Result<()> {
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    if from.as_raw_fd() == to {
        // SAFETY: fcntl on a plain number; F_SETFD takes an int.
        let set = unsafe {
            libc::fcntl(
                to,
                libc::F_SETFD,
                if cloexec { libc::FD_CLOEXEC } else { 0 },
            )
        };
        return if set == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        };
    }
    // SAFETY: dup3 on plain numbers.
    if unsafe { libc::dup3(from.as_raw_fd(), to, flags) } == to {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Closes the descriptor numbered `fd` in a process that is about to end; it may be closed already.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: close on a plain number. Whoever owns it does not come to use it any more.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor from `first` on.
///
/// # Errors
///
/// An old kernel, and no /proc to see what is open.
///
/// # Safety
///
/// Whoever owns one of them must never use it again.
#[doc(alias = "close_range")]
pub(crate) unsafe fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range(2) on plain numbers; the caller answers for the owners.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    // Before Linux 5.9, or a seccomp filter that does not know the call: one by one.
    for fd in open_fds()? {
        if fd >= first {
            // SAFETY: as above. One of the numbers is the directory itself, closed by now.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

fn open_fds() -> io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

// ---- a page that forks lose ----

static WIPED: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Maps the page, for all processes that this one forks.
pub(crate) fn map_wiped_page() {
    let size = rustix::param::page_size();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    let page = unsafe { libc::mmap(ptr::null_mut(), size, prot, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return;
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } == 0 {
        WIPED.store(page, Ordering::Relaxed);
    }
}

/// A page that is zero in every fork, in a process that a zygote made.
pub fn wiped_page() -> Option<ptr::NonNull<c_void>> {
    ptr::NonNull::new(WIPED.load(Ordering::Relaxed))
}

// ---- threads ----

/// True when the calling thread is the only one; false also if that cannot be seen.
#[doc(alias = "unshare")]
pub(crate) fn is_single_threaded() -> bool {
    // To leave a thread group that one is alone in is nothing, and with others it is not allowed (unshare(2)). Where
    // a filter does not let us ask, /proc is slower.
    // SAFETY: changes nothing, whatever the answer.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return true;
    }
    if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        return false;
    }
    // A directory has two links, and this one has one more for each thread.
    rustix::fs::stat("/proc/self/task").is_ok_and(|tasks| tasks.st_nlink == 3)
}

/// True when there has never been another thread, as glibc knows since 2.32; false also if nobody knows.
///
/// It makes no system call once it has been asked, in this process or in the one that it was forked from. To look
/// into /proc costs a new process a tenth of its life.
pub(crate) fn was_single_threaded() -> bool {
    static FLAG: OnceLock<Option<usize>> = OnceLock::new();
    let flag = FLAG.get_or_init(|| {
        // SAFETY: the name is a C string; the default scope needs no handle.
        let flag = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        (!flag.is_null()).then(|| flag.expose_provenance())
    });
    // SAFETY: glibc's variable of that name is a `char` that is always there; it is written by the thread that
    // starts the second one, which is the caller if there is no other.
    flag.is_some_and(
        |at| unsafe { ptr::with_exposed_provenance::<c_char>(at).read_volatile() } != 0,
    )
}

// ---- signals ----

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

fn set_action(signal: c_int, action: libc::sighandler_t, flags: c_int) {
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

/// Where the main thread's stack may be touched by an overflow: below this, and not far.
static STACK_LOW: AtomicUsize = AtomicUsize::new(0);
static ALTERNATE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

const ALTERNATE_SIZE: usize = 32 * 1024;

fn install_overflow_handler() {
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

// ---- the end ----

/// Ends the process at once: no destructors, no exit handlers.
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: _exit takes any status and never returns.
    unsafe { libc::_exit(status) }
}

/// A value of a type that has no bytes.
///
/// # Safety
///
/// `F` must be `Copy`, and a value of it must have existed in this program.
pub(crate) unsafe fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: any aligned pointer may be read for no bytes; the caller answers for the type being inhabited.
    unsafe { ptr::NonNull::<F>::dangling().read() }
}

/// The descriptor that `address` points at, and the address of its trampoline.
///
/// # Safety
///
/// `address` must be aligned for `T`, and `size_of::<T>()` bytes there must lie within a readable segment
/// of the image.
pub(crate) unsafe fn read_at<T: Copy>(address: usize) -> T {
    // SAFETY: the caller's obligation.
    unsafe { ptr::with_exposed_provenance::<T>(address).read() }
}

/// Takes an address for a function.
///
/// # Safety
///
/// A function of exactly this type must begin at `address`.
pub(crate) unsafe fn function_at<F: Copy>(address: usize) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    let pointer = ptr::with_exposed_provenance::<()>(address);
    // SAFETY: F is a function pointer of one word, by the assertion and the caller's word.
    unsafe { std::mem::transmute_copy(&pointer) }
}
