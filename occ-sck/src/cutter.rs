//! A byte stream back into datagrams: a pure state machine, one for each connection.
//!
//! A stream carries the same datagrams as `SOCK_SEQPACKET` does (`frame.rs`), each behind a head of its own:
//!
//! ```text
//! offset bytes
//!      0     4  length       of the datagram, without this head
//!      4     2  descriptors  that travel with it
//!      6        the datagram
//! ```
//!
//! Both numbers are little-endian. Descriptors travel with the first byte of the head, so they are here when the head is. The
//! kernel may hand over bytes that were sent before them in the same call, but never any from after their own
//! message, and never those of two messages at once (unix(7), `SCM_RIGHTS`): so the pieces that they come in are told apart,
//! and each datagram that announces some takes the next piece.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;

use crate::error::FrameError;
use crate::frame::{HEADER, MAX_DATAGRAM, room};
use crate::socket::MAX_FDS;

/// Bytes before each datagram in a stream.
pub const STREAM_HEAD: usize = 6;

/// Most pieces of descriptors that can be here at once: that of the datagram which has begun, and that of the last one of
/// which something has come since.
const PIECES: usize = 2;

/// The head of a datagram that is made of `parts`, with this many descriptors.
pub(crate) fn stream_head(len: usize, fds: usize) -> [u8; STREAM_HEAD] {
    debug_assert!(len <= MAX_DATAGRAM && fds <= MAX_FDS);
    let mut head = [0; STREAM_HEAD];
    head[..4].copy_from_slice(&(len as u32).to_le_bytes());
    head[4..].copy_from_slice(&(fds as u16).to_le_bytes());
    head
}

/// Cuts what arrives on a byte stream into datagrams.
///
/// It has room for 256 KiB, and takes no more whatever a head announces. After an error other than
/// [`FrameError::FdsLost`] the connection has no known state: close it.
///
/// ```
/// use occ_sck::{Assembler, Cutter, HEADER, Header, Packet, STREAM_HEAD, kind};
///
/// let packet = Packet::of(kind::USER, &"some text".to_string())?;
/// let header = Header { kind: kind::USER, flags: 0, name_len: 0, id: 1, part: 0, parts: 1, total: 10, key: packet.key() };
/// let datagram = [&header.to_bytes(), packet.payload()].concat();
/// let head = [datagram.len() as u8, 0, 0, 0, 0, 0];
///
/// // One byte at a time, as a network might.
/// let (mut cutter, mut assembler) = (Cutter::new(), Assembler::default());
/// let mut texts = Vec::new();
/// for byte in head.iter().chain(&datagram) {
///     cutter.room()[0] = *byte;
///     cutter.filled(1, Vec::new())?;
///     if let Some((datagram, fds)) = cutter.cut()? {
///         let envelope = assembler.push(datagram, fds)?.expect("it has one part");
///         texts.push(envelope.decode::<String>()?);
///     }
/// }
/// assert_eq!(texts, ["some text"]);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Default)]
pub struct Cutter {
    room: Vec<u8>,
    /// What has arrived and was not cut out yet is in `room[start..end]`.
    start: usize,
    end: usize,
    pieces: VecDeque<Piece>,
}

/// Descriptors that came with one message.
#[derive(Debug)]
enum Piece {
    Whole(Vec<OwnedFd>),
    /// Some were lost, for want of room in this process.
    Lost,
}

impl Cutter {
    /// One to which nothing has come yet. It takes memory once it is asked for room.
    pub fn new() -> Cutter {
        Cutter::default()
    }

