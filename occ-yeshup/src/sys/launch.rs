//! Between fork and exec: one fork becomes three processes.
//!
//! ```text
//! caller      P1, which std has forked        P2                              P3
//!             looks at its parent
//!             forks ───────────────────────▶ forks ────────────────────────▶ waits for the word to go
//!             becomes the front              becomes the guard                │
//!               "ready" ───────────────────▶ has heard it: "go" ────────────▶ arms against the guard
//!                                                                            std executes the program
//! ```
//!
//! The front and the guard are the caller's own image again, started from /proc/self/exe, and not forks that live on: those
//! would keep a copy of the caller's memory. Signals stay blocked over the exec, so none is lost and none kills in between.
//!
//! P3 still holds the pipe on which std tells `spawn` of an error. So an exec that fails is told as ever, and if one of the
//! other two does not come to be what it should be, the word does not come: the end of the pipe does, and that is told.
#![expect(unsafe_code, reason = "pre_exec, and forks in it")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open, set_child_subreaper};

use super::fork::{become_image, fork};
use super::hook::{FIRST_FD, HOOK, MARKERS};
use super::signals::block_all;
use crate::arm::arm;
use crate::parent::Parent;
use crate::tree::{Orders, Role, tell_program};

/// Has what `command` starts go through [`split`] before it executes its program.
pub(crate) fn guard_before_exec(command: &mut Command, parent: Parent, grace: Duration) {
    // Nobody would catch the two before their `main` if the linker had left the hook out.
    std::hint::black_box(&HOOK);
    let is_ours = super::image::is_the_executable();
    let before = move || {
        if is_ours {
            split(parent, grace)
        } else {
            // The other program would run in place of the front.
            Err(io::Error::from_raw_os_error(libc::ELIBEXEC))
        }
    };
    // SAFETY: after fork only async-signal-safe work is allowed: `split` makes system calls and nothing else, and an
    // `io::Error` made from an error number does not allocate.
    unsafe { command.pre_exec(before) };
}

/// In the process that is to execute the program: it has been split off, with this grace period in milliseconds, and one more. It is 0
/// in the caller, whose memory this is a copy of.
static SPLIT: AtomicU64 = AtomicU64::new(0);

/// Returns in the process that is to execute the program.
fn split(parent: Parent, grace: Duration) -> io::Result<()> {
    let split = grace_ms(grace).saturating_add(1);
    // Who asks a second time asks for what is here, unless it is another grace period: the front has its orders.
    match SPLIT.load(Relaxed) {
        0 => {}
        before if before == split => return Ok(()),
        _ => return Err(io::Error::from_raw_os_error(libc::EALREADY)),
    }
    rustix::fs::access("/proc/self/exe", Access::EXEC_OK).map_err(|_| no_image())?;
    let caller = pidfd_open(parent.pid(), PidfdFlags::empty())?;
    // Looked at last: a caller that had died before has left us to somebody else.
    parent.must_be_ours()?;
    set_child_subreaper(Some(getpid()))?;
    let kind = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (front, guard) = socketpair(AddressFamily::UNIX, kind.0, kind.1, None)?;
    let (word, go) = pipe_with(PipeFlags::CLOEXEC)?;
    // Before either of them can say anything: orders come first.
    Orders::new(Role::Front, grace_ms(grace)).send(&guard)?;
    Orders::new(Role::Guard, 0).send(&front)?;
    let mask = block_all();

    // SAFETY: a fork of the caller that makes nothing but system calls, as are its forks.
    if unsafe { fork() }.inspect_err(|_| mask.restore())?.is_some() {
        drop((word, go, guard));
        become_image(MARKERS[0].0, [&front, &caller], FIRST_FD);
    }

    let own = Parent::current();
    set_child_subreaper(Some(getpid()))?;
    // An error here is this process's to tell: it holds std's pipe as well.
    // SAFETY: as above.
    if let Some(program) = unsafe { fork() }? {
        drop(word);
        tell_program(&front, program);
        drop(front);
        become_image(MARKERS[1].0, [&guard, &caller, &go], FIRST_FD);
    }

    drop((front, guard, caller, go));
    wait_for_the_word(&word)?;
    mask.restore();
    SPLIT.store(split, Relaxed);
    arm(own)
}

/// Reads one byte, which the guard writes when all is in place.
pub(crate) fn wait_for_the_word(word: &std::os::fd::OwnedFd) -> io::Result<()> {
    loop {
        match rustix::io::read(word, &mut [0; 1]) {
            Ok(1) => return Ok(()),
            Ok(_) => return Err(no_image()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn no_image() -> io::Error {
    io::Error::from_raw_os_error(libc::ELIBACC)
}

fn grace_ms(grace: Duration) -> u64 {
    u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)
}
