//! The end of a process.
#![expect(unsafe_code, reason = "_exit(2)")]

/// Ends the process at once: no destructors, no exit handlers.
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: _exit takes any status and never returns.
    unsafe { libc::_exit(status) }
}
