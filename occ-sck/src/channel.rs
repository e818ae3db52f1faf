//! Values over a socket, for two parties that know what they send each other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::assemble::{Assembler, Limits};
use crate::carrier::{Arrival, Carrier};
use crate::connect::connect;
use crate::connection_error::ConnectError;
use crate::deadline::Deadline;
use crate::envelope::Envelope;
use crate::error::{ChannelError, FrameError, ReceiveError, SendError};
use crate::frame::kind;
use crate::packet::Packet;
use crate::socket::Socket;
use crate::value::Term;

/// One end of a connection that carries values.
///
/// It is one of a pair, or it was made by address: [`Channel::connect`] on one side,
/// [`Listener::accept`](crate::Listener::accept) on the other. All calls are the same then, and the differences are these:
///
/// - Between two programs a type is told by its name: see [`TypeKey::by_name`](crate::TypeKey::by_name).
/// - TCP carries no file descriptors: they are an error before anything is sent.
/// - On a byte stream a deadline may come in the middle of a value: see [`Channel::send_timeout`].
///
/// ```
/// use std::time::Duration;
///
/// use occ_sck::{Channel, ChannelError};
///
/// let (mut a, mut b) = Channel::pair()?;
/// a.send(&vec![1_u8, 2, 3])?;
/// a.send(&"a text".to_string())?;
/// assert_eq!(b.receive()?, Some(vec![1_u8, 2, 3]));
///
/// // Another type than was sent: an error, and the value is gone.
/// let error = b.receive::<u64>().expect_err("a text was sent");
/// assert!(error.to_string().contains("expected a `u64`"));
///
/// let nothing = b.receive_timeout::<u64>(Duration::from_millis(1));
/// assert!(matches!(nothing, Err(ChannelError::TimedOut)));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Channel {
    pub(crate) carrier: Carrier,
    assembler: Assembler,
    packet: Packet,
    /// The peer may be another program, which knows a type by its name alone.
    by_name: bool,
    sent: u32,
    /// The peer has closed, or a malformed frame came and nothing after it can be trusted.
    ended: bool,
}

impl Channel {
    /// Two ends of a new connection.
    ///
    /// # Errors
    ///
    /// No room for two descriptors.
    pub fn pair() -> std::io::Result<(Channel, Channel)> {
        let (a, b) = Socket::pair()?;
        Ok((
            Channel::new(a, Limits::default()),
            Channel::new(b, Limits::default()),
        ))
    }

    /// Values over a socket that was made, inherited or received elsewhere, as one end of a pair whose other end this very
    /// program has. For all others there is [`Channel::from_fd`].
    pub fn new(socket: Socket, limits: Limits) -> Channel {
        Channel::over(socket.into(), limits, false)
    }

    fn over(carrier: Carrier, limits: Limits, by_name: bool) -> Channel {
        Channel {
            carrier,
            assembler: Assembler::new(limits),
            packet: Packet::new(),
            by_name,
            sent: 0,
            ended: false,
        }
    }

    /// A connection with a [`Listener`](crate::Listener) at `address`.
    ///
    /// Unix listeners that have as many connections waiting as they may are waited for; for how long TCP tries is the
    /// kernel's choice, some two minutes.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Refused`] if nobody listens there, [`ConnectError::OtherCarrier`] if who does is of another type;
    /// else what the kernel says.
    pub fn connect(address: &Address) -> Result<Channel, ConnectError> {
        Channel::connect_by(address, Deadline::Never)
    }

    /// A connection with a [`Listener`](crate::Listener) at `address`, if it comes about within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Channel::connect`], and [`ConnectError::TimedOut`].
    pub fn connect_timeout(address: &Address, limit: Duration) -> Result<Channel, ConnectError> {
        Channel::connect_by(address, Deadline::after(limit))
    }

    fn connect_by(address: &Address, deadline: Deadline) -> Result<Channel, ConnectError> {
        let fd = connect(address, deadline)?;
        Channel::connected(fd, address).map_err(|source| ConnectError::Io {
            op: "setsockopt",
            address: address.clone(),
            source: source.into(),
        })
    }

    pub(crate) fn connected(fd: OwnedFd, address: &Address) -> rustix::io::Result<Channel> {
        let unix = address.family() == AddressFamily::UNIX;
        let carrier = Carrier::connected(fd, unix, address.is_seqpacket())?;
        Ok(Channel::over(carrier, Limits::default(), true))
    }

