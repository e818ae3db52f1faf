//! What carries datagrams: `SOCK_SEQPACKET`, where the kernel keeps them apart, or a byte stream.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::byte_stream::{ByteStream, Waited};
use crate::deadline::Deadline;
use crate::error::{ReceiveError, SendError};
use crate::frame::MAX_DATAGRAM;
use crate::packet::Packet;
use crate::socket::{Received, SEND_BUFFER, Socket};
use crate::value::Term;

pub(crate) enum Carrier {
    Packets {
        socket: Socket,
        /// Room for one datagram, once there is one to be received.
        buffer: Vec<u8>,
    },
    Stream(ByteStream),
}

/// What was received.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    Datagram(&'a [u8], Vec<OwnedFd>),
    Closed,
    Nothing,
}

impl From<Socket> for Carrier {
    fn from(socket: Socket) -> Carrier {
        let buffer = Vec::new();
        Carrier::Packets { socket, buffer }
    }
}

impl Carrier {
    /// A connection that was made or accepted here.
    pub(crate) fn connected(
        fd: OwnedFd,
        unix: bool,
        seqpacket: bool,
    ) -> rustix::io::Result<Carrier> {
        if unix {
            rustix::net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER)?;
        } else {
            // Each frame is sent by one call, so there is nothing to wait for that it could travel with.
            rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        }
        Ok(match seqpacket {
            true => Socket::from(fd).into(),
            false => Carrier::Stream(ByteStream::new(fd, unix)),
        })
    }

    pub(crate) fn receive(&mut self, deadline: Deadline) -> Result<Arrival<'_>, ReceiveError> {
        match self {
            Carrier::Packets { socket, buffer } => {
                if buffer.is_empty() {
                    buffer.resize(MAX_DATAGRAM, 0);
                }
                let mut fds = Vec::new();
                Ok(match socket.receive(buffer, &mut fds, deadline)? {
                    Received::Datagram { len, .. } => Arrival::Datagram(&buffer[..len], fds),
                    Received::Closed => Arrival::Closed,
                    Received::Nothing => Arrival::Nothing,
                })
            }
            Carrier::Stream(stream) => Ok(match stream.wait(deadline)? {
                Waited::Closed => Arrival::Closed,
                Waited::Nothing => Arrival::Nothing,
                Waited::Here => match stream.cutter().cut()? {
                    Some((datagram, fds)) => Arrival::Datagram(datagram, fds),
                    None => Arrival::Nothing,
                },
            }),
        }
    }

    /// Sends the value that the packet was prepared with.
    pub(crate) fn send<T: Term>(
        &mut self,
        packet: &Packet,
        value: &T,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        match self {
            Carrier::Stream(stream) => stream.send(packet, value, fds, deadline),
            Carrier::Packets { socket, .. } if deadline == Deadline::Never => {
                packet.send_parts(value, |part| {
                    let sent = part.send_with(socket, fds, deadline);
                    // Half a message is on its way, and the peer would take the next for the rest of it.
                    if sent.is_err() && part.index() > 0 {
                        socket.shutdown();
                    }
                    sent
                })
            }
            Carrier::Packets { socket, .. } => packet.send_value(value, socket, fds, deadline),
        }
    }

    /// Sends what is left of the last value.
    pub(crate) fn flush(&mut self, deadline: Deadline) -> Result<(), SendError> {
        match self {
            Carrier::Packets { .. } => Ok(()),
            Carrier::Stream(stream) => stream.flush(deadline),
        }
    }

    /// Drops what has begun to arrive, once the peer has gone and cannot end it.
    pub(crate) fn clear(&mut self) {
        if let Carrier::Stream(stream) = self {
            stream.cutter().clear();
        }
    }

    /// Ends the connection for everybody, and keeps the descriptor.
    pub(crate) fn shutdown(&self) {
        match self {
            Carrier::Packets { socket, .. } => socket.shutdown(),
            Carrier::Stream(stream) => stream.shutdown(),
        }
    }

    pub(crate) fn is_seqpacket(&self) -> bool {
        matches!(self, Carrier::Packets { .. })
    }

    pub(crate) fn is_unix(&self) -> bool {
        match self {
            Carrier::Packets { .. } => true,
            Carrier::Stream(stream) => stream.is_unix(),
        }
    }

    /// Something was received that was not asked for yet, or is still to be sent.
    pub(crate) fn holds_something(&self) -> bool {
        match self {
            Carrier::Packets { .. } => false,
            Carrier::Stream(stream) => stream.holds_something(),
        }
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Carrier::Packets { socket, .. } => socket.as_fd(),
            Carrier::Stream(stream) => stream.as_fd(),
        }
    }
}

impl From<Carrier> for OwnedFd {
    fn from(carrier: Carrier) -> OwnedFd {
        match carrier {
            Carrier::Packets { socket, .. } => socket.into(),
            Carrier::Stream(stream) => stream.into(),
        }
    }
}

/// Without what was received.
impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carrier::Packets { socket, .. } => socket.fmt(f),
            Carrier::Stream(stream) => stream.fmt(f),
        }
    }
}
