//! One end of a byte stream that carries datagrams: how they are cut out of it is in `cutter.rs`.
//!
//! A frame that a deadline cuts in the middle is not lost: what is left of it is kept, and goes out before anything else does,
//! as soon as there is room, whichever call finds it.

use std::fmt;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::Shutdown;

use crate::cutter::{Cutter, stream_head};
use crate::deadline::Deadline;
use crate::error::{ReceiveError, SendError};
use crate::packet::Packet;
use crate::socket::MAX_FDS;
use crate::sys;
use crate::transmit::{self, transmit};
use crate::value::Term;

pub(crate) struct ByteStream {
    fd: OwnedFd,
    /// A Unix socket, which carries descriptors.
    unix: bool,
    cutter: Cutter,
    /// What is left of a value that was begun.
    rest: Vec<u8>,
    /// Of that, how much has gone.
    gone: usize,
}

/// What a wait for a datagram has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It is here.
    Here,
    /// Nothing more can come.
    Closed,
    /// The deadline has.
    Nothing,
}

impl ByteStream {
    pub(crate) fn new(fd: OwnedFd, unix: bool) -> ByteStream {
        ByteStream {
            fd,
            unix,
            cutter: Cutter::new(),
            rest: Vec::new(),
            gone: 0,
        }
    }

    /// Waits until a whole datagram can be cut out, or no more comes.
    pub(crate) fn wait(&mut self, deadline: Deadline) -> Result<Waited, ReceiveError> {
        while !self.cutter.has_datagram()? {
            let wait = deadline == Deadline::Never && self.rest.is_empty();
            match sys::recvmsg(&self.fd, self.cutter.room(), wait) {
                Ok(message) if message.len == 0 => return Ok(Waited::Closed),
                Ok(message) if message.fds_lost => self.cutter.filled_and_fds_lost(message.len)?,
                Ok(message) => self.cutter.filled(message.len, message.fds)?,
                // Told once, after all that the peer had sent and the kernel still has; the end comes next.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) if deadline.passed() => return Ok(Waited::Nothing),
                Err(Errno::AGAIN) => self.wait_for_input(deadline)?,
                Err(Errno::NOTCONN) => return Ok(Waited::Closed),
                Err(source) => {
                    return Err(ReceiveError::Io {
                        op: "recvmsg",
                        source: source.into(),
                    });
                }
            }
        }
        Ok(Waited::Here)
    }

    /// What [`ByteStream::wait`] has waited for.
    pub(crate) fn cutter(&mut self) -> &mut Cutter {
        &mut self.cutter
    }

    /// Who waits for an answer to what is not out yet would wait for ever, so that goes on meanwhile.
    fn wait_for_input(&mut self, deadline: Deadline) -> Result<(), ReceiveError> {
        let mut events = PollFlags::IN;
        if !self.rest.is_empty() {
            events |= PollFlags::OUT;
        }
        transmit::wait(&self.fd, events, deadline)
            .map_err(|source| ReceiveError::Io { op: "poll", source })?;
        if !self.rest.is_empty()
            && self
                .flush(Deadline::Now)
                .is_err_and(|error| error.is_final())
        {
            // The peer has gone or will be told so, and what it had sent is still to be received.
            self.drop_rest();
        }
        Ok(())
    }

    /// Sends the value that the packet was prepared with.
    pub(crate) fn send<T: Term>(
        &mut self,
        packet: &Packet,
        value: &T,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let given = packet.fds() + fds.len();
        if !self.unix && given > 0 {
            return Err(SendError::NoFds { given });
        }
        self.flush(deadline)?;
        if !self.unix && self.peer_has_gone()? {
            return Err(SendError::Closed);
        }
        if self.unix && packet.parts() > 1 && deadline != Deadline::Never {
            // One small frame instead of many, which the kernel takes whole or not at all.
            let blob = packet.blob_beside(value, fds)?;
            return packet.with_blob(&blob, fds, |parts, fds| {
                self.send_frame(false, parts, fds, deadline)
            });
        }
        let mut unfinished = false;
        packet.send_parts(value, |part| {
            part.with(fds, |pieces, fds| {
                if unfinished {
                    self.keep(pieces);
                    return Ok(());
                }
                match self.send_frame(part.index() > 0, pieces, fds, deadline) {
                    Err(SendError::Unfinished) => unfinished = true,
                    sent => return sent,
                }
                Ok(())
            })
        })?;
        match unfinished {
            true => Err(SendError::Unfinished),
            false => Ok(()),
        }
    }