    /// Values over a connection that was made elsewhere: inherited, passed on, or accepted by other means. As between two
    /// programs, a type is told by its name.
    ///
    /// # Errors
    ///
    /// A descriptor that is no Unix or TCP socket with one of the carriers here, or a socket that listens.
    pub fn from_fd(fd: OwnedFd, limits: Limits) -> std::io::Result<Channel> {
        let family = rustix::net::sockopt::socket_domain(&fd)?;
        let kind = rustix::net::sockopt::socket_type(&fd)?;
        let (unix, seqpacket) = match (family, kind) {
            (AddressFamily::UNIX, SocketType::STREAM) => (true, false),
            (AddressFamily::UNIX, SocketType::SEQPACKET) => (true, true),
            (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => (false, false),
            (_, SocketType::DGRAM) => return Err(no_connection("one of datagrams")),
            _ => return Err(no_connection("another")),
        };
        if rustix::net::sockopt::socket_acceptconn(&fd)? {
            return Err(no_connection("one that listens"));
        }
        let carrier = Carrier::connected(fd, unix, seqpacket)?;
        Ok(Channel::over(carrier, limits, true))
    }

    /// The same channel with limits of its own. To be set before something is received: what has begun to arrive is
    /// dropped.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Channel {
        self.assembler = Assembler::new(limits);
        self
    }

    /// Sends a value; waits while the peer has no room.
    ///
    /// The receiver has to ask for exactly this type, and a number without a suffix is an `i32`.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, and nothing was sent; or the peer has gone. A system call that fails
    /// in the middle of a long value ends the connection.
    pub fn send<T: Term>(&mut self, value: &T) -> Result<(), ChannelError> {
        self.send_with(value, &[])
    }

    /// Sends a value and file descriptors.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`]; [`SendError::TooManyFds`](crate::SendError::TooManyFds) over 253.
    pub fn send_with<T: Term>(
        &mut self,
        value: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        self.send_by(value, fds, Deadline::Never)
    }

    /// Sends a value if the peer makes room for it within `limit`; zero tries once.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`], and [`Full`] when the time is over. Nothing of the value was sent then: a value too long for
    /// one datagram travels in a memory file.
    ///
    /// On a byte stream it may also be [`Unfinished`]: over TCP, which has no memory files; and over Unix sockets with values of
    /// more than some 32 KiB, which the kernel takes in pieces. The value is on its way then, and what is left of it goes out
    /// before anything else: see [`Channel::flush`].
    ///
    /// [`Full`]: crate::SendError::Full
    /// [`Unfinished`]: crate::SendError::Unfinished
    pub fn send_timeout<T: Term>(
        &mut self,
        value: &T,
        limit: Duration,
    ) -> Result<(), ChannelError> {
        self.send_with_timeout(value, &[], limit)
    }

    /// Sends a value and file descriptors if the peer makes room for them within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Channel::send_timeout`] and [`Channel::send_with`].
    pub fn send_with_timeout<T: Term>(
        &mut self,
        value: &T,
        fds: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<(), ChannelError> {
        self.send_by(value, fds, Deadline::after(limit))
    }

    fn send_by<T: Term>(
        &mut self,
        value: &T,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), ChannelError> {
        self.packet.prepare(kind::USER, value)?;
        if self.by_name {
            self.packet.key_by_name();
        }
        self.sent = self.sent.wrapping_add(1);
        self.packet.set_id(self.sent);
        let sent = self.carrier.send(&self.packet, value, fds, deadline);
        self.packet.close_fds();
        sent.map_err(|error| match error {
            SendError::Encode(error) => error.into(),
            other => other.into(),
        })
    }

    /// Sends what is left of a value that was [unfinished](crate::SendError::Unfinished), within `limit`. Who sends or
    /// waits for something does that as well, so this is for one that does neither.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`](crate::SendError::Full) when the time is over and something is still left; or the peer has gone.
    pub fn flush(&mut self, limit: Duration) -> Result<(), ChannelError> {
        Ok(self.carrier.flush(Deadline::after(limit))?)
    }

    /// Receives the next value; `None` when the peer has closed its end.
    ///
    /// # Errors
    ///
    /// A value of another type, one that cannot be decoded, and one whose descriptors were lost is
    /// consumed, and the next can be received. A malformed frame ends the connection.
    pub fn receive<T: DeserializeOwned + 'static>(&mut self) -> Result<Option<T>, ChannelError> {
        self.next(Deadline::Never)?
            .map(Envelope::into_value)
            .transpose()
            .map_err(Into::into)
    }

