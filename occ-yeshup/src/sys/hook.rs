//! Before `main`: the front and the guard of a command are caught here.
//!
//! What is looked at first is `argv[0]`, which costs a program of somebody else's next to nothing. Whoever is started with
//! one of our names by somebody else finds no [`Orders`] and runs its `main`.
#![expect(
    unsafe_code,
    reason = "runs before the program does, on what the C library passes it"
)]

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::RawFd;

use rustix::fs::{Mode, OFlags};

use super::descriptors::{borrow, close_from, own};
use super::fork::end;
use crate::tree::{Orders, Role};

/// Where an image that is to be a front or a guard finds its descriptors: the line, then the others.
pub(crate) const FIRST_FD: RawFd = 3;

/// What argv[0] of such an image is, by its role.
pub(crate) const MARKERS: [(&CStr, Role); 2] = [
    (c"yeshup-front", Role::Front),
    (c"yeshup-guard", Role::Guard),
];

type InitFn = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char);

/// With a priority, to come before what the program itself has to initialise: none of that runs in a front or a guard.
#[used]
#[unsafe(link_section = ".init_array.00100")]
pub(super) static HOOK: InitFn = hook;

/// Runs in every start of the image, before `main`: at once over for all but our own.
extern "C" fn hook(argc: c_int, argv: *mut *mut c_char, _envp: *mut *mut c_char) {
    let Some(role) = role(argc, argv) else { return };
    // SAFETY: nothing of this program has begun that could close it; if it is not open, the calls say so.
    let Some(orders) = Orders::peek(unsafe { borrow(FIRST_FD) }, role) else {
        return;
    };
    let count = role.descriptors();
    // SAFETY: nothing of this program has begun that could own a descriptor.
    unsafe { close_from(FIRST_FD + count) };
    // SAFETY: whoever left the orders left the descriptors that go with them; they are taken here alone.
    let line = unsafe { own(FIRST_FD) };
    // SAFETY: as above.
    let caller = unsafe { own(FIRST_FD + 1) };
    match role {
        Role::Front => crate::tree::front_of_command(line, caller, orders),
        Role::Guard => {
            // SAFETY: as above; the guard has one more.
            let go = unsafe { own(FIRST_FD + 2) };
            crate::tree::guard_of_command(line, caller, go);
        }
    }
    end(1)
}

fn role(argc: c_int, argv: *mut *mut c_char) -> Option<Role> {
    let of = |name: &[u8]| {
        let found = MARKERS.iter().find(|(marker, _)| marker.to_bytes() == name);
        found.map(|(_, role)| *role)
    };
    if !cfg!(target_env = "gnu") {
        // Only glibc hands init functions what `main` gets.
        let file = rustix::fs::open(
            "/proc/self/cmdline",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let mut start = [0; 16];
        let read = rustix::io::read(file.ok()?, &mut start).ok()?;
        return of(start[..read].split(|byte| *byte == 0).next()?);
    }
    if argc < 1 || argv.is_null() {
        return None;
    }
    // SAFETY: glibc passes init functions the argv of the process, with argc entries.
    let first = unsafe { argv.read() };
    if first.is_null() {
        return None;
    }
    // SAFETY: entry 0 exists, and each entry is a C string.
    of(unsafe { CStr::from_ptr(first) }.to_bytes())
}
