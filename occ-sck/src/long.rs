//! Values of any length, in little memory: what is long is encoded twice. The first time only its length is taken, so that it
//! is known before the socket is touched that the value can be encoded; the second time each part is sent as it comes.
//!
//! A value need not encode twice in the same way: one that holds a `Cell` or a lock may change meanwhile, and a `Serialize` may
//! do as it likes. Then a part that withdraws the message takes the place of the next; its receiver drops what it had, and the
//! connection goes on.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde::Serialize;
use thiserror::Error;

use crate::blob::{Blob, Draft};
use crate::carried::Encoding;
use crate::deadline::Deadline;
use crate::encoder::{Done, Unencodable};
use crate::envelope::{Body, Envelope};
use crate::error::{EncodeError, FdError, SendError};
use crate::frame::{FLAG_WITHDRAWN, Header, PART};
use crate::out::Full;
use crate::packet::Packet;
use crate::part::{Part, PartBytes};
use crate::segments::Segments;
use crate::socket::{MAX_FDS, Socket};
use crate::value::{encode_as, type_name_of};

impl Packet {
    /// Puts `value` in place of what the packet held, as [`Packet::fill`] does, but keeps no more than 1 MiB of it in memory.
    /// Of a longer one only the length is kept ([`Packet::is_long`]), and it is encoded once more when it is sent:
    /// [`Packet::send_parts`], [`Packet::send_value`].
    ///
    /// # Errors
    ///
    /// As [`Packet::fill`].
    pub fn prepare<T: Serialize + 'static>(
        &mut self,
        kind: u8,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.fill_up_to(kind, value, Some(Packet::SHORT))
    }

    /// Hands each part of the message to `each`, in order, which sends it, and may wait and do something else before it tries
    /// again. `value` is the one that the packet was prepared with; it is encoded again if it is long.
    ///
    /// # Errors
    ///
    /// What `each` says; if that was not the first part, half a message is on its way, and the connection is of no more use.
    /// Or the second encoding was another than the first: then the last part that `each` has sent withdraws the message, if
    /// there was one before it, and the connection can be used.
    ///
    /// # Panics
    ///
    /// If `each` or the value's `Serialize` does. The message is withdrawn in the latter case.
    ///
    /// ```
    /// use occ_sck::{Assembler, Bytes, Channel, ChannelError, Deadline, Limits, Packet, Socket, kind};
    ///
    /// let (a, b) = Socket::pair()?;
    /// let value = Bytes(vec![7; 3 << 20]);
    /// let mut packet = Packet::new();
    /// packet.prepare(kind::USER, &value)?;
    /// assert!(packet.is_long());
    ///
    /// let receiver = std::thread::spawn(move || Channel::new(b, Limits::default()).receive::<Bytes>());
    /// packet.send_parts(&value, |part| -> Result<(), ChannelError> {
    ///     Ok(part.send(&a, Deadline::Never)?)
    /// })?;
    /// assert_eq!(receiver.join().expect("no panic")?, Some(value));
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn send_parts<T: Serialize + 'static, E: From<EncodeError>>(
        &self,
        value: &T,
        mut each: impl FnMut(&Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.is_long() {
            return (0..self.parts()).try_for_each(|part| each(&self.part(part)));
        }
        let mut second = Second {
            packet: self,
            each,
            next: 0,
            handing: false,
            stopped: None,
        };
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            let scope = Encoding::counting();
            let mut hand = |bytes: &[u8], last| second.hand(bytes, last);
            let mut room = Vec::with_capacity(PART);
            let encoded = encode_as(value, &mut room, Full::Hand(&mut hand));
            drop(scope);
            encoded
        }));
        match encoded {
            Ok(encoded) => second.end::<T>(encoded.map(drop)),
            Err(panic) => second.panicked(panic),
        }
    }

    /// Sends the whole message as one datagram, or nothing of it: what is too long for one travels in a [`Blob`], which
    /// is written piece by piece. `value` is the one that the packet was prepared with.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`], and as [`Packet::blob`].
    pub fn send_value<T: Serialize + 'static>(
        &self,
        value: &T,
        socket: &Socket,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        if self.parts() == 1 {
            return self.send_part(0, socket, fds, deadline);
        }
        self.send_blob(&self.blob_beside(value, fds)?, socket, fds, deadline)
    }

    /// As [`Packet::blob`], if there is room for one beside `fds`.
    pub(crate) fn blob_beside<T: Serialize + 'static>(
        &self,
        value: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Blob, SendError> {
        let given = 1 + self.fds() + fds.len();
        if given > MAX_FDS && self.fds() < MAX_FDS {
            return Err(SendError::TooManyFds { given });
        }
        self.blob(value)
    }

    /// The value in a memory file, for [`Packet::send_blob`]. `value` is the one that the packet was prepared with.
    ///
    /// # Errors
    ///
    /// [`SendError::Blob`] when the file cannot be written. [`SendError::Encode`] when the second encoding was another than the
    /// first, and when the value has 253 descriptors: the file is one more.
    pub fn blob<T: Serialize + 'static>(&self, value: &T) -> Result<Blob, SendError> {
        self.blob_behind(&[], value)
    }

    /// As [`Packet::blob`], with other bytes before the value, for a file that is read otherwise than as a message:
    /// [`Blob::decode_with_fds`].
    ///
    /// # Errors
    ///
    /// As [`Packet::blob`].
    pub fn blob_behind<T: Serialize + 'static>(
        &self,
        before: &[u8],
        value: &T,
    ) -> Result<Blob, SendError> {
        if self.fds() >= MAX_FDS {
            let (given, limit) = (self.fds(), MAX_FDS - 1);
            return Err(SendError::Encode(EncodeError {
                type_name: type_name_of::<T>(),
                source: FdError::TooMany { given, limit }.into(),
            }));
        }
        let mut draft = Draft::new(before.len() as u64 + self.len()).map_err(SendError::Blob)?;
        draft.write(before).map_err(SendError::Blob)?;
        self.send_parts(value, |part| {
            draft.write(part.payload()).map_err(SendError::Blob)
        })?;
        draft.finish().map_err(SendError::Blob)
    }

    /// The message that a receiver would make of it, without a way through the kernel. `value` is the one that the packet was
    /// prepared with; a long one is encoded again, because whoever receives it wants it whole.
    ///
    /// # Errors
    ///
    /// The second encoding was another than the first.
    pub fn into_envelope_of<T: Serialize + 'static>(
        self,
        value: &T,
    ) -> Result<Envelope, EncodeError> {
        if !self.is_long() {
            return Ok(self.into_envelope());
        }
        let total = self.len();
        let mut segments = Segments::new();
        self.send_parts(value, |part| {
            segments.push(part.payload(), total);
            Ok::<(), EncodeError>(())
        })?;
        Ok(Envelope {
            kind: self.header_of(0).kind,
            key: self.key(),
            long_name: self.type_name().to_owned(),
            body: Body::Segments(segments),
            fds: self.into_fds(),
        })
    }
}

