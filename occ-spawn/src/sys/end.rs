//! The end of a process.
#![expect(unsafe_code, reason = "_exit(2)")]

/// Ends the process at once: no destructors, no exit handlers.
pub(crate) fn end(status: i32) -> ! {
    // By number, as where descriptors are duplicated; should a filter not let it through, by name.
    // SAFETY: exit_group(2) takes any status, and never returns.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    // SAFETY: _exit takes any status and never returns.
    unsafe { libc::_exit(status) }
}
