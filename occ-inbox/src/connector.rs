//! Where connections come from.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use occ_sck::{Deadline, Socket};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::pid::Pid;
use crate::tally::Tallies;

/// Makes connections with other processes and brings news of them.
///
/// Two processes have one connection between them. It is made when either first asks, and both are told.
///
/// What an inbox calls here it calls while no other thread uses its connections: nothing of it may wait for one, nor use a
/// [`Handle`](crate::Handle) of that inbox.
pub trait Connector {
    /// Peers are found by an address, so they may be other programs and come back. Types are told apart by their names alone
    /// ([`TypeKey::by_name`](occ_sck::TypeKey::by_name)), and one who has ended a connection may be asked for another.
    const BY_ADDRESS: bool = false;

    /// Readable when [`Connector::next`] has something to say. It is the same for as long as the connector
    /// lives.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Asks for a connection with `peer`. The answer comes as an [`Event`] about it: that there is a
    /// connection, that there will be none, or that the peer has died.
    ///
    /// It waits for nothing: other threads may want something else meanwhile.
    ///
    /// # Errors
    ///
    /// There is nobody left to ask, or no room for the question.
    fn request(&mut self, peer: Pid, standing: Standing) -> Result<(), NotAsked>;

    /// The next piece of news; `None` when there was none before the deadline.
    ///
    /// # Errors
    ///
    /// There is nobody left who could bring any.
    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost>;

    /// All connections with `peer` have ended, and what came on them has been received. What this returns is queued behind that.
    /// `replaced` when there is a new one, of which there was an [`Event`].
    fn ended(&mut self, peer: Pid, replaced: bool) -> Option<Message> {
        let _ = (peer, replaced);
        None
    }

    /// Why there was no connection with `peer`, where that was something else than its refusal: asked for once, after
    /// [`Refusal::NoInbox`].
    fn failure(&mut self, peer: Pid) -> Option<io::Error> {
        let _ = peer;
        None
    }

    /// Where messages are counted, and under which number those to this inbox: asked for once, when it is made.
    fn tallies(&self) -> Option<(Arc<dyn Tallies>, Option<u32>)> {
        None
    }

    /// The inbox is no more, only handles of it.
    fn inbox_gone(&mut self) {}

    /// More waits in the inbox than its limits allow, whose policy is [`Policy::End`](crate::Policy::End). A receive is under
    /// way, or a send of the inbox that waits for room. Where this returns, that receive, or else the next, is an error that says
    /// so.
    fn over_limit(&mut self, messages: u64, bytes: u64) {
        let _ = (messages, bytes);
    }
}

/// How a process stands with another that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// They have had no connection that this one knows of.
    New,
    /// They had one, and it has ended. A new one is not wanted, only whether the peer is
    /// [gone](Refusal::NoProcess) or just [does not listen](Refusal::NoInbox).
    Broken,
    /// One was made, and one of the two had no room for it. Another is wanted, for both of them.
    Missed,
}

/// The connector has lost whoever it works with; nothing more comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// Why a [`Connector`] has not been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// There is nobody left to ask.
    Lost,
    /// There is no room for the question now. There is when [`Connector::as_fd`] is writable, and then it is asked again.
    Full,
}

impl From<Lost> for NotAsked {
    fn from(_: Lost) -> NotAsked {
        NotAsked::Lost
    }
}

/// What a [`Connector`] tells.
#[derive(Debug)]
pub enum Event {
    /// There is a connection with `peer` now, on whoever's wish. One that there was before is over: what
    /// came on it is received first.
    Connected {
        /// Who is at the other end: the word of the connector, not of the peer.
        peer: Pid,
        /// This end of it.
        socket: Socket,
        /// The number of `peer` in [`Connector::tallies`], where what is sent to it is counted.
        tally: Option<u32>,
    },
    /// The same, on the wish of the peer alone. Where there is a connection that was made on ours, and that has not ended, the two
    /// have asked at the same instant: then each sends on its own, and receives on both.
    Accepted {
        /// Who is at the other end.
        peer: Pid,
        /// This end of it.
        socket: Socket,
    },
    /// There will be no connection with `peer`.
    Refused {
        /// Who was asked for.
        peer: Pid,
        /// Why not.
        why: Refusal,
    },
    /// `peer` has died. What it sent before is received first; what comes on its connection later is
    /// from a fork of it, and discarded.
    Gone {
        /// Who died.
        peer: Pid,
    },
    /// A message from the system itself. If it is [about an end](Message::about_end), it is queued after
    /// the last one that the dead process sent.
    Message(Message),
    /// Something came with a file descriptor that this process had no room for, and is lost.
    NoDescriptor {
        /// The connection with whom it was, where that is known. If not, it may be that with any who was asked for.
        peer: Option<Pid>,
    },
    /// Something that concerns the connector alone.
    Own,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is no such process: it has ended, or never was.
    NoProcess,
    /// The process lives, and does not listen.
    NoInbox,
    /// There are no file descriptors left for a connection.
    TooManyPeers,
}
