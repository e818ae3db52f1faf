//! What can go wrong before there is a connection. What can go wrong on one is in `error.rs`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::address::Address;

/// What is no address.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not say of which kind it is.
    #[error(
        "expected an address that begins with `unix:`, `seqpacket:` or `tcp:`, and this is `{text}`"
    )]
    Scheme {
        /// What was given.
        text: String,
    },
    /// A path or an abstract name without a byte, or with more than the kernel takes.
    #[error("expected a socket's {what} of 1 to {limit} bytes, and this one has {len}")]
    Length {
        /// Of which kind.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A path with a zero byte, where it would end for the kernel.
    #[error("expected a path without a zero byte, and this is {path:?}")]
    Nul {
        /// The path.
        path: PathBuf,
    },
    /// A backslash that begins nothing.
    #[error(
        r"expected `\\` or `\x` and two hexadecimal digits at each backslash, and this is `{text}`"
    )]
    Escape {
        /// What was given.
        text: String,
    },
    /// What is no TCP address. Names are not looked up.
    #[error(
        "expected an IP address and a port, as `127.0.0.1:80` or `[::1]:80`, and this is `{text}`"
    )]
    Tcp {
        /// What was given.
        text: String,
    },
    /// TCP with a carrier that it has not.
    #[error("expected a Unix address for SOCK_SEQPACKET, and this is tcp:{address}")]
    SeqpacketTcp {
        /// What was given.
        address: SocketAddr,
    },
}

/// A connection that was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody listens there: nothing is bound to the address, or its owner has stopped listening or died.
    #[error("nobody listens at {address}")]
    Refused {
        /// Where.
        address: Address,
        /// What the kernel said: ECONNREFUSED, or ENOENT of a path, for two.
        source: io::Error,
    },
    /// Somebody listens there, with another carrier: byte streams where `SOCK_SEQPACKET` was asked for, or the other way round.
    #[error("a socket of another type is at {address}")]
    OtherCarrier {
        /// Where.
        address: Address,
    },
    /// It did not come about before the deadline.
    #[error("there was no connection with {address} in time")]
    TimedOut {
        /// Where.
        address: Address,
    },
    /// A system call failed.
    #[error("{op} failed for {address}")]
    Io {
        /// The call.
        op: &'static str,
        /// Where.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A listener that was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another socket has the address. Whoever owns it noticed nothing.
    #[error("{address} is in use")]
    AddrInUse {
        /// Where.
        address: Address,
    },
    /// The path is that of something else than a socket, which was left as it is.
    #[error("what is at {address} is no socket")]
    NoSocket {
        /// Where.
        address: Address,
    },
    /// The path is that of a socket that somebody has left behind, and for five seconds another process had locked the folder (flock(2)),
    /// which it is replaced under.
    #[error("the folder of {address} is locked by another process")]
    Locked {
        /// Where.
        address: Address,
    },
    /// A system call failed.
    #[error("{op} failed for {address}")]
    Io {
        /// The call.
        op: &'static str,
        /// Where.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A connection that was not accepted. A listener that was closed is not here: that is a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody connected in time.
    #[error("nobody connected in time")]
    TimedOut,
    /// A system call failed. The connection still waits, if this process had no room for it.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
