//! A message as it arrived: whole, and not yet decoded.

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;

use crate::blob::Blob;
use crate::carried::Decoding;
use crate::error::{BlobError, DecodeError};
use crate::value::{TypeKey, decode, type_name_of};

/// The payload of a message.
#[derive(Debug)]
pub enum Body {
    /// In memory, behind the name of the type.
    Inline {
        /// Name and payload.
        bytes: Vec<u8>,
        /// Where the payload begins.
        at: usize,
    },
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
    /// The name of that type, when the payload is in a memory file.
    pub(crate) blob_name: String,
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
            Body::Blob(_) => &self.blob_name,
        }
    }

    /// Bytes of the encoded value.
    pub fn len(&self) -> u64 {
        match &self.body {
            Body::Inline { bytes, at } => (bytes.len() - at) as u64,
            Body::Blob(blob) => blob.len(),
        }
    }

    /// True when the encoded value has no bytes, as that of `()`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The encoded value.
    ///
    /// # Errors
    ///
    /// The memory file that holds it cannot be read.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, BlobError> {
        match &self.body {
            Body::Inline { bytes, at } => Ok(Cow::Borrowed(&bytes[*at..])),
            Body::Blob(blob) => blob.read().map(Cow::Owned),
        }
    }

    /// True when a `T` was sent.
    pub fn is<T: 'static>(&self) -> bool {
        self.key == TypeKey::of::<T>()
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
        let value = decode_body(&self.body);
        match scope.end() {
            Ok(_) => value,
            Err(source) => Err(DecodeError::Fds {
                type_name: type_name_of::<T>(),
                source,
            }),
        }
    }

    /// The value. Descriptors in it are moved there; what came besides is closed, and so is all of them on an error.
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
        let value = decode_body(&self.body);
        match scope.end() {
            Ok(rest) => Ok((value?, rest)),
            Err(source) => Err(DecodeError::Fds {
                type_name: type_name_of::<T>(),
                source,
            }),
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

fn decode_body<T: DeserializeOwned>(body: &Body) -> Result<T, DecodeError> {
    match body {
        Body::Inline { bytes, at } => decode(&bytes[*at..]),
        Body::Blob(blob) => {
            let bytes = blob.read().map_err(|source| DecodeError::Blob {
                type_name: type_name_of::<T>(),
                source,
            })?;
            decode(&bytes)
        }
    }
}
