//! What can go wrong, by operation. A peer that has closed is not here: that is a value.

use std::io;

use thiserror::Error;

/// What made a value impossible to encode or decode.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A value that cannot be put into bytes. Nothing was sent.
#[derive(Debug, Error)]
#[error("cannot encode a `{type_name}`")]
pub struct EncodeError {
    /// The type of the value.
    pub type_name: &'static str,
    /// What the encoder said.
    pub source: Cause,
}

/// A descriptor in a value that cannot travel, or has not arrived: the source of an [`EncodeError`] and of a
/// [`DecodeError::Fds`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FdError {
    /// The value is encoded or decoded otherwise than in a message. Only a message takes descriptors along.
    #[error("a file descriptor travels in a message only, and this is none")]
    Outside,
    /// More than one message can carry.
    #[error("{given} file descriptors in one message: the limit is {limit}")]
    TooMany {
        /// How many are in the value.
        given: usize,
        /// How many there may be: 253, and one less where the value travels in a memory file.
        limit: usize,
    },
    /// This process has no room for another descriptor.
    #[error("cannot duplicate a file descriptor")]
    Duplicate {
        /// What the kernel said.
        source: io::Error,
    },
    /// The value names a descriptor that has not come with it.
    #[error("file descriptor {index} is missing: {came} came with the value, counted from 0")]
    Missing {
        /// Its number, counted from 0.
        index: u32,
        /// How many came.
        came: usize,
    },
    /// The value names a descriptor that it has named before.
    #[error("file descriptor {index} is in the value twice")]
    Twice {
        /// Its number, counted from 0.
        index: u32,
    },
}

impl FdError {
    /// The same once more: for the code in between, and for the end.
    pub(crate) fn again(&self) -> FdError {
        match self {
            FdError::Outside => FdError::Outside,
            &FdError::TooMany { given, limit } => FdError::TooMany { given, limit },
            FdError::Duplicate { source } => FdError::Duplicate {
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
            &FdError::Missing { index, came } => FdError::Missing { index, came },
            &FdError::Twice { index } => FdError::Twice { index },
        }
    }
}

/// Bytes that are not the value they were taken for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not spell a value of this type.
    #[error("cannot decode a `{type_name}`")]
    Bytes {
        /// The type that was asked for.
        type_name: &'static str,
        /// What the decoder said.
        source: Cause,
    },
    /// A value was read, and bytes were left over: writer and reader disagree about the type.
    #[error("cannot decode a `{type_name}`: {left} of {of} bytes are left over")]
    LeftOver {
        /// The type that was asked for.
        type_name: &'static str,
        /// Bytes left over.
        left: usize,
        /// Bytes in all.
        of: usize,
    },
    /// The value is of another type.
    #[error("expected a `{expected}`, and this is a `{found}`")]
    WrongType {
        /// The type that was asked for.
        expected: &'static str,
        /// The type that was sent.
        found: String,
    },
    /// A descriptor that the value names has not come, is named twice, or cannot be duplicated.
    #[error("cannot decode a `{type_name}`")]
    Fds {
        /// The type that was asked for.
        type_name: &'static str,
        /// What is wrong with them.
        source: FdError,
    },
    /// The bytes travel in a memory file that could not be read.
    #[error("cannot read the bytes of a `{type_name}`")]
    Blob {
        /// The type that was asked for.
        type_name: &'static str,
        /// Why not.
        source: BlobError,
    },
}

