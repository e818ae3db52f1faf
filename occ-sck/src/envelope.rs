//! A message as it arrived: whole, and not yet decoded.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use serde::de::DeserializeOwned;

use crate::blob::{Blob, Draft};
use crate::carried::Decoding;
use crate::deadline::Deadline;
use crate::error::{BlobError, DecodeError, SendError};
use crate::packet::Packet;
use crate::segments::Segments;
use crate::socket::Socket;
use crate::stream::Stream;
use crate::value::{TypeKey, decode, decode_from, type_name_of};

/// The payload of a message.
pub enum Body {
    /// In memory, behind the name of the type.
    Inline {
        /// Name and payload.
        bytes: Vec<u8>,
        /// Where the payload begins.
        at: usize,
    },
    /// In memory, in pieces: more than 16 MiB.
    Segments(Segments),
    /// In a sealed memory file.
    Blob(Blob),
}

/// A message as it arrived.
#[derive(Debug)]
pub struct Envelope {
    /// What it is for: see [`kind`](crate::kind).
    pub kind: u8,
    /// The type of the value in it.
    pub key: TypeKey,
    /// The name of that type, when the payload is not behind it.
    pub(crate) long_name: String,
    /// The encoded value.
    pub body: Body,
    /// File descriptors that came with it: those in the value first.
    pub fds: Vec<OwnedFd>,
}

impl Envelope {
    /// The name of the type that was sent, for people.
    pub fn type_name(&self) -> &str {
        match &self.body {
            // The name was checked to be text when the frame was parsed.
            Body::Inline { bytes, at } => std::str::from_utf8(&bytes[..*at]).unwrap_or("?"),
            Body::Segments(_) | Body::Blob(_) => &self.long_name,
        }
    }

    /// Bytes of the encoded value.
    pub fn len(&self) -> u64 {
        match &self.body {
            Body::Inline { bytes, at } => (bytes.len() - at) as u64,
            Body::Segments(segments) => segments.len(),
            Body::Blob(blob) => blob.len(),
        }
    }

    /// True when the encoded value has no bytes, as that of `()`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The encoded value, copied into one piece where it is not in one.
    ///
    /// # Errors
    ///
    /// The memory file that holds it cannot be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, BlobError> {
        match &self.body {
            Body::Inline { bytes, at } => Ok(Cow::Borrowed(&bytes[*at..])),
            Body::Segments(segments) => {
                Ok(Cow::Owned(segments.pieces().collect::<Vec<_>>().concat()))
            }
            Body::Blob(blob) => blob.read().map(Cow::Owned),
        }
    }

    /// True when a `T` was sent; by its name alone, if that is all that the sender said.
    pub fn is<T: 'static>(&self) -> bool {
        let key = TypeKey::of::<T>();
        self.key == key || self.key == key.name_alone()
    }

    /// The value, at a look: descriptors in it are duplicates, and the message keeps its own.
    ///
    /// # Errors
    ///
    /// [`DecodeError::WrongType`] when something else was sent, [`DecodeError::Fds`] when a descriptor is not there
    /// or cannot be duplicated; else the bytes are no `T`.
    pub fn decode<T: DeserializeOwned + 'static>(&self) -> Result<T, DecodeError> {
        self.expect::<T>()?;
        let scope = Decoding::lending(&self.fds);
        let value = self.body.decode();
        match scope.end() {
            Ok(_) => value,
            Err(source) => Err(DecodeError::Fds {
                type_name: type_name_of::<T>(),
                source,
            }),
        }
    }

    /// The value. The memory of a long message is freed as it is read. Descriptors are moved into the value; what came besides is closed, and so is all of them on an error.
    ///
    /// # Errors
    ///
    /// As [`Envelope::decode`].
    pub fn into_value<T: DeserializeOwned + 'static>(self) -> Result<T, DecodeError> {
        self.into_value_and_fds().map(|(value, _)| value)
    }

    /// The value, and the descriptors that came besides, in their order.
    ///
    /// # Errors
    ///
    /// As [`Envelope::into_value`].
    pub fn into_value_and_fds<T: DeserializeOwned + 'static>(
        self,
    ) -> Result<(T, Vec<OwnedFd>), DecodeError> {
        self.expect::<T>()?;
        let scope = Decoding::giving(self.fds);
        let value = self.body.into_value();
        match scope.end() {
            Ok(rest) => Ok((value?, rest)),
            Err(source) => Err(DecodeError::Fds {
                type_name: type_name_of::<T>(),
                source,
            }),
        }
    }

    /// Sends the message on as it came, in one datagram or not at all: bytes and descriptors, neither read nor given
    /// away.
    ///
    /// # Errors
    ///
    /// As [`Packet::send_whole`].
    pub fn forward(&self, socket: &Socket, deadline: Deadline) -> Result<(), SendError> {
        let packet = |payload| Packet::raw(self.kind, self.key, self.type_name(), payload);
        let fds: Vec<_> = self.fds.iter().map(AsFd::as_fd).collect();
        match &self.body {
            Body::Inline { bytes, at } => packet(&bytes[*at..]).send_whole(socket, &fds, deadline),
            Body::Blob(blob) => packet(&[]).send_blob(blob, socket, &fds, deadline),
            Body::Segments(segments) => {
                let mut draft = Draft::new(segments.len()).map_err(SendError::Blob)?;
                for piece in segments.pieces() {
                    draft.write(piece).map_err(SendError::Blob)?;
                }
                let blob = draft.finish().map_err(SendError::Blob)?;
                packet(&[]).send_blob(&blob, socket, &fds, deadline)
            }
        }
    }

    fn expect<T: 'static>(&self) -> Result<(), DecodeError> {
        if self.is::<T>() {
            return Ok(());
        }
        Err(DecodeError::WrongType {
            expected: type_name_of::<T>(),
            found: self.type_name().to_owned(),
        })
    }
}

impl Body {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self {
            Body::Inline { bytes, at } => decode(&bytes[*at..]),
            Body::Segments(segments) => {
                decode_from(Stream::keeping(segments), segments.len() as usize)
            }
            Body::Blob(blob) => blob.decode_behind(0),
        }
    }

    fn into_value<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        match self {
            Body::Segments(segments) => {
                let len = segments.len() as usize;
                decode_from(Stream::freeing(segments), len)
            }
            kept => kept.decode(),
        }
    }
}

/// Without the bytes: how many there are.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Inline { bytes, at } => f
                .debug_struct("Inline")
                .field("name", &String::from_utf8_lossy(&bytes[..*at]))
                .field("len", &(bytes.len() - at))
                .finish(),
            Body::Segments(segments) => segments.fmt(f),
            Body::Blob(blob) => blob.fmt(f),
        }
    }
}
