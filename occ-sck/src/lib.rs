//! Sockets made safe: framed values, file descriptors, deadlines and limits.
//!
//! There are two carriers under one API. A pair of connected `SOCK_SEQPACKET` Unix sockets: what one side sends in one call
//! arrives whole or not at all, also when the sender is killed in the middle of it. And byte streams, Unix sockets and
//! TCP, which carry the same datagrams behind a length of their own.
//!
//! From the top down:
//!
//! - [`Channel`] sends and receives *values*: anything that is a [`Term`], of any size up to a limit. It is one of a pair, or
//!   made by [`Address`]: connected with [`Channel::connect`], or accepted by a [`Listener`].
//! - [`Packet`] is a value made ready to be sent; [`Cutter`] turns what arrives on a byte stream into datagrams, and
//!   [`Assembler`] datagrams back into an [`Envelope`]. None does any I/O of its own, so all fit any event loop.
//! - [`Socket`] sends and receives datagrams with file descriptors and the kernel's word on the sender.
//! - [`Blob`] is bytes in sealed memory that travel as one file descriptor, whatever their number.
//!
//! A value is encoded before the socket is touched; what the format cannot carry is an error that names the
//! type ([`Term`] lists it). A peer that has closed or died is a value, after all that it had sent.
//!
//! # Example
//!
//! ```
//! use occ_sck::Channel;
//!
//! let (mut a, mut b) = Channel::pair()?;
//! a.send(&("answer".to_string(), 42))?;
//! let got: Option<(String, i32)> = b.receive()?;
//! assert_eq!(got, Some(("answer".to_string(), 42)));
//!
//! drop(a);
//! let end: Option<String> = b.receive()?;
//! assert_eq!(end, None);
//! # Ok::<(), anyhow::Error>(())
//! ```

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod address;
mod assemble;
mod batch;
mod blob;
mod bound_path;
mod byte_stream;
mod bytes;
mod carried;
mod carrier;
mod channel;
mod connect;
mod connection_error;
mod cutter;
mod deadline;
mod decoder;
mod encoder;
mod envelope;
mod error;
mod fd;
mod frame;
mod listener;
mod long;
mod out;
mod packet;
mod part;
mod peer;
mod segments;
mod socket;
mod stream;
mod sys;
mod transmit;
mod value;

pub use address::Address;
pub use assemble::{Assembler, Limits};
pub use batch::Batch;
pub use blob::Blob;
pub use bytes::Bytes;
pub use channel::Channel;
pub use connection_error::{AcceptError, AddressError, ConnectError, ListenError};
pub use cutter::{Cutter, STREAM_HEAD};
pub use deadline::Deadline;
pub use envelope::{Body, Envelope};
pub use error::{
    BlobError, ChannelError, DecodeError, EncodeError, FdError, FrameError, ReceiveError, SendError,
};
pub use fd::Fd;
pub use frame::{HEADER, Header, MAX_DATAGRAM, MAX_NAME, PART, kind, room};
pub use listener::Listener;
pub use packet::Packet;
pub use part::Part;
pub use peer::PeerCredentials;
pub use segments::Segments;
pub use socket::{Credentials, MAX_FDS, Received, Socket};
pub use value::{
    Term, TypeKey, decode, decode_with_fds, encode_into, encode_with_fds, type_name_of,
};
