//! One datagram of a message.

use std::fmt;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::deadline::Deadline;
use crate::error::SendError;
use crate::frame::{HEADER, Header};
use crate::socket::Socket;

/// One datagram of a message, for whoever sends them one by one: see [`Packet::send_parts`](crate::Packet::send_parts).
pub struct Part<'a> {
    pub(crate) header: Header,
    pub(crate) bytes: PartBytes<'a>,
    /// Of the value; none but with the first part.
    pub(crate) fds: &'a [OwnedFd],
}

pub(crate) enum PartBytes<'a> {
    /// Header, name and payload in one piece.
    Frame(&'a [u8]),
    /// The header is to be written.
    Pieces { name: &'a [u8], payload: &'a [u8] },
}

impl Part<'_> {
    /// Which part it is, counted from 0. Before any other something of the message is on its way already.
    pub fn index(&self) -> u32 {
        self.header.part
    }

    /// True of one that says that the message is no more: it could not be encoded to its end.
    pub fn withdraws(&self) -> bool {
        self.header.withdraws()
    }

    /// Bytes of the value in it.
    pub(crate) fn payload(&self) -> &[u8] {
        match self.bytes {
            PartBytes::Frame(frame) => &frame[HEADER + usize::from(self.header.name_len)..],
            PartBytes::Pieces { payload, .. } => payload,
        }
    }

    /// Sends it, with the descriptors of the value if it is the first.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`]. A part that was not sent can be sent again.
    pub fn send(&self, socket: &Socket, deadline: Deadline) -> Result<(), SendError> {
        self.send_with(socket, &[], deadline)
    }

    /// Sends it, with these descriptors behind those of the value if it is the first.
    ///
    /// # Errors
    ///
    /// As [`Part::send`].
    pub fn send_with(
        &self,
        socket: &Socket,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.with(fds, |pieces, fds| socket.send(pieces, fds, deadline))
    }

    /// Its bytes, in pieces, and all its descriptors.
    pub(crate) fn with<T>(
        &self,
        fds: &[BorrowedFd<'_>],
        body: impl FnOnce(&[IoSlice<'_>], &[BorrowedFd<'_>]) -> T,
    ) -> T {
        let all;
        let fds = match self.fds {
            _ if self.header.part > 0 => &[],
            [] => fds,
            own => {
                all = join(own, fds);
                &all[..]
            }
        };
        match self.bytes {
            PartBytes::Frame(frame) => body(&[IoSlice::new(frame)], fds),
            PartBytes::Pieces { name, payload } => {
                let header = self.header.to_bytes();
                let pieces = [&header[..], name, payload].map(IoSlice::new);
                body(&pieces, fds)
            }
        }
    }
}

/// Those of a value, and then those that are given besides.
pub(crate) fn join<'a>(own: &'a [OwnedFd], besides: &[BorrowedFd<'a>]) -> Vec<BorrowedFd<'a>> {
    let own = own.iter().map(AsFd::as_fd);
    own.chain(besides.iter().copied()).collect()
}

/// Without the value.
impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("header", &self.header)
            .field("fds", &self.fds)
            .finish_non_exhaustive()
    }
}
