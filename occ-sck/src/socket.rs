//! One end of a pair: datagrams, file descriptors, and the kernel's word on who sent them.
//!
//! The socket stays in blocking mode for as long as it lives, because the mode belongs to the file and
//! so to everybody who holds it; each call says for itself whether it may wait.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags,
    SocketType,
};
use rustix::process::{Resource, getrlimit};

use crate::batch::Batch;
use crate::deadline::Deadline;
use crate::error::{FrameError, ReceiveError, SendError};
use crate::sys::{self, Message};

/// Most file descriptors in one datagram: the kernel's own limit (unix(7)).
pub const MAX_FDS: usize = 253;

/// What we ask the kernel to hold for a reader that is behind. It gives no more than
/// `net.core.wmem_max`; the default would hold 278 messages of 16 bytes.
const SEND_BUFFER: usize = 1 << 20;

/// How long one waits for what the kernel does not tell of, before one looks again.
const MOMENT: Duration = Duration::from_millis(5);

/// How long one who has no deadline waits for room for descriptors. Those that are under way may be for this process
/// itself, or for one that never looks, and then it would wait for ever.
const IN_FLIGHT: Duration = Duration::from_secs(5);

/// Who sent a datagram, as the kernel says (`SCM_CREDENTIALS`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The sender's process id, in the receiver's PID namespace.
    pub os_pid: u32,
}

/// What a call to [`Socket::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram: its first `len` bytes are in the buffer.
    Datagram {
        /// Its length in bytes, never 0.
        len: usize,
        /// Its sender, if [`Socket::ask_credentials`] asked before it was sent, and the sender is in a PID
        /// namespace that this process can see into.
        sender: Option<Credentials>,
    },
    /// The peer has closed its end, and everything it had sent before has been received.
    Closed,
    /// Nothing arrived before the deadline.
    Nothing,
}

