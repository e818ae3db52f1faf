//! The descriptors of a new process: what it was given goes where it belongs, and everything else is closed.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use crate::boot::CONTROL_FD;
use crate::sys;
use crate::zygote::Start;

/// Puts what the process was given where it belongs and closes everything else; close-on-exec means
/// nothing to a fork.
#[expect(unsafe_code, reason = "rearranges descriptors by number")]
pub(super) fn own_only(start: &Start, stdin: Option<OwnedFd>) -> io::Result<Fds> {
    if start.keep_stdin
        && let Some(stdin) = &stdin
    {
        sys::duplicate_to(stdin.as_fd(), 0, false)?;
    }
    // What was received lies at the lowest numbers that were free, in this order and all above the
    // control socket; so each goes to its place or down, and overwrites only what has been moved.
    sys::duplicate_to(start.control.as_fd(), CONTROL_FD, true)?;
    let mut next = CONTROL_FD + 1;
    let mut place = |fd: Option<&OwnedFd>| -> io::Result<Option<i32>> {
        let Some(fd) = fd else { return Ok(None) };
        sys::duplicate_to(fd.as_fd(), next, true)?;
        next += 1;
        Ok(Some(next - 1))
    };
    let socket = place(start.socket.as_ref())?;
    let blob = place(start.blob.as_ref().map(|(fd, _)| fd))?;
    let mut all = |fds: &[OwnedFd]| -> io::Result<Vec<RawFd>> {
        let placed = fds.iter().map(|fd| place(Some(fd)));
        placed.filter_map(Result::transpose).collect()
    };
    let joins = all(&start.joins)?;
    let given = all(&start.given)?;
    let with_args = all(&start.with_args)?;
    // SAFETY: the owners of what is closed are `start` and `stdin`, which are forgotten below and in
    // `prepare`, and the zygote's own state, which nobody touches again in this process.
    let closed = unsafe { sys::close_from(next) };
    std::mem::forget(stdin);
    closed?;
    // SAFETY: made just now, owned by nobody else.
    let socket = socket.map(|fd| unsafe { sys::own_fd(fd) });
    let len = start.blob.as_ref().map_or(0, |(_, len)| *len);
    // SAFETY: as above.
    let blob = blob.map(|fd| (unsafe { sys::own_fd(fd) }, len));
    // SAFETY: as above.
    let own = |fd: RawFd| unsafe { sys::own_fd(fd) };
    Ok(Fds {
        socket,
        blob,
        joins: joins.into_iter().map(own).collect(),
        given: given.into_iter().map(own).collect(),
        with_args: with_args.into_iter().map(own).collect(),
    })
}

pub(super) struct Fds {
    pub(super) socket: Option<OwnedFd>,
    pub(super) blob: Option<(OwnedFd, u64)>,
    /// Control groups to be joined.
    pub(super) joins: Vec<OwnedFd>,
    /// What the options speak of.
    pub(super) given: Vec<OwnedFd>,
    /// What is in the arguments.
    pub(super) with_args: Vec<OwnedFd>,
}