    /// Receives the next value, if it comes within `limit`; zero takes what is there already.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`], and [`ChannelError::TimedOut`]. A value of which a part has arrived is not
    /// lost then: the next call goes on with it.
    pub fn receive_timeout<T: DeserializeOwned + 'static>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<T>, ChannelError> {
        self.next(Deadline::after(limit))?
            .map(Envelope::into_value)
            .transpose()
            .map_err(Into::into)
    }

    /// Receives the next value with the descriptors that came with it, whatever its type.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`].
    pub fn receive_any(&mut self) -> Result<Option<Envelope>, ChannelError> {
        self.next(Deadline::Never)
    }

    /// Receives the next value with its descriptors, if it comes within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive_timeout`].
    pub fn receive_any_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Envelope>, ChannelError> {
        self.next(Deadline::after(limit))
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Envelope>, ChannelError> {
        while !self.ended {
            match self.carrier.receive(deadline) {
                Ok(Arrival::Closed) => self.ended = true,
                Ok(Arrival::Nothing) => return Err(ChannelError::TimedOut),
                Ok(Arrival::Datagram(datagram, fds)) => {
                    match self.assembler.push(datagram, fds) {
                        Ok(Some(envelope)) => return Ok(Some(envelope)),
                        // A peer that keeps parts coming does not stretch the limit.
                        Ok(None) if deadline != Deadline::Now && deadline.passed() => {
                            return Err(ChannelError::TimedOut);
                        }
                        Ok(None) => {}
                        Err(error) => return Err(self.malformed(error)),
                    }
                }
                Err(ReceiveError::Frame(error)) => return Err(self.malformed(error)),
                Err(error) => return Err(error.into()),
            }
        }
        self.assembler.clear();
        self.carrier.clear();
        Ok(None)
    }

    fn malformed(&mut self, error: FrameError) -> ChannelError {
        // Descriptors are lost for want of room here, and that is no fault of the peer's.
        if error != FrameError::FdsLost {
            self.ended = true;
            self.carrier.shutdown();
            self.carrier.clear();
        }
        ReceiveError::from(error).into()
    }

    /// Ends the connection for everybody who holds an end of it. What was sent before is received there; what is left of a
    /// value that was [unfinished](crate::SendError::Unfinished) is not sent any more.
    pub fn close(self) {
        self.carrier.shutdown();
    }

    /// Closes this end here only, and leaves it to whoever else holds it.
    pub fn detach(self) {
        drop(self);
    }

    /// The socket, to be passed on. A channel over `SOCK_SEQPACKET` reads no further than the value that it gives, so
    /// nothing is lost but a value of which only some parts have arrived.
    ///
    /// # Errors
    ///
    /// The channel itself, if its carrier is a byte stream: for those there is [`Channel::into_fd`].
    pub fn into_socket(self) -> Result<Socket, Box<Channel>> {
        match self.carrier {
            Carrier::Packets { socket, .. } => Ok(socket),
            carrier @ Carrier::Stream(_) => Err(Box::new(Channel { carrier, ..self })),
        }
    }

    /// The descriptor, to be passed on: [`Channel::from_fd`] makes a channel of it. On a stream, one that has just been
    /// connected or accepted can be passed on.
    ///
    /// # Errors
    ///
    /// The channel itself, if it has received more than it has given, as one on a stream does, or has something left to
    /// send.
    pub fn into_fd(self) -> Result<OwnedFd, Box<Channel>> {
        match self.carrier.holds_something() {
            false => Ok(self.carrier.into()),
            true => Err(Box::new(self)),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.carrier.as_fd()
    }
}

fn no_connection(seen: &str) -> std::io::Error {
    let expected = "a connected Unix or TCP socket, SOCK_STREAM or SOCK_SEQPACKET";
    let words = format!("expected {expected}, and this is {seen}");
    std::io::Error::new(std::io::ErrorKind::InvalidInput, words)
}
