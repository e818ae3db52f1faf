//! A program and all that it starts, taken down as a whole.
//!
//! ```text
//! caller
//! └─ front       a child of the caller's, which stands for the program: passes signals on, ends as the program did
//!    └─ guard    starts the program, waits for its end and for the front's
//!       └─ program, and what it starts
//!       └─ whatever of that has lost its parent
//! ```
//!
//! Front and guard are child subreapers: who loses its parent comes to the nearest one above. So all that descends from the
//! program is below the guard, or below the front when the guard has been killed, however far it has strayed, and nothing
//! of it has to be marked. Both have nothing but signals, a socket between them (the line) and a pidfd of the caller; they
//! run none of the program's code, and all signals but SIGKILL and SIGSTOP come to a descriptor.
//!
//! | who dies | who sees it, and how | what is done |
//! |---|---|---|
//! | the program | the guard, which is its parent | what is left is killed, the front told, and ends as the program did |
//! | the caller | the front, by a pidfd | SIGTERM to the program; after the grace period all is killed |
//! | the front | the guard, by the end of the line | all is killed |
//! | the guard | the program, by its parent-death signal; the front, by SIGCHLD | all is killed, by the front |

mod below;
mod front;
mod guard;
mod line;
mod orders;
mod take_down;

pub(crate) use front::{Front, Outcome};
pub(crate) use guard::Guard;
pub(crate) use line::{Ended, Line, tell_program};
pub(crate) use orders::{Orders, Role};

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::sys;

/// How long a program may take to end after it was told to.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What processes have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Of the processor, by all of them together.
    pub(crate) time: Duration,
    /// Bytes of memory, by the one that had most.
    pub(crate) peak: u64,
}

impl Used {
    pub(crate) fn add(&mut self, other: Used) {
        self.time += other.time;
        self.peak = self.peak.max(other.peak);
    }
}

/// What the front of a [`Command`](std::process::Command) does, in place of `main`.
pub(crate) fn front_of_command(line: OwnedFd, caller: OwnedFd, orders: Orders) {
    let line = Line::new(line);
    settle(c"yeshup-front");
    // The orders were looked at, and are still there.
    line.skip();
    let Ok(front) = Front::new(line, Some(caller), Duration::from_millis(orders.number)) else {
        return;
    };
    match front.run().status() {
        Some(status) => end_as(status),
        // The guard was killed, and nobody knows what has become of the program; it is armed, so it was killed as well.
        None => sys::end_by(libc::SIGKILL),
    }
}

/// What its guard does.
pub(crate) fn guard_of_command(line: OwnedFd, caller: OwnedFd, go: OwnedFd) {
    let line = Line::new(line);
    settle(c"yeshup-guard");
    line.skip();
    if let Ok(guard) = Guard::new(line, Some(caller), go, None) {
        guard.run();
    }
    sys::end(0);
}

/// Holds nothing that is anybody else's.
pub(crate) fn settle(name: &std::ffi::CStr) {
    sys::default_for_children();
    let _ = rustix::thread::set_name(name);
    let _ = rustix::process::chdir(c"/");
}

/// Ends as another process did, so that whoever waits is told the same. A core file has been written already, if any.
fn end_as(status: occ_proc::OsStatus) -> ! {
    if let Some(signal) = status.signal() {
        sys::end_by(signal.number());
        sys::end(128 + signal.number());
    }
    sys::end(status.code().unwrap_or(1))
}
