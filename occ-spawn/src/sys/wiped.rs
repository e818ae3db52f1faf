//! A page that forks lose.
#![expect(unsafe_code, reason = "maps memory")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

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
