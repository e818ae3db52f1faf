//! Waiting for a socket, and sending on it until it is done or a deadline has come. The socket stays in blocking mode, because the
//! mode belongs to the file and so to everybody who holds it: each call says for itself whether it may wait.

use std::io;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Resource, getrlimit};

use crate::deadline::Deadline;
use crate::error::SendError;
use crate::socket::MAX_FDS;

/// How long one waits for what the kernel does not tell of, before one looks again.
pub(crate) const MOMENT: Duration = Duration::from_millis(5);

/// How long one who has no deadline waits for room for descriptors. Those that are under way may be for this process
/// itself, or for one that never looks, and then it would wait for ever.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Tries until something was sent, and tells how much.
///
/// # Errors
///
/// Nothing was sent. [`SendError::Full`] once the deadline has come.
pub(crate) fn transmit(
    fd: impl AsFd,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<usize, SendError> {
    let fd = fd.as_fd();
    let mut flags = SendFlags::NOSIGNAL;
    if deadline != Deadline::Never {
        flags |= SendFlags::DONTWAIT;
    }
    let poll = |source| SendError::Io { op: "poll", source };
    let mut in_flight = None;
    loop {
        // Most messages are one piece without descriptors, and a call that takes just that is a seventh faster.
        let sent = match (parts, fds) {
            ([all], []) => rustix::net::send(fd, all, flags),
            _ => send_with(fd, parts, fds, flags),
        };
        match sent {
            Ok(sent) => return Ok(sent),
            Err(Errno::INTR) => {}
            // Looked at after an attempt, so that the last one comes after the wait: the kernel reports
            // room only once three quarters are free, and another sender may take it first.
            Err(Errno::AGAIN) if deadline.passed() => return Err(SendError::Full),
            Err(Errno::AGAIN) => wait(fd, PollFlags::OUT, deadline).map_err(poll)?,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED | Errno::NOTCONN) => {
                return Err(SendError::Closed);
            }
            // The kernel says so before it looks whether there is a peer.
            Err(Errno::TOOMANYREFS) if is(fd, PollFlags::HUP).map_err(poll)? => {
                return Err(SendError::Closed);
            }
            Err(Errno::TOOMANYREFS) => {
                let until = *in_flight.get_or_insert_with(|| match deadline {
                    Deadline::Never => Deadline::after(IN_FLIGHT),
                    bounded => bounded,
                });
                if until.passed() {
                    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
                    return Err(SendError::TooManyInFlight { limit });
                }
                wait(fd, PollFlags::empty(), until.no_later_than(MOMENT)).map_err(poll)?;
            }
            Err(source) => {
                return Err(SendError::Io {
                    op: "sendmsg",
                    source: source.into(),
                });
            }
        }
    }
}

fn send_with(
    fd: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(
            fits,
            "the buffer is made for the largest number that is let in"
        );
    }

    rustix::net::sendmsg(fd, parts, &mut control, flags)
}

/// True when `event` is so of the socket now.
pub(crate) fn is(fd: impl AsFd, event: PollFlags) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, event)];
    loop {
        match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => return Ok(fds[0].revents().contains(event)),
            Err(Errno::INTR) => {}
            Err(source) => return Err(source.into()),
        }
    }
}

/// Waits until `events` may be true of the socket, or the deadline has come; the caller tries again
/// and sees.
pub(crate) fn wait(fd: impl AsFd, events: PollFlags, deadline: Deadline) -> io::Result<()> {
    let mut fds = [PollFd::new(&fd, events)];
    match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(source) => Err(source.into()),
    }
}