    /// Where to put what arrives next; then say so to [`Cutter::filled`]. There is room as long as all that could be cut
    /// out has been.
    pub fn room(&mut self) -> &mut [u8] {
        if self.room.is_empty() {
            self.room = room();
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.room.len() - self.start < STREAM_HEAD + MAX_DATAGRAM {
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.room[self.end..]
    }

    /// The first `len` bytes of the room were filled, by one call that also brought `fds`.
    ///
    /// # Errors
    ///
    /// More descriptors than any datagrams could have announced.
    ///
    /// # Panics
    ///
    /// If there was not so much room.
    pub fn filled(&mut self, len: usize, fds: Vec<OwnedFd>) -> Result<(), FrameError> {
        let piece = (!fds.is_empty()).then_some(Piece::Whole(fds));
        self.filled_with(len, piece)
    }

    /// As [`Cutter::filled`], where descriptors were lost for want of room in this process. The datagram that they belong
    /// to will be an error, and those after it will not.
    ///
    /// # Errors
    ///
    /// As [`Cutter::filled`].
    ///
    /// # Panics
    ///
    /// As [`Cutter::filled`].
    pub fn filled_and_fds_lost(&mut self, len: usize) -> Result<(), FrameError> {
        self.filled_with(len, Some(Piece::Lost))
    }

    fn filled_with(&mut self, len: usize, piece: Option<Piece>) -> Result<(), FrameError> {
        assert!(
            len <= self.room.len() - self.end,
            "more than there was room for"
        );
        self.end += len;
        self.pieces.extend(piece);
        if self.pieces.len() > PIECES {
            return Err(self.unannounced());
        }
        Ok(())
    }

    /// Whether a whole datagram is here. What is wrong with its head is told as soon as that is here.
    pub(crate) fn has_datagram(&self) -> Result<bool, FrameError> {
        let bytes = &self.room[self.start..self.end];
        if bytes.is_empty() && !self.pieces.is_empty() {
            return Err(self.unannounced());
        }
        let Some((head, rest)) = bytes.split_first_chunk::<STREAM_HEAD>() else {
            return Ok(false);
        };
        let (len, fds) = parse(head);
        if len > MAX_DATAGRAM {
            let limit = MAX_DATAGRAM;
            return Err(FrameError::TooLong { len, limit });
        }
        if len < HEADER {
            let expected = HEADER;
            return Err(FrameError::Short { len, expected });
        }
        let found = match self.pieces.front() {
            _ if fds == 0 => 0,
            Some(Piece::Whole(piece)) => piece.len(),
            Some(Piece::Lost) => fds,
            None => 0,
        };
        if fds != found {
            let announced = fds;
            return Err(FrameError::FdCount { announced, found });
        }
        Ok(rest.len() >= len)
    }

    /// The next datagram and its descriptors; `None` until it is here whole.
    ///
    /// # Errors
    ///
    /// A head that announces more than may come or less than a frame has; a number of descriptors that is not the one
    /// that came. [`FrameError::FdsLost`]: that one datagram is consumed, and the next can be cut out.
    #[expect(clippy::type_complexity, reason = "one of many, or none, or an error")]
    pub fn cut(&mut self) -> Result<Option<(&[u8], Vec<OwnedFd>)>, FrameError> {
        if !self.has_datagram()? {
            return Ok(None);
        }
        let (head, rest) = self.room[self.start..self.end].split_at(STREAM_HEAD);
        let mut bytes = [0; STREAM_HEAD];
        bytes.copy_from_slice(head);
        let (len, fds) = parse(&bytes);
        self.start += STREAM_HEAD + len;
        let piece = match fds {
            0 => None,
            _ => self.pieces.pop_front(),
        };
        match piece {
            None => Ok(Some((&rest[..len], Vec::new()))),
            Some(Piece::Whole(fds)) => Ok(Some((&rest[..len], fds))),
            Some(Piece::Lost) => Err(FrameError::FdsLost),
        }
    }

    /// True when something has come that was not cut out: also a part of a datagram, or descriptors alone.
    pub fn is_partial(&self) -> bool {
        self.start < self.end || !self.pieces.is_empty()
    }

    fn unannounced(&self) -> FrameError {
        let count = |piece: &Piece| match piece {
            Piece::Whole(fds) => fds.len(),
            Piece::Lost => 0,
        };
        let count = self.pieces.iter().map(count).sum();
        FrameError::FdsUnannounced { count }
    }

    /// Drops what is here, once nothing can follow it.
    pub(crate) fn clear(&mut self) {
        *self = Cutter::new();
    }
}

fn parse(head: &[u8; STREAM_HEAD]) -> (usize, usize) {
    let [a, b, c, d, e, f] = *head;
    // A length that is no usize is over any limit.
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    (len, u16::from_le_bytes([e, f]).into())
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter")
            .field("bytes", &(self.end - self.start))
            .field("pieces", &self.pieces)
            .finish_non_exhaustive()
    }
}