    /// TCP takes what is sent after the peer has closed, and says so the next time. A peer of ours closes both directions at
    /// once.
    fn peer_has_gone(&self) -> Result<bool, SendError> {
        transmit::is(&self.fd, PollFlags::RDHUP)
            .map_err(|source| SendError::Io { op: "poll", source })
    }

    /// Sends one frame; what is left of it when the deadline has come is kept. If the value has `begun` before it, that is the whole
    /// frame.
    fn send_frame(
        &mut self,
        begun: bool,
        parts: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        if fds.len() > MAX_FDS {
            return Err(SendError::TooManyFds { given: fds.len() });
        }
        let len = parts.iter().map(|part| part.len()).sum();
        let head = stream_head(len, fds.len());
        let mut slices = [IoSlice::new(&head); 4];
        slices[1..=parts.len()].copy_from_slice(parts);
        let mut left = &mut slices[..=parts.len()];
        let mut fds = fds;
        while !left.is_empty() {
            let begun = begun || left.len() <= parts.len() || left[0].len() < head.len();
            match transmit(&self.fd, left, fds, deadline) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(error) if !begun => return Err(error),
                Err(SendError::Full) => {
                    left.iter()
                        .for_each(|left| self.rest.extend_from_slice(left));
                    return Err(SendError::Unfinished);
                }
                Err(error) => {
                    // Half a value is on its way, and the peer would take the next for the rest of it.
                    self.shutdown();
                    return Err(error);
                }
            }
            // They went with the first byte.
            fds = &[];
        }
        Ok(())
    }

    /// Keeps a frame of a value that has begun.
    fn keep(&mut self, parts: &[IoSlice<'_>]) {
        let len = parts.iter().map(|part| part.len()).sum();
        self.rest.extend_from_slice(&stream_head(len, 0));
        for part in parts {
            self.rest.extend_from_slice(part);
        }
    }

    /// Sends what is left of the last value.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] while something is left.
    pub(crate) fn flush(&mut self, deadline: Deadline) -> Result<(), SendError> {
        while self.gone < self.rest.len() {
            let left = [IoSlice::new(&self.rest[self.gone..])];
            match transmit(&self.fd, &left, &[], deadline) {
                Ok(sent) => self.gone += sent,
                Err(error) => {
                    if error.is_final() {
                        self.shutdown();
                    }
                    return Err(error);
                }
            }
        }
        self.drop_rest();
        Ok(())
    }

    fn drop_rest(&mut self) {
        self.rest = Vec::new();
        self.gone = 0;
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.unix
    }

    /// Something was received that was not asked for yet, or is still to be sent.
    pub(crate) fn holds_something(&self) -> bool {
        self.cutter.is_partial() || !self.rest.is_empty()
    }

    /// Ends the connection for everybody, and keeps the descriptor.
    pub(crate) fn shutdown(&self) {
        // ENOTCONN, when the peer went first, is what was wanted.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }
}

impl AsFd for ByteStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<ByteStream> for OwnedFd {
    fn from(stream: ByteStream) -> OwnedFd {
        stream.fd
    }
}

/// Without what is to be sent.
impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("fd", &self.fd)
            .field("unix", &self.unix)
            .field("cutter", &self.cutter)
            .field("left", &self.rest.len().saturating_sub(self.gone))
            .finish()
    }
}
