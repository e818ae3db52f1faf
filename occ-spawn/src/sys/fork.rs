//! fork(2), of a sibling and of one that shares the descriptors.
#![expect(unsafe_code, reason = "raw clone3(2) and clone(2)")]

use std::ffi::c_void;
use std::io;
use std::ptr;

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

/// Whose child it is, and what it has of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The caller's parent's, with a copy of the caller's descriptors.
    Sibling,
    /// The same, and the first process of a new PID namespace.
    InNamespace,
    /// The caller's, and both have the caller's descriptors in one table.
    SharesDescriptors,
}

/// Forks. `None` in the child.
///
/// # Safety
///
/// The process must have one thread, and `state` must be that thread's. Where descriptors are shared, each must be used as if one
/// process had them: what one closes is closed in both.
#[doc(alias = "clone")]
pub(crate) unsafe fn fork(state: &ForkState, kind: Kind) -> io::Result<Option<u32>> {
    // glibc caches the thread id in memory, and a raw clone does not know: a child that pinned itself
    // to a processor would pin its parent. The two TID flags make the kernel write the new id there.
    let flags = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let of_kind = match kind {
        Kind::Sibling => libc::CLONE_PARENT,
        Kind::InNamespace => libc::CLONE_PARENT | libc::CLONE_NEWPID,
        Kind::SharesDescriptors => libc::CLONE_FILES,
    };
    let flags = (flags | of_kind) as libc::c_ulong;
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
