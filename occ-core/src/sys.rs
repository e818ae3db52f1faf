//! All of this crate's unsafe code: signals as a file descriptor, any child's end, a page that forks lose, memory that is shared.
#![expect(unsafe_code, reason = "signalfd, waitid for any child, madvise, mmap")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use occ_spawn::OsPid;
use occ_spawn::boot;
use occ_spawn::entry::End;
use rustix::event::{PollFd, PollFlags};

/// Sets the coordinator's signals up and gives the descriptor on which ended children are told.
///
/// The terminal's interrupt and quit are for the host alone, so they stay blocked here, as does the
/// signal of a closed pipe. A host that ignores SIGCHLD passed that on, and would have every exit status thrown away.
#[doc(alias = "signalfd")]
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let mut default = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid sigaction, with SIG_DFL for its action.
    let default = unsafe { default.assume_init_mut() };
    // Stopping and going on are no ends.
    default.sa_flags = libc::SA_NOCLDSTOP;
    // SAFETY: `default` is initialised; the old action is not asked for.
    unsafe { libc::sigaction(libc::SIGCHLD, default, ptr::null_mut()) };

    let blocked = set_of(&[libc::SIGCHLD, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE]);
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const blocked, ptr::null_mut()) };

    let child = set_of(&[libc::SIGCHLD]);
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    let fd =
        unsafe { libc::signalfd(-1, &raw const child, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: made just now, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Forks a child that has the caller's descriptors in one table with it; `line` is the child's.
///
/// # Errors
///
/// In words: see [`boot::fork_with_descriptors`].
#[doc(alias = "CLONE_FILES")]
pub(crate) fn fork_with_descriptors(
    line: OwnedFd,
    work: impl FnOnce(OwnedFd) -> End,
) -> Result<OsPid, String> {
    let number = line.into_raw_fd();
    // SAFETY: it was just given up here, and in the child nobody else has it.
    let taken = move || unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: the child drops what it has been given, and what it opens itself; it never comes back to the caller's other
    // descriptors, because it ends where `work` does. The caller has given up the one.
    let child = unsafe { boot::fork_with_descriptors(move || work(taken())) };
    if child.is_err() {
        drop(taken());
    }
    child
}

/// Closes all descriptors but those from 0 to 3 and `signals`, which gets another number; also those of one that has shared them
/// and is no more. Where the kernel cannot do it, nothing is closed.
#[doc(alias = "close_range")]
pub(crate) fn close_all_but(signals: OwnedFd) -> OwnedFd {
    /// The first that is not a standard one, nor the one to whoever started the process.
    const FIRST: RawFd = 4;

    let signals = signals.into_raw_fd();
    // SAFETY: dup3 on plain numbers. Whoever owned the first is no more, or its owner is forgotten by the caller.
    let moved = signals == FIRST || unsafe { libc::dup3(signals, FIRST, libc::O_CLOEXEC) } == FIRST;
    if moved {
        // SAFETY: as above.
        let _ = unsafe { boot::close_from(FIRST + 1) };
    }
    let number = if moved { FIRST } else { signals };
    // SAFETY: open, and given up above.
    unsafe { OwnedFd::from_raw_fd(number) }
}

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

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialised, and the number a valid signal.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: initialised by sigemptyset.
    unsafe { set.assume_init() }
}

/// Takes the signals that are there; the children that they name. More may have ended than are named:
/// signals of one kind merge.
pub(crate) fn signalled_children(fd: &impl AsFd) -> Vec<u32> {
    // Signals of one kind merge, so there is one at a time.
    let mut children = Vec::new();
    let mut info = [const { MaybeUninit::<libc::signalfd_siginfo>::uninit() }; 4];
    // SAFETY: the buffer is as long as is said.
    let read = unsafe {
        libc::read(
            fd.as_fd().as_raw_fd(),
            info.as_mut_ptr().cast(),
            size_of_val(&info),
        )
    };
    let read = usize::try_from(read).unwrap_or(0) / size_of::<libc::signalfd_siginfo>();
    for info in &info[..read] {
        // SAFETY: the kernel has filled all of it.
        children.push(unsafe { info.assume_init() }.ssi_pid);
    }
    children
}

/// A child that has ended, whichever, left unreaped. `None` when there is none.
pub(crate) fn any_ended_child() -> Option<u32> {
    wait_for_any(libc::WNOWAIT)
}

/// Reaps all children that have ended; which.
pub(crate) fn reap_all() -> Vec<OsPid> {
    let one = || wait_for_any(0).map(OsPid::new);
    std::iter::from_fn(one).collect()
}

/// A child that has ended, whichever. `None` when there is none.
#[doc(alias = "waitid")]
fn wait_for_any(options: libc::c_int) -> Option<u32> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | options;
    // SAFETY: waitid writes the structure it is given.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
    if found != 0 {
        return None;
    }
    // SAFETY: zeroed, and written by waitid; si_pid stays 0 when there was nobody.
    let info = unsafe { info.assume_init() };
    // SAFETY: si_pid is valid for what waitid fills in.
    let pid = unsafe { info.si_pid() };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// Waits until a child has ended, and no longer than that.
pub(crate) fn wait_for_children(signals: &OwnedFd, limit: Duration) {
    let limit = occ_sck::Deadline::after(limit).timespec();
    let mut fds = [PollFd::new(signals, PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, limit.as_ref());
    signalled_children(signals);
}

/// Tells a process from a plain fork of it, without a system call.
///
/// A process that a zygote made is told by what that has given it. Any other has a page that is wiped in its forks.
#[derive(Debug)]
pub(crate) struct ForkGuard(());

static PAGE: OnceLock<Page> = OnceLock::new();

/// How many have armed the guard and not disarmed it. A fork has the number of its parent.
static ARMED: AtomicUsize = AtomicUsize::new(0);

impl ForkGuard {
    /// True in a fork of a process that was part of a system when it forked, or that a zygote made.
    pub(crate) fn is_fork_of_armed() -> bool {
        occ_spawn::entry::is_fork().unwrap_or_else(|| {
            ARMED.load(Ordering::Relaxed) > 0 && PAGE.get().is_some_and(Page::is_wiped)
        })
    }

    /// Marks this process as no fork. Every fork from now on finds the mark gone.
    ///
    /// A fork of a process that was part of a system must not call it: see [`ForkGuard::is_fork_of_armed`].
    pub(crate) fn arm() -> io::Result<ForkGuard> {
        if occ_spawn::entry::is_fork().is_none() {
            let page = match PAGE.get() {
                Some(page) => page,
                None => {
                    let fresh = Page::map()?;
                    PAGE.get_or_init(|| fresh)
                }
            };
            page.mark().store(1, Ordering::Relaxed);
            ARMED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(ForkGuard(()))
    }

    /// Undoes one [`ForkGuard::arm`].
    pub(crate) fn disarm(&self) {
        if occ_spawn::entry::is_fork().is_none() {
            ARMED.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// True in a fork.
    pub(crate) fn is_fork(&self) -> bool {
        occ_spawn::entry::is_fork().unwrap_or_else(|| PAGE.get().is_some_and(Page::is_wiped))
    }
}

/// Numbers in a file in memory that is shared with whoever else maps it, forks among them.
#[derive(Debug)]
pub(crate) struct SharedWords {
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the words are only read and written as atomics, and are there until the last owner has gone.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// As many as `bytes` hold.
    ///
    /// # Errors
    ///
    /// It holds none, or the kernel's: see mmap(2).
    #[doc(alias = "mmap")]
    pub(crate) fn map(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<SharedWords> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping touches nothing that exists.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                prot,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let count = bytes / size_of::<AtomicU64>();
        Ok(SharedWords { first, count })
    }

    pub(crate) fn get(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.count {
            return None;
        }
        // SAFETY: within the mapping.
        let word = unsafe { self.first.add(index) };
        // SAFETY: the mapping begins with a page, so this is aligned, and any bytes are a number. It is there for as long as the
        // answer; that nobody makes its file shorter is for whoever maps it to see to.
        Some(unsafe { word.as_ref() })
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let bytes = self.count * size_of::<AtomicU64>();
        // SAFETY: mapped by `map`, and nobody has a reference into it any more. The kernel rounds up to whole pages.
        unsafe { libc::munmap(self.first.as_ptr().cast(), bytes) };
    }
}

/// A page that is zero in a fork.
struct Page {
    mark: NonNull<AtomicU8>,
}

// SAFETY: the page is never unmapped, and only read and written as an atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    #[doc(alias = "MADV_WIPEONFORK")]
    fn map() -> io::Result<Page> {
        let size = rustix::param::page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let page = unsafe { libc::mmap(ptr::null_mut(), size, prot, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made.
        if unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mark = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Page { mark })
    }

    fn mark(&self) -> &AtomicU8 {
        // SAFETY: the page is mapped for ever, zeroed at first, and accessed as this type alone.
        unsafe { self.mark.as_ref() }
    }

    fn is_wiped(&self) -> bool {
        self.mark().load(Ordering::Relaxed) == 0
    }
}