/// A datagram that is no frame, or no frame that may come here. Unless it says otherwise, the connection
/// is of no more use.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// Shorter than it says it is.
    #[error("a frame of {len} bytes is too short: expected at least {expected}")]
    Short {
        /// Bytes received.
        len: usize,
        /// Bytes that a frame of this kind has at the least.
        expected: usize,
    },
    /// Longer than a datagram may be.
    #[error("a datagram was cut off: expected at most {limit} bytes")]
    Oversized {
        /// The most bytes that a datagram may have.
        limit: usize,
    },
    /// On a stream: a head announces more bytes than a datagram may have.
    #[error("a frame of {len} bytes is announced: expected at most {limit}")]
    TooLong {
        /// Bytes announced.
        len: usize,
        /// The most bytes that a datagram may have.
        limit: usize,
    },
    /// On a stream: a head announces another number of file descriptors than came with it.
    #[error("{announced} file descriptors are announced, and {found} came")]
    FdCount {
        /// How many were announced.
        announced: usize,
        /// How many came.
        found: usize,
    },
    /// On a stream: file descriptors came that no head announces.
    #[error("{count} file descriptors came unannounced")]
    FdsUnannounced {
        /// How many.
        count: usize,
    },
    /// The message it belongs to is over the receiver's limit.
    #[error("a message of {total} bytes is over the limit of {limit}")]
    OverLimit {
        /// Bytes announced.
        total: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Part numbers and lengths that contradict each other.
    #[error("part {part} of {parts} with {len} bytes does not fit a message of {total} bytes")]
    Parts {
        /// The part, counted from 0.
        part: u32,
        /// Parts announced.
        parts: u32,
        /// Payload bytes in this part.
        len: usize,
        /// Payload bytes announced for the whole.
        total: u64,
    },
    /// A part of another message than the one that is being put together.
    #[error("expected part {expected} of message {of}, and this is part {part} of message {id}")]
    OutOfOrder {
        /// The message that is being put together.
        of: u32,
        /// The part that is next.
        expected: u32,
        /// The message that this part belongs to.
        id: u32,
        /// The part it is.
        part: u32,
    },
    /// Flags that no sender sets.
    #[error("flags {flags:#04x} have no meaning")]
    Flags {
        /// All flags of the frame.
        flags: u8,
    },
    /// A type name that is not UTF-8, too long, or in a part that is not the first.
    #[error("a type name of {len} bytes is too long, no text, or not in the first part")]
    Name {
        /// Its length in bytes.
        len: usize,
    },
    /// Control data was cut off: file descriptors were sent that could not be received. Those that
    /// arrived have been closed, and the datagram is consumed. The next one can be received; a message
    /// that this one was a part of is lost.
    #[error(
        "file descriptors were lost on the way: too many were sent, or this process has no room"
    )]
    FdsLost,
    /// File descriptors with a part that is not the first, where a message may have any number of them.
    #[error("{count} file descriptors came with part {part}: they travel with part 0")]
    FdsMisplaced {
        /// How many.
        count: usize,
        /// The part, counted from 0.
        part: u32,
    },
    /// The frame says that its bytes are in a memory file, and none came with it.
    #[error("the memory file that holds the bytes is missing")]
    BlobMissing,
    /// The descriptor that came is no memory file, or one that its sender could still change.
    #[error("the memory file that holds the bytes is not sealed")]
    BlobUnsealed,
    /// The memory file is not as long as the frame says.
    #[error("expected a memory file of {expected} bytes, and it has {found}")]
    BlobLength {
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
}

/// Bytes in a memory file that cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlobError {
    /// A system call failed.
    #[error("{op} failed on a memory file of {len} bytes")]
    Io {
        /// The call.
        op: &'static str,
        /// The length of the file.
        len: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is not as long as was announced.
    #[error("expected a memory file of {expected} bytes, and it has {found}")]
    Length {
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// Whoever sent it could still change it.
    #[error("the memory file is not sealed: its sender could still change it")]
    Unsealed,
}

/// A datagram that was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer has closed its end, or died.
    #[error("the peer has closed the connection")]
    Closed,
    /// The peer's buffer is full, and the deadline has passed.
    #[error("the peer did not make room in time")]
    Full,
    /// The deadline has passed in the middle of the value, on a stream. It is on its way and must not be sent again: what is left of
    /// it goes out first with whatever is sent next, while something is waited for, or by
    /// [`Channel::flush`](crate::Channel::flush).
    #[error(
        "the peer did not make room in time for all of the value: the rest of it is kept, and goes out first"
    )]
    Unfinished,
    /// File descriptors for a connection that carries none: TCP.
    #[error("{given} file descriptors for a TCP connection: only Unix sockets carry them")]
    NoFds {
        /// How many were given.
        given: usize,
    },
    /// As many file descriptors are under way as the kernel lets a user have, in all processes together, and until the
    /// deadline none of them was received: `RLIMIT_NOFILE` of the sender, unless it has `CAP_SYS_RESOURCE`
    /// (ETOOMANYREFS, unix(7)). They count from when they are sent until they are received.
    #[error(
        "too many file descriptors are under way: all processes of a user may have {limit} sent and not received"
    )]
    TooManyInFlight {
        /// How many there may be, for this sender.
        limit: u64,
    },
    /// More file descriptors than the kernel takes at once.
    #[error("{given} file descriptors in one message: the limit is 253")]
    TooManyFds {
        /// How many were given.
        given: usize,
    },
    /// A value that travels in a memory file was encoded otherwise than before, or has as many descriptors as a message
    /// may have, of which the file would be one.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The bytes were to travel in a memory file, which could not be made.
    #[error("cannot hand over the bytes in a memory file")]
    Blob(#[source] BlobError),
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SendError {
    /// Nothing more can be sent.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, SendError::Closed | SendError::Io { .. })
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> io::Error {
        let kind = match &error {
            SendError::Closed => io::ErrorKind::BrokenPipe,
            SendError::Full | SendError::Unfinished | SendError::TooManyInFlight { .. } => {
                io::ErrorKind::TimedOut
            }
            SendError::TooManyFds { .. } | SendError::NoFds { .. } | SendError::Encode(_) => {
                io::ErrorKind::InvalidInput
            }
            SendError::Io { source, .. } => source.kind(),
            SendError::Blob(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A datagram that could not be received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// What arrived is no frame. The connection should be closed.
    #[error("malformed frame")]
    Frame(#[from] FrameError),
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What a [`Channel`](crate::Channel) can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The value cannot be encoded; nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The value was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Nothing more can be received here.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// One value could not be decoded. It is consumed; the connection goes on.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Nothing arrived in time.
    #[error("nothing arrived in time")]
    TimedOut,
}