/// One end of a connected `SOCK_SEQPACKET` pair.
///
/// ```
/// use std::io::IoSlice;
/// use std::time::Duration;
///
/// use occ_sck::{Deadline, Received, Socket};
///
/// let (a, b) = Socket::pair()?;
/// b.ask_credentials()?;
/// a.send(&[IoSlice::new(b"in "), IoSlice::new(b"pieces")], &[], Deadline::Now)?;
/// a.close();
///
/// let (mut buffer, mut fds) = ([0; 100], Vec::new());
/// let deadline = Deadline::after(Duration::from_secs(5));
/// let Received::Datagram { len, sender } = b.receive(&mut buffer, &mut fds, deadline)? else {
///     panic!("something was sent");
/// };
/// assert_eq!(&buffer[..len], b"in pieces");
/// assert_eq!(sender.map(|sender| sender.os_pid), Some(std::process::id()));
/// assert_eq!(b.receive(&mut buffer, &mut fds, deadline)?, Received::Closed);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Two sockets connected with each other, both close-on-exec.
    ///
    /// # Errors
    ///
    /// No room for two descriptors, here or in the system.
    #[doc(alias = "socketpair")]
    pub fn pair() -> std::io::Result<(Socket, Socket)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        for end in [&a, &b] {
            rustix::net::sockopt::set_socket_send_buffer_size(end, SEND_BUFFER)?;
        }
        Ok((Socket { fd: a }, Socket { fd: b }))
    }

    /// Asks the kernel to say of every datagram from now on which process sent it.
    ///
    /// # Errors
    ///
    /// What setsockopt(2) says.
    #[doc(alias = "SO_PASSCRED")]
    pub fn ask_credentials(&self) -> std::io::Result<()> {
        Ok(rustix::net::sockopt::set_socket_passcred(&self.fd, true)?)
    }

    /// Sends one datagram of at least one byte, made of `parts` in order, with file descriptors.
    ///
    /// It is sent whole or not at all. The kernel duplicates the descriptors; the caller keeps its own.
    ///
    /// With [`Deadline::Never`] it waits for the peer for as long as it takes, but no longer than five seconds where
    /// the kernel lets no more descriptors be under way.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the peer has gone, [`SendError::Full`] when it did not make room before
    /// the deadline, [`SendError::TooManyInFlight`] when there was none for descriptors, which is not the peer's
    /// fault; [`SendError::TooManyFds`] over [`MAX_FDS`]; else what sendmsg(2) says, and EINVAL for
    /// a datagram without a byte.
    #[doc(alias = "sendmsg")]
    pub fn send(
        &self,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        if fds.len() > MAX_FDS {
            return Err(SendError::TooManyFds { given: fds.len() });
        }
        if parts.iter().all(|part| part.is_empty()) {
            // The receiver could not tell it from the end.
            let source = Errno::INVAL.into();
            return Err(SendError::Io {
                op: "sendmsg",
                source,
            });
        }
        let mut flags = SendFlags::NOSIGNAL;
        if deadline != Deadline::Never {
            flags |= SendFlags::DONTWAIT;
        }
        let poll = |source| SendError::Io { op: "poll", source };
        let mut in_flight = None;
        loop {
            // Most messages are one piece without descriptors, and a call that takes just that is a seventh faster.
            let sent = match (parts, fds) {
                ([all], []) => rustix::net::send(&self.fd, all, flags),
                _ => self.send_with(parts, fds, flags),
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // Looked at after an attempt, so that the last one comes after the wait: the kernel reports
                // room only once three quarters are free, and another sender may take it first.
                Err(Errno::AGAIN) if deadline.passed() => return Err(SendError::Full),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline).map_err(poll)?,
                Err(Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED | Errno::NOTCONN) => {
                    return Err(SendError::Closed);
                }
                // The kernel says so before it looks whether there is a peer.
                Err(Errno::TOOMANYREFS) if self.is_broken().map_err(poll)? => {
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
                    self.wait(PollFlags::empty(), until.no_later_than(MOMENT))
                        .map_err(poll)?;
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
        &self,
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

        rustix::net::sendmsg(&self.fd, parts, &mut control, flags)
    }

    /// Receives one datagram into `buffer`, and appends the file descriptors that came with it to `fds`,
    /// each close-on-exec.
    ///
    /// # Errors
    ///
    /// A datagram longer than `buffer`, or descriptors that were lost because this process has no room
    /// for them: the datagram is consumed, what arrived with it is closed, and the next one can be
    /// received. One without a byte, from a peer that is no `Socket`.
    #[doc(alias = "recvmsg")]
    pub fn receive(
        &self,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Deadline,
    ) -> Result<Received, ReceiveError> {
        self.receive_unless(false, buffer, fds, deadline)
    }

    /// Receives one of the datagrams that are left, where it is known that the peer has hung up: poll(2) or epoll(7) has said
    /// POLLHUP. So nothing more can come, and one look is enough to see the end.
    ///
    /// # Errors
    ///
    /// As [`Socket::receive`].
    pub fn receive_rest(
        &self,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Received, ReceiveError> {
        self.receive_unless(true, buffer, fds, Deadline::Now)
    }

    fn receive_unless(
        &self,
        mut ended: bool,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Deadline,
    ) -> Result<Received, ReceiveError> {
        let mut wait = deadline == Deadline::Never;
        let limit = buffer.len();
        let poll = |source| ReceiveError::Io { op: "poll", source };
        loop {
            match sys::recvmsg(&self.fd, buffer, wait) {
                Ok(message) => {
                    message.check(limit)?;
                    if message.len > 0 {
                        fds.extend(message.fds);
                        return Ok(Received::Datagram {
                            len: message.len,
                            sender: message.os_pid.map(|os_pid| Credentials { os_pid }),
                        });
                    }
                    if ended {
                        return Ok(Received::Closed);
                    }
                    // A datagram without a byte, from a peer that lives. Nobody here sends one.
                    if !self.hung_up().map_err(poll)? {
                        return Err(FrameError::Short {
                            len: 0,
                            expected: 1,
                        }
                        .into());
                    }
                    // The end, as it looks. The kernel finds the queue empty first and looks whether the
                    // peer has closed second, and a peer that sent and closed in between has left
                    // something. It can add nothing now, so a second look is the truth.
                    ended = true;
                    wait = false;
                }
                // The peer died with unread input: the kernel says so once, before what the peer had
                // sent, which is still there to be read.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) if deadline.passed() => return Ok(Received::Nothing),
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, deadline).map_err(poll)?,
                Err(Errno::NOTCONN) => return Ok(Received::Closed),
                Err(source) => {
                    return Err(ReceiveError::Io {
                        op: "recvmsg",
                        source: source.into(),
                    });
                }
            }
        }
    }

    /// Receives what is here, up to as many datagrams as fit into `batch`, without waiting. Whoever has many short ones
    /// to receive has them sooner: one system call brings them all.
    ///
    /// What is in the batch from before is dropped. An empty one says nothing of why: [`Socket::receive`] tells whether
    /// the peer has closed.
    ///
    /// # Errors
    ///
    /// What recvmmsg(2) says. What is wrong with one datagram stands in its place.
    #[doc(alias = "recvmmsg")]
    pub fn receive_batch(&self, batch: &mut Batch) -> Result<(), ReceiveError> {
        loop {
            match batch.fill_from(&self.fd) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(()),
                // As in `receive`.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(source) => {
                    return Err(ReceiveError::Io {
                        op: "recvmmsg",
                        source: source.into(),
                    });
                }
            }
        }
        if batch.looks_ended() {
            let ended = self.hung_up();
            batch.set_ended(ended.map_err(|source| ReceiveError::Io { op: "poll", source })?);
        }
        Ok(())
    }

    /// Ends the connection for everybody who holds either end, and closes this one.
    ///
    /// Dropping a socket only closes it here: see [`Socket::detach`].
    #[doc(alias = "shutdown")]
    pub fn close(self) {
        self.shutdown();
    }

    /// Ends the connection for everybody, and keeps the descriptor.
    pub(crate) fn shutdown(&self) {
        // ENOTCONN, when the peer went first, is what was wanted.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }

    /// Closes this end here, and leaves the connection to whoever else holds it: a process that the
    /// descriptor was sent to, or a fork.
    pub fn detach(self) {
        drop(self);
    }

    /// True when nothing more can arrive than what is queued.
    fn hung_up(&self) -> std::io::Result<bool> {
        self.is(PollFlags::RDHUP)
    }

    /// True when nothing can be sent any more.
    fn is_broken(&self) -> std::io::Result<bool> {
        self.is(PollFlags::HUP)
    }

    fn is(&self, event: PollFlags) -> std::io::Result<bool> {
        let mut fds = [PollFd::new(&self.fd, event)];
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
    fn wait(&self, events: PollFlags, deadline: Deadline) -> std::io::Result<()> {
        let mut fds = [PollFd::new(&self.fd, events)];
        match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(source) => Err(source.into()),
        }
    }
}

impl Message {
    /// Whether it has arrived as it was sent; the buffer had `limit` bytes.
    pub(crate) fn check(&self, limit: usize) -> Result<(), FrameError> {
        if self.fds_lost {
            return Err(FrameError::FdsLost);
        }
        if self.cut {
            return Err(FrameError::Oversized { limit });
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Socket {
    /// Takes an end that was received or inherited.
    fn from(fd: OwnedFd) -> Socket {
        Socket { fd }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.fd
    }
}
