//! A message from another process, as it came: encoded, in one piece, without a descriptor, as most are.

use std::fmt;
use std::ops::Range;

use occ_sck::{Batch, Body, DecodeError, Envelope, HEADER, Header, MAX_DATAGRAM, TypeKey, decode};
use serde::de::DeserializeOwned;

/// A datagram of this length stays in the buffer that it was received into. A shorter one is copied out, so
/// that what waits in the queue takes at most twice the memory that it needs.
const KEPT: usize = MAX_DATAGRAM / 2;

/// A memory file of this length is read when it comes, because it holds a descriptor for as long as it waits, and those are
/// few. A longer one stays where it is, for there would be two of it when it is decoded.
const READ: u64 = 1 << 20;

/// Receive buffers that are kept for the next messages. To the processor a new one is cold.
const SPARE: usize = 4;

/// A message of several parts whose memory is kept for the next has so many bytes.
const BODY: Range<usize> = 512 << 10..4 << 20;

/// The name of a type and an encoded value of it, somewhere in memory that is theirs.
pub(crate) struct Sent {
    key: TypeKey,
    bytes: Vec<u8>,
    name: Range<usize>,
    payload: Range<usize>,
}

impl Sent {
    /// What was put together from parts, or travelled in a memory file that is short. All else comes back, and so does a file
    /// that cannot be read: to decode it is to try again, and to be told why not.
    pub(crate) fn from_envelope(envelope: Envelope) -> Result<Sent, Box<Envelope>> {
        let key = envelope.key;
        if !envelope.fds.is_empty() {
            return Err(Box::new(in_memory(envelope)));
        }
        match envelope.body {
            Body::Inline { bytes, at } => Ok(Sent {
                key,
                name: 0..at,
                payload: at..bytes.len(),
                bytes,
            }),
            Body::Segments(_) => Err(Box::new(envelope)),
            Body::Blob(ref blob) if blob.len() > READ => Err(Box::new(envelope)),
            Body::Blob(ref blob) => {
                let Ok(mut bytes) = blob.read() else {
                    return Err(Box::new(envelope));
                };
                let payload = 0..bytes.len();
                bytes.extend_from_slice(envelope.type_name().as_bytes());
                Ok(Sent {
                    key,
                    name: payload.end..bytes.len(),
                    payload,
                    bytes,
                })
            }
        }
    }

    /// The message in `datagram`, whose header this is.
    pub(crate) fn copied(header: &Header, datagram: &[u8]) -> Sent {
        let bytes = datagram[HEADER..].to_vec();
        let name = usize::from(header.name_len);
        Sent {
            key: header.key,
            name: 0..name,
            payload: name..bytes.len(),
            bytes,
        }
    }

    /// The name of the type that was sent.
    pub(crate) fn type_name(&self) -> &str {
        // It was checked to be text when the frame was parsed.
        std::str::from_utf8(&self.bytes[self.name.clone()]).unwrap_or("?")
    }

    /// What tells its type from others.
    #[inline]
    pub(crate) fn key(&self) -> TypeKey {
        self.key
    }

    /// Bytes of the value.
    pub(crate) fn size(&self) -> u64 {
        self.payload.len() as u64
    }

    /// It has memory that is good for the next.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.bytes.capacity() >= MAX_DATAGRAM
    }

    /// True when a `T` was sent; by its name alone, if that is all that the sender said.
    #[inline]
    pub(crate) fn is<T: 'static>(&self) -> bool {
        let key = TypeKey::of::<T>();
        self.key == key || self.key == key.name_alone()
    }

    /// The value, of the type that was sent.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        decode(&self.bytes[self.payload.clone()])
    }
}

/// The same, without the descriptor of its memory file, if that is short.
fn in_memory(mut envelope: Envelope) -> Envelope {
    if let Body::Blob(blob) = &envelope.body
        && blob.len() <= READ
        && let Ok(bytes) = blob.read()
    {
        let mut all = envelope.type_name().as_bytes().to_vec();
        let at = all.len();
        all.extend_from_slice(&bytes);
        envelope.body = Body::Inline { bytes: all, at };
    }
    envelope
}

/// Where datagrams are received.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Empty, or as long as a datagram can be.
    buffer: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// The memory of a message of several parts, for the next.
    body: Option<Vec<u8>>,
    /// Where many are received at once, once there are many.
    batch: Option<Box<Batch>>,
    received: u64,
}

impl Intake {
    /// Room for the next datagram.
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.make_room();
        }
        &mut self.buffer[..MAX_DATAGRAM]
    }

    #[cold]
    fn make_room(&mut self) {
        self.buffer = self.spare.pop().unwrap_or_else(occ_sck::room);
    }

    /// The datagram that has just been received.
    #[inline]
    pub(crate) fn datagram(&self, len: usize) -> &[u8] {
        &self.buffer[..len]
    }

    /// Room for many datagrams, and the count of what has been received.
    pub(crate) fn batch(&mut self) -> (&mut Batch, &mut u64) {
        (self.batch.get_or_insert_default(), &mut self.received)
    }

    /// Counts what has been received.
    #[inline]
    pub(crate) fn count(&mut self, len: usize) {
        self.received += len as u64;
    }

    /// How many bytes have ever been received.
    #[inline]
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The message in the datagram that has just been received, whose header this is.
    pub(crate) fn take(&mut self, header: &Header, len: usize) -> Sent {
        if len < KEPT {
            return Sent::copied(header, self.datagram(len));
        }
        self.take_all(header, len)
    }

    fn take_all(&mut self, header: &Header, len: usize) -> Sent {
        let name = HEADER..HEADER + usize::from(header.name_len);
        Sent {
            key: header.key,
            payload: name.end..len,
            name,
            bytes: std::mem::take(&mut self.buffer),
        }
    }

    /// Memory for a message of several parts, if there is some.
    pub(crate) fn body(&mut self) -> Option<Vec<u8>> {
        self.body.take()
    }

    /// Takes back the memory of a message that nobody needs any more.
    #[cold]
    pub(crate) fn give_back(&mut self, sent: Sent) {
        if BODY.contains(&sent.bytes.capacity()) {
            self.body = Some(sent.bytes);
            return;
        }
        if sent.bytes.len() > MAX_DATAGRAM && self.spare.len() < SPARE {
            self.spare.push(sent.bytes);
        }
    }
}

/// Without the value.
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent")
            .field("name", &self.type_name())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
