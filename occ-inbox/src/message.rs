//! A message in the queue, and what can be received.

use std::any::Any;

use occ_sck::{Body, DecodeError, Envelope, TypeKey, type_name_of};
use serde::de::DeserializeOwned;

use crate::pid::Pid;
use crate::sent::Sent;

/// A message as it stands in the inbox.
#[derive(Debug)]
pub struct Message {
    /// Who sent it, as whoever made the connection says; for a message from the system, the process that
    /// it is about.
    pub from: Pid,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// From another process, encoded.
    Sent(Sent),
    /// The same, in pieces, or with descriptors: its own, or that of the memory file that it is in.
    Whole(Box<Envelope>),
    /// From the system. Its type is not `Serialize`, so that nobody can send one.
    System {
        value: Box<dyn Any + Send>,
        key: TypeKey,
        type_name: &'static str,
        about_end: bool,
    },
}

impl Message {
    /// A message that arrived from `from`. The file descriptors that came with it wait with it, and are closed with it.
    pub fn sent(from: Pid, envelope: Envelope) -> Message {
        let content = match Sent::from_envelope(envelope) {
            Ok(sent) => Content::Sent(sent),
            Err(envelope) => Content::Whole(envelope),
        };
        Message { from, content }
    }

    /// A message that arrived from `from` in one datagram.
    #[inline]
    pub(crate) fn whole(from: Pid, sent: Sent) -> Message {
        Message {
            from,
            content: Content::Sent(sent),
        }
    }

    /// A message from the system that tells the end of `about`: whatever that one sent comes before it.
    pub fn about_end<T: Send + 'static>(about: Pid, value: T) -> Message {
        let content = Content::System {
            value: Box::new(value),
            key: TypeKey::of::<T>(),
            type_name: type_name_of::<T>(),
            about_end: true,
        };
        Message {
            from: about,
            content,
        }
    }

    /// The process whose end it tells.
    pub(crate) fn tells_end_of(&self) -> Option<Pid> {
        let about_end = matches!(
            self.content,
            Content::System {
                about_end: true,
                ..
            }
        );
        about_end.then_some(self.from)
    }

    /// The name of its type, for people.
    pub fn type_name(&self) -> &str {
        match &self.content {
            Content::Sent(sent) => sent.type_name(),
            Content::Whole(envelope) => envelope.type_name(),
            Content::System { type_name, .. } => type_name,
        }
    }

    /// What tells its type from others.
    #[inline]
    pub(crate) fn key(&self) -> TypeKey {
        match &self.content {
            Content::Sent(sent) => sent.key(),
            Content::Whole(envelope) => envelope.key,
            Content::System { key, .. } => *key,
        }
    }

    /// True when it is a `T`.
    #[inline]
    pub fn is<T: 'static>(&self) -> bool {
        match &self.content {
            Content::Sent(sent) => sent.is::<T>(),
            Content::Whole(envelope) => envelope.is::<T>(),
            Content::System { value, .. } => value.is::<T>(),
        }
    }

    /// The value in it, at a look: descriptors in it are duplicates.
    ///
    /// # Errors
    ///
    /// It is of another type, or cannot be decoded.
    pub fn decode<T: Receive>(&self) -> Result<T, DecodeError> {
        T::from_message(self)
    }

    /// The value in it. Descriptors in it are moved there.
    ///
    /// # Errors
    ///
    /// It is of another type, or cannot be decoded.
    pub fn into_value<T: Receive>(self) -> Result<T, DecodeError> {
        T::from_owned(self)
    }

    /// Bytes of the encoded value; none in a message from the system.
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Sent(sent) => sent.size(),
            Content::Whole(envelope) => envelope.len(),
            Content::System { .. } => 0,
        }
    }

    /// The value in a message from the system.
    pub fn system<T: 'static>(&self) -> Option<&T> {
        match &self.content {
            Content::System { value, .. } => value.downcast_ref(),
            Content::Sent(_) | Content::Whole(_) => None,
        }
    }

    /// The value in a message from the system, copied out: for the [`Receive`] of its type.
    ///
    /// # Errors
    ///
    /// The message is of another type, or from another process.
    pub fn decode_system<T: Clone + 'static>(&self) -> Result<T, DecodeError> {
        self.system::<T>()
            .cloned()
            .ok_or_else(|| self.wrong_type::<T>())
    }

    /// There may be descriptors in its value.
    pub(crate) fn carries_fds(&self) -> bool {
        matches!(&self.content, Content::Whole(envelope) if !envelope.fds.is_empty())
    }

    /// Descriptors that it holds.
    #[inline]
    pub(crate) fn fds(&self) -> u64 {
        match &self.content {
            Content::Whole(envelope) => {
                let blob = matches!(envelope.body, Body::Blob(_));
                envelope.fds.len() as u64 + u64::from(blob)
            }
            Content::Sent(_) | Content::System { .. } => 0,
        }
    }

    pub(crate) fn is_from_system(&self) -> bool {
        matches!(self.content, Content::System { .. })
    }

    /// From another process, in memory, without descriptors.
    #[inline]
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.content, Content::Sent(_))
    }

    /// What is left of it once its value has been decoded, if that is much.
    #[inline]
    pub(crate) fn into_large(self) -> Option<Sent> {
        match self.content {
            Content::Sent(sent) if sent.is_large() => Some(sent),
            Content::Sent(_) | Content::Whole(_) | Content::System { .. } => None,
        }
    }

    fn wrong_type<T>(&self) -> DecodeError {
        DecodeError::WrongType {
            expected: type_name_of::<T>(),
            found: self.type_name().to_owned(),
        }
    }
}

/// What can be received: every value that can be decoded, and the messages of the system.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be received",
    label = "not a value that a message can be decoded to",
    note = "it must be `DeserializeOwned + 'static`: derive `serde::Deserialize`, and own the data (`String` for `&str`)"
)]
pub trait Receive: Sized + 'static {
    /// The value in `message`.
    ///
    /// # Errors
    ///
    /// It is of another type, or cannot be decoded.
    fn from_message(message: &Message) -> Result<Self, DecodeError>;

    /// The same, where the message is needed no more.
    ///
    /// # Errors
    ///
    /// As [`Receive::from_message`].
    fn from_owned(message: Message) -> Result<Self, DecodeError> {
        Self::from_message(&message)
    }
}

impl<T: DeserializeOwned + 'static> Receive for T {
    #[inline]
    fn from_message(message: &Message) -> Result<T, DecodeError> {
        match &message.content {
            Content::Sent(sent) if sent.is::<T>() => sent.decode(),
            Content::Whole(envelope) => envelope.decode(),
            Content::Sent(_) | Content::System { .. } => Err(message.wrong_type::<T>()),
        }
    }

    #[inline]
    fn from_owned(message: Message) -> Result<T, DecodeError> {
        match message.content {
            Content::Whole(envelope) => envelope.into_value(),
            _ => T::from_message(&message),
        }
    }
}
