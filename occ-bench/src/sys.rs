//! All of this crate's unsafe code: a plain fork, rude ends and the clock, as a C program has them, a wait for the kernel, memory that
//! processes share, an allocator that counts when it is asked to, and a promise to procspawn.
#![expect(
    unsafe_code,
    reason = "fork, _exit, close_range, clock_gettime, membarrier, mmap, an allocator, what procspawn wants to be told"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::process::Pid;

/// Forks. The child does `work` and ends, without a word to anybody.
///
/// # Panics
///
/// If the calling process has a second thread: the child would have copies of its locks.
pub(crate) fn fork(work: impl FnOnce()) -> io::Result<Pid> {
    debug_assert!(is_single_threaded());
    // SAFETY: there is one thread, so the child is a whole copy of the process, and may do what that may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // Dropped also when `work` panics: the child must not go on with its parent's stack.
        let _end = End;
        work();
    }
    Pid::from_raw(pid)
        .filter(|_| pid > 0)
        .ok_or_else(io::Error::last_os_error)
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        exit_now(0)
    }
}

/// Ends the process without a word.
#[doc(alias = "_exit")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit ends the process, and touches nothing of it.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor of the process, whoever owns it. The caller ends without touching any of them.
#[doc(alias = "close_range")]
pub(crate) fn close_all() {
    // SAFETY: no memory is touched, and the owners of the descriptors do not live to use them.
    unsafe { libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32) };
}

/// A directory has two links, and this one has one more for each thread.
fn is_single_threaded() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|tasks| tasks.st_nlink == 3)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, by way of the C library: rustix would have to find the clock anew in every
/// process, and that is no part of what is measured.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: clock_gettime writes the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Waits until every processor has been outside of whatever it was in, so many times. Where the kernel does not offer that, not at all.
#[doc(alias = "membarrier")]
pub(crate) fn wait_for_all_processors(times: usize) {
    /// `MEMBARRIER_CMD_GLOBAL`, for which libc has no name everywhere.
    const GLOBAL: libc::c_int = 1;
    for _ in 0..times {
        // SAFETY: no memory is touched.
        unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    }
}

/// Numbers in memory that processes share, all 0 at first. It outlives each of them: what was written to it is there, also when the
/// writer is killed with its next instruction.
#[derive(Debug)]
pub(crate) struct SharedNumbers {
    file: OwnedFd,
    numbers: NonNull<AtomicU64>,
    len: usize,
}

impl SharedNumbers {
    /// So many, in a new memory file.
    pub(crate) fn new(len: usize) -> io::Result<SharedNumbers> {
        let file = rustix::fs::memfd_create(c"numbers", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, (len * size_of::<AtomicU64>()) as u64)?;
        SharedNumbers::in_file(file, len)
    }

    #[doc(alias = "mmap")]
    fn in_file(file: OwnedFd, len: usize) -> io::Result<SharedNumbers> {
        let bytes = len * size_of::<AtomicU64>();
        if rustix::fs::fstat(&file)?.st_size.unsigned_abs() < bytes as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the kernel chooses a place where nothing is, and the file is as long.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let numbers = NonNull::new(map.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedNumbers { file, numbers, len })
    }

    /// Where another process finds them.
    pub(crate) fn path(&self) -> String {
        let (process, file) = (std::process::id(), self.file.as_raw_fd());
        format!("/proc/{process}/fd/{file}")
    }

    /// Those that are to be found there.
    pub(crate) fn at_path(path: &str, len: usize) -> io::Result<SharedNumbers> {
        let file = std::fs::File::options().read(true).write(true).open(path)?;
        SharedNumbers::in_file(file.into(), len)
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there are not as many.
    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len, "number {index} of {}", self.len);
        // SAFETY: there are `len` numbers from there on, and the index is less.
        let number = unsafe { self.numbers.add(index) };
        // SAFETY: it is mapped for as long as this lives, a page is aligned for it, every pattern of bits is a number, and nobody
        // touches it but as an atomic one.
        unsafe { number.as_ref() }
    }
}

impl Drop for SharedNumbers {
    fn drop(&mut self) {
        let bytes = self.len * size_of::<AtomicU64>();
        // SAFETY: it was mapped with this length, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.numbers.as_ptr().cast(), bytes) };
    }
}

/// The system's allocator, which counts what a thread takes while it is watched. Else it looks at one number, which costs nothing that
/// could be measured.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many watch, on any thread.
static WATCHING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // After the thread's own end there is nobody to ask.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

fn is_watching() -> bool {
    WATCHING.load(Ordering::Relaxed) > 0
}

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_watching() {
            count(layout.size().cast_signed());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_watching() {
            count(layout.size().cast_signed());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_watching() {
            // Both are there while the one is copied to the other.
            count(size.cast_signed());
            count(-layout.size().cast_signed());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_watching() {
            count(-layout.size().cast_signed());
        }
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Memory that a piece of code took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The most that it had at once, in bytes, beyond what there was before.
    pub(crate) at_once: usize,
}

/// Does `body`, and says how much memory this thread took for it. One within another is counted for both.
pub(crate) fn watch_memory<T>(body: impl FnOnce() -> T) -> (T, Taken) {
    WATCHING.fetch_add(1, Ordering::Relaxed);
    let (before, most_before) = (HELD.get(), MOST.get());
    MOST.set(before);
    let result = body();
    let most = MOST.get();
    MOST.set(most.max(most_before));
    WATCHING.fetch_sub(1, Ordering::Relaxed);
    let at_once = (most - before).max(0).unsigned_abs();
    (result, Taken { at_once })
}

/// A duplicate of the socket between the calling process and its coordinator.
pub(crate) fn control_socket() -> io::Result<OwnedFd> {
    /// Its number in every process of a system.
    const CONTROL: i32 = 3;
    // SAFETY: the process keeps it open as long as it lives.
    let socket = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    socket.try_clone_to_owned()
}

/// Tells procspawn that what it is to run lies in this image.
pub(crate) fn promise_procspawn_one_image() {
    // SAFETY: its one caller, `peers::procspawn`, spawns a closure of this crate, which is no shared library.
    unsafe { procspawn::assert_spawn_is_safe() }
}