/// What was encoded the second time is not what was encoded the first time.
#[derive(Debug, Error)]
enum Unsteady {
    #[error(
        "a long value is encoded twice, and of this one the second encoding differs from the first, which had {len} bytes and \
         {fds} file descriptors"
    )]
    Differs { len: u64, fds: usize },
    #[error("a long value is encoded twice, and this one could not be the second time")]
    Fails {
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The second encoding of a long value, part by part.
struct Second<'a, F, E> {
    packet: &'a Packet,
    each: F,
    /// The part that is next.
    next: u32,
    /// A part is being sent.
    handing: bool,
    stopped: Option<Stopped<E>>,
}

enum Stopped<E> {
    /// A part was not sent.
    Each(E),
    /// The bytes are not those of the first time.
    Differs,
}

impl<F: FnMut(&Part<'_>) -> Result<(), E>, E: From<EncodeError>> Second<'_, F, E> {
    /// Takes the bytes of the next part; `last` if no more follow.
    fn hand(&mut self, bytes: &[u8], last: bool) -> Done {
        // A `Serialize` may swallow the error, and go on.
        if self.stopped.is_none() {
            self.stopped = self.try_hand(bytes, last).err();
        }
        match self.stopped {
            None => Ok(()),
            Some(_) => Err(Unencodable::Custom("a part was not sent".into()).into()),
        }
    }

    fn try_hand(&mut self, bytes: &[u8], last: bool) -> Result<(), Stopped<E>> {
        let header = self.packet.header_of(self.next);
        let is_last = self.next + 1 == header.parts;
        let as_before = last == is_last
            && header.payload_len() == Some(bytes.len())
            && (!last || Encoding::count() == self.packet.fds());
        if !as_before {
            return Err(Stopped::Differs);
        }
        let first = self.next == 0;
        let part = Part {
            header,
            bytes: PartBytes::Pieces {
                name: if first { self.packet.name() } else { &[] },
                payload: bytes,
            },
            fds: if first { self.packet.own_fds() } else { &[] },
        };
        self.handing = true;
        (self.each)(&part).map_err(Stopped::Each)?;
        self.handing = false;
        self.next += 1;
        Ok(())
    }

    fn end<T>(mut self, encoded: Result<(), EncodeError>) -> Result<(), E> {
        let second = match (self.stopped.take(), encoded) {
            (Some(Stopped::Each(error)), _) => return Err(error),
            (None, Ok(())) => return Ok(()),
            (Some(Stopped::Differs), _) => Unsteady::Differs {
                len: self.packet.len(),
                fds: self.packet.fds(),
            },
            (None, Err(error)) => Unsteady::Fails {
                source: error.source,
            },
        };
        self.withdraw()?;
        Err(E::from(EncodeError {
            type_name: type_name_of::<T>(),
            source: second.into(),
        }))
    }

    fn panicked(mut self, panic: Box<dyn Any + Send>) -> ! {
        if !self.handing {
            // If this cannot be sent either, whoever sent the parts finds out with the next.
            let _ = self.withdraw();
        }
        resume_unwind(panic)
    }

    /// Tells the receiver that the rest will not come, if it has had some.
    fn withdraw(&mut self) -> Result<(), E> {
        if self.next == 0 {
            return Ok(());
        }
        let header = Header {
            flags: FLAG_WITHDRAWN,
            ..self.packet.header_of(self.next)
        };
        (self.each)(&Part {
            header,
            bytes: PartBytes::Pieces {
                name: &[],
                payload: &[],
            },
            fds: &[],
        })
    }
}
