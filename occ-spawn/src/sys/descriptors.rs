//! File descriptors by number.
#![expect(unsafe_code, reason = "what has a number has no owner yet")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

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
    // By number: the C library's functions for single calls lie on many pages, and each is a page fault in a new process.
    // SAFETY: dup3 on plain numbers.
    if unsafe { libc::syscall(libc::SYS_dup3, from.as_raw_fd(), to, flags) } >= 0 {
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
pub unsafe fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range(2) on plain numbers; the caller answers for the owners.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if closed == 0 {
        return Ok(());
    }
    // Before Linux 5.9, or a seccomp filter that does not know the call: one by one. The first comes first: to see which are open takes
    // one, and there may be no other left.
    // SAFETY: as above.
    unsafe { libc::close(first) };
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
