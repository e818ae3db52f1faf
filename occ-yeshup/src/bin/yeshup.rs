//! Runs a program, and leaves nothing of it: see `yeshup --help`.
//!
//! It has a C `main`, because what `std` does before a Rust one would reach the program: SIGPIPE ignored, and files where
//! standard descriptors were closed.
#![no_main]

use std::ffi::{c_char, c_int};
use std::io::Write;

#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "what the C library calls")]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: the C library passes `main` argc C strings.
    let arguments = unsafe { occ_yeshup::cli::arguments(argc, argv) };
    let end = occ_yeshup::cli::run(arguments);
    // Where nobody can be told, there is nothing else to do.
    let _ = std::io::stdout().write_all(end.out.as_bytes());
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().write_all(end.err.as_bytes());
    end.code
}
