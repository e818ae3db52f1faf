//! File descriptors by number.
#![expect(unsafe_code, reason = "what has a number has no owner yet")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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

/// Whether there is a descriptor with this number.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl on a plain number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Makes `to` a duplicate of `from`, which programs that are executed find; closes what `to` was.
pub(crate) fn put(from: impl AsFd, to: RawFd) -> io::Result<()> {
    // SAFETY: dup2 on plain numbers. What was at `to` is by the callers' doing nobody's.
    match unsafe { libc::dup2(from.as_fd().as_raw_fd(), to) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Closes every descriptor from `first` on.
///
/// # Safety
///
/// Whoever owns one of them must never use it again.
#[doc(alias = "close_range")]
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: close_range(2) on plain numbers; the caller answers for the owners.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Before Linux 5.9, or a seccomp filter that does not know the call: one by one. The first comes first: to see which are open takes
    // one, and there may be no other left.
    // SAFETY: as above.
    unsafe { libc::close(first) };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for fd in open.collect::<Vec<_>>() {
        if fd >= first {
            // SAFETY: as above. One of the numbers is the directory itself, closed by now.
            unsafe { libc::close(fd) };
        }
    }
}

/// What this process was given beyond the first three.
///
/// # Errors
///
/// There is no /proc to see what is open.
pub(crate) fn inherited_descriptors() -> io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let open = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    let mut open: Vec<_> = open.filter(|fd| *fd > 2).collect();
    // Not the directory, which is closed by now.
    open.retain(|fd| is_open(*fd));
    Ok(open)
}

/// Closes what this process was given: those descriptors have no owner.
pub(crate) fn close_inherited(given: &[RawFd]) {
    for fd in given {
        // SAFETY: open since before this program began, and of no use to it.
        unsafe { libc::close(*fd) };
    }
}
