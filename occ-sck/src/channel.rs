//! Values over a socket, for two parties that know what they send each other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::assemble::{Assembler, Limits};
use crate::deadline::Deadline;
use crate::envelope::Envelope;
use crate::error::{ChannelError, FrameError, ReceiveError, SendError};
use crate::frame::{MAX_DATAGRAM, kind};
use crate::packet::Packet;
use crate::socket::{Received, Socket};
use crate::value::Term;

/// One end of a connection that carries values.
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
    socket: Socket,
    assembler: Assembler,
    packet: Packet,
    buffer: Vec<u8>,
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

    /// Values over a socket that was made, inherited or received elsewhere.
    pub fn new(socket: Socket, limits: Limits) -> Channel {
        Channel {
            socket,
            assembler: Assembler::new(limits),
            packet: Packet::new(),
            buffer: Vec::new(),
            sent: 0,
            ended: false,
        }
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
        self.fill(value)?;
        let sent = self.send_parts(value, fds);
        self.packet.close_fds();
        sent
    }

    fn send_parts<T: Term>(&self, value: &T, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.packet.send_parts(value, |part| {
            let sent = part.send_with(&self.socket, fds, Deadline::Never);
            // Half a message is on its way, and the peer would take the next for the rest of it.
            if sent.is_err() && part.index() > 0 {
                self.socket.shutdown();
            }
            Ok(sent?)
        })
    }

    /// Sends a value if the peer makes room for it within `limit`; zero tries once.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`], and [`SendError::Full`](crate::SendError::Full) when the time is over. Nothing
    /// of the value was sent then: a value too long for one datagram travels in a memory file.
    pub fn send_timeout<T: Term>(
        &mut self,
        value: &T,
        limit: Duration,
    ) -> Result<(), ChannelError> {
        let deadline = Deadline::after(limit);
        self.fill(value)?;
        let sent = self.packet.send_value(value, &self.socket, &[], deadline);
        self.packet.close_fds();
        sent.map_err(|error| match error {
            SendError::Encode(error) => error.into(),
            other => other.into(),
        })
    }

    fn fill<T: Term>(&mut self, value: &T) -> Result<(), ChannelError> {
        self.packet.prepare(kind::USER, value)?;
        self.sent = self.sent.wrapping_add(1);
        self.packet.set_id(self.sent);
        Ok(())
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

    fn next(&mut self, deadline: Deadline) -> Result<Option<Envelope>, ChannelError> {
        if self.buffer.is_empty() {
            self.buffer.resize(MAX_DATAGRAM, 0);
        }
        while !self.ended {
            let mut fds: Vec<OwnedFd> = Vec::new();
            match self.socket.receive(&mut self.buffer, &mut fds, deadline) {
                Ok(Received::Closed) => self.ended = true,
                Ok(Received::Nothing) => return Err(ChannelError::TimedOut),
                Ok(Received::Datagram { len, .. }) => {
                    match self.assembler.push(&self.buffer[..len], fds) {
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
        Ok(None)
    }

    fn malformed(&mut self, error: FrameError) -> ChannelError {
        // Descriptors are lost for want of room here, and that is no fault of the peer's.
        if error != FrameError::FdsLost {
            self.ended = true;
            self.socket.shutdown();
        }
        ReceiveError::from(error).into()
    }

    /// Ends the connection for everybody who holds an end of it.
    pub fn close(self) {
        self.socket.close();
    }

    /// Closes this end here only, and leaves it to whoever else holds it.
    pub fn detach(self) {
        self.socket.detach();
    }

    /// The socket, to be passed on. A channel reads no further than the value that it gives, so nothing is
    /// lost but a value of which only some parts have arrived.
    pub fn into_socket(self) -> Socket {
        self.socket
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
