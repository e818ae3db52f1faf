//! Before `main`: our own boots are caught here.
#![expect(
    unsafe_code,
    reason = "runs before the program does, on what the C library passes it"
)]

use std::ffi::{CStr, c_char, c_int};

use super::{close_from, end};

unsafe extern "C" {
    #[link_name = "__init_array_end"]
    static INIT_ARRAY_END: InitFn;
}

type InitFn = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);

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
