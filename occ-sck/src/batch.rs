//! Several datagrams at once.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::error::FrameError;
use crate::frame::MAX_DATAGRAM;
use crate::sys::{self, Control, Message};

/// Datagrams in a batch. With more the gain is small, and what was received first gets cold.
const COUNT: usize = 16;

/// Bytes from one to the next: each begins with a page of its own.
const STRIDE: usize = MAX_DATAGRAM.next_multiple_of(4096);

/// Room for some datagrams, and those that are in it: see [`Socket::receive_batch`](crate::Socket::receive_batch).
///
/// It takes the memory of what it has ever held, and a megabyte of addresses.
///
/// ```
/// use std::io::IoSlice;
///
/// use occ_sck::{Batch, Deadline, Socket};
///
/// let (a, b) = Socket::pair()?;
/// for word in ["one", "two"] {
///     a.send(&[IoSlice::new(word.as_bytes())], &[], Deadline::Now)?;
/// }
/// let mut batch = Batch::new();
/// b.receive_batch(&mut batch)?;
/// let words: Vec<_> = batch.drain().map(|datagram| datagram.unwrap().0.to_vec()).collect();
/// assert_eq!(words, [b"one", b"two"]);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Batch {
    room: Vec<u8>,
    controls: Box<[Control; COUNT]>,
    messages: Vec<Message>,
    /// Those without a byte are no datagrams.
    ended: bool,
}

impl Batch {
    /// Most datagrams that fit.
    pub const CAPACITY: usize = COUNT;

    /// Room for [`Batch::CAPACITY`] datagrams of any length that a [`Packet`](crate::Packet) has.
    pub fn new() -> Batch {
        Batch {
            room: vec![0; STRIDE * COUNT],
            controls: Box::new([Control::new(); COUNT]),
            messages: Vec::with_capacity(COUNT),
            ended: false,
        }
    }

    /// True when there is no room for another, so that there may be more to receive at once.
    pub fn is_full(&self) -> bool {
        self.messages.len() == COUNT && !self.looks_ended()
    }

    /// Takes them out, in the order in which they were sent: the bytes of each and the descriptors that came with it, or
    /// what is wrong with it.
    pub fn drain(&mut self) -> impl Iterator<Item = Result<(&[u8], Vec<OwnedFd>), FrameError>> {
        let room = self.room.chunks(STRIDE);
        self.messages
            .drain(..)
            .zip(room)
            .filter(|(message, _)| message.len > 0 || !self.ended)
            .map(|(message, room)| {
                message.check(STRIDE)?;
                let len = message.len;
                if len == 0 {
                    return Err(FrameError::Short { len, expected: 1 });
                }
                Ok((&room[..len], message.fds))
            })
    }

    /// As recvmmsg(2): nothing is an error.
    pub(crate) fn fill_from(&mut self, socket: impl AsFd) -> Result<(), Errno> {
        self.messages.clear();
        let mut rooms = self.room.chunks_mut(STRIDE);
        let rooms = std::array::from_fn(|_| rooms.next().unwrap_or_default());
        sys::recvmmsg(socket, rooms, &mut self.controls, &mut self.messages)
    }

    /// Whether the kernel said of one that it has no byte. That is the end, as it looks; and a peer that sent and closed
    /// just then has left something, which comes after it.
    pub(crate) fn looks_ended(&self) -> bool {
        self.messages.iter().any(|message| message.len == 0)
    }

    /// It is the end; or else a peer that lives has sent a datagram without a byte.
    pub(crate) fn set_ended(&mut self, ended: bool) {
        self.ended = ended;
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("messages", &self.messages)
            .finish_non_exhaustive()
    }
}
