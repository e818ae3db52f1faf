//! What a program was started with, where nothing of `std` has run before its `main`.
#![expect(unsafe_code, reason = "reads what the kernel put on the stack")]

use std::ffi::{CStr, CString, c_char, c_int};

/// The arguments that a C `main` is given.
///
/// # Safety
///
/// `argv` must have `argc` entries, each a C string.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<CString> {
    let count = usize::try_from(argc).unwrap_or(0);
    let mut arguments = Vec::with_capacity(count);
    for at in 0..count {
        // SAFETY: `at` is below `argc`, by the caller's word.
        let argument = unsafe { argv.wrapping_add(at).read() };
        // SAFETY: each entry is a C string, by the caller's word.
        arguments.push(unsafe { CStr::from_ptr(argument) }.to_owned());
    }
    arguments
}
