//! What can go wrong when sending and receiving.

use std::io;

use occ_sck::{DecodeError, EncodeError};
use thiserror::Error;

use crate::listening::ListenError;
use crate::pid::Pid;

/// What made a connection useless.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A message that was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such process: it has ended, or never was.
    #[error("there is no process {to}")]
    NoProcess {
        /// Whom it was for.
        to: Pid,
    },
    /// The process lives, and has closed its inbox.
    #[error("process {to} has closed its inbox")]
    NoInbox {
        /// Whom it was for.
        to: Pid,
    },
    /// There are no file descriptors left for a connection with it, here or there.
    #[error("no file descriptor is left for a connection with {to}")]
    TooManyPeers {
        /// Whom it was for.
        to: Pid,
    },
    /// The receiver has not made room: at once, for `try_send`, or in time.
    #[error("the inbox of {to} is full")]
    Full {
        /// Whom it was for.
        to: Pid,
    },
    /// No inbox can be at the address.
    #[error("nothing can be sent there")]
    Address {
        /// Why not.
        source: Box<ListenError>,
    },
    /// The message cannot be encoded. The connection is as it was.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The system has ended, or its coordinator was killed.
    #[error("the system has gone down")]
    SystemDown,
    /// The calling thread belongs to no system.
    #[error("this thread belongs to no system: start one, or run a function in one")]
    NotStarted,
    /// This process is a plain fork of a process of a system, and no process of it; or of one that has an inbox with handles.
    #[error("this is a fork of a process of the system, which is none itself")]
    Forked,
    /// Called from within a matcher, while a receive is under way; or by what encodes a long message, to the same process.
    #[error(
        "called from within a matcher of receive, or from within a message to the same process"
    )]
    Reentrant,
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Nothing was received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A message of the wanted type cannot be decoded. It is consumed.
    #[error("a message of type `{type_name}` from {from} cannot be decoded")]
    Undecodable {
        /// Who sent it.
        from: Pid,
        /// The type that was sent.
        type_name: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A message that came with a file descriptor is lost, because this process has none left. It is told
    /// once, at the place of the message, to whoever gets there: nobody knows what the message was.
    #[error("a message{} is lost: this process has no file descriptor left", from_whom(*.from))]
    NoDescriptor {
        /// Who sent it, where that is known.
        from: Option<Pid>,
    },
    /// A connection carried something that no inbox sends, and is closed. It is told once, after the
    /// messages that came before.
    #[error("the connection with {from} is broken")]
    Broken {
        /// Who is at its other end.
        from: Pid,
        /// What is wrong with it.
        source: Cause,
    },
    /// More waits in the inbox than its limits allow, whose policy is [`Policy::End`](crate::Policy::End). It is told once.
    #[error("{messages} messages of {bytes} bytes wait, and that is over the limits of the inbox")]
    OverLimit {
        /// Messages that waited when there were too many.
        messages: u64,
        /// Bytes of their encoded values.
        bytes: u64,
    },
    /// The system has ended, or its coordinator was killed.
    #[error("the system has gone down")]
    SystemDown,
    /// The calling thread belongs to no system.
    #[error("this thread belongs to no system: start one, or run a function in one")]
    NotStarted,
    /// This process is a plain fork of a process of a system, and no process of it; or of one that has an inbox with handles.
    #[error("this is a fork of a process of the system, which is none itself")]
    Forked,
    /// Called from within a matcher, while a receive is under way.
    #[error("called from within a matcher of receive")]
    Reentrant,
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn from_whom(from: Option<Pid>) -> String {
    from.map_or_else(String::new, |from| format!(" from {from}"))
}
