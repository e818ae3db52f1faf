//! One end of a pair: datagrams, file descriptors, and the kernel's word on who sent them.
//!
//! Sending, and why the socket stays in blocking mode, is in `transmit.rs`.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

use crate::batch::Batch;
use crate::deadline::Deadline;
use crate::error::{FrameError, ReceiveError, SendError};
use crate::sys::{self, Message};
use crate::transmit::{self, transmit};

/// Most file descriptors in one datagram: the kernel's own limit (unix(7)).
pub const MAX_FDS: usize = 253;

/// What we ask the kernel to hold for a reader that is behind. It gives no more than
/// `net.core.wmem_max`; the default would hold 278 messages of 16 bytes.
pub(crate) const SEND_BUFFER: usize = 1 << 20;

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
        transmit(&self.fd, parts, fds, deadline).map(drop)
    }

    /// Sends `datagram`, which has bytes, if there is room for it now. False when it was not sent: [`Socket::send`] tells why.
    #[inline]
    pub(crate) fn try_send(&self, datagram: &[u8]) -> bool {
        rustix::net::send(
            &self.fd,
            datagram,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        )
        .is_ok()
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
        self.receive_unless(false, buffer, Some(fds), deadline)
    }

    /// Receives one datagram into `buffer`, without waiting, and no file descriptors: the kernel closes those that came with it,
    /// and they take no room in this process. It takes a tenth less time than [`Socket::receive`].
    ///
    /// # Errors
    ///
    /// As [`Socket::receive`], but for what that says of descriptors.
    #[doc(alias = "recv")]
    #[inline]
    pub fn receive_bytes(&self, buffer: &mut [u8]) -> Result<Received, ReceiveError> {
        self.receive_unless(false, buffer, None, Deadline::Now)
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
        self.receive_unless(true, buffer, Some(fds), Deadline::Now)
    }

    fn receive_unless(
        &self,
        mut ended: bool,
        buffer: &mut [u8],
        mut fds: Option<&mut Vec<OwnedFd>>,
        deadline: Deadline,
    ) -> Result<Received, ReceiveError> {
        let mut wait = deadline == Deadline::Never;
        let limit = buffer.len();
        let poll = |source| ReceiveError::Io { op: "poll", source };
        loop {
            let received = match fds {
                Some(_) => sys::recvmsg(&self.fd, buffer, wait),
                None => recv(&self.fd, buffer),
            };
            match received {
                Ok(message) => {
                    message.check(limit)?;
                    if message.len > 0 {
                        if let Some(fds) = &mut fds {
                            fds.extend(message.fds);
                        }
                        return Ok(Received::Datagram {
                            len: message.len,
                            sender: message.os_pid.map(|os_pid| Credentials { os_pid }),
                        });
                    }
                    if ended {
                        // A peer that is none of ours may have sent a datagram without a byte, and something behind it.
                        if rustix::io::ioctl_fionread(&self.fd).is_ok_and(|bytes| bytes > 0) {
                            return Err(empty().into());
                        }
                        return Ok(Received::Closed);
                    }
                    // A datagram without a byte, from a peer that lives. Nobody here sends one.
                    if !self.hung_up().map_err(poll)? {
                        return Err(empty().into());
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
                Err(Errno::AGAIN) => {
                    transmit::wait(&self.fd, PollFlags::IN, deadline).map_err(poll)?
                }
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
        transmit::is(&self.fd, PollFlags::RDHUP)
    }
}

/// As recv(2), without waiting. The kernel says how long the datagram was, also when it was longer than the buffer.
#[inline]
fn recv(fd: &OwnedFd, buffer: &mut [u8]) -> Result<Message, Errno> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let (len, whole) = rustix::net::recv(fd, buffer, flags)?;
    Ok(Message {
        len,
        cut: whole > len,
        ..Message::default()
    })
}

/// A datagram without a byte.
fn empty() -> FrameError {
    FrameError::Short {
        len: 0,
        expected: 1,
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
