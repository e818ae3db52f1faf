//! Connections that have been accepted and on which nothing has been said yet: so many, and for so long.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use occ_sck::{Address, PeerCredentials, Socket};
use rustix::event::epoll;

use super::hello::{Word, hear};

/// How many there may be. Who connects and has an inbox says its first word at once, so the oldest is the one to go.
const MOST: usize = 64;

/// How long one may say nothing.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Silent {
    socket: Socket,
    credentials: Option<PeerCredentials>,
    until: Instant,
}

/// One that has said its first word.
#[derive(Debug)]
pub(super) struct Heard {
    /// The peer's word.
    pub(super) address: Address,
    /// The kernel's.
    pub(super) credentials: Option<PeerCredentials>,
    pub(super) socket: Socket,
}

/// What became of the oldest.
#[derive(Debug)]
pub(super) enum GivenUp {
    Heard(Heard),
    Closed,
}

/// In the order in which they were accepted, and heard in it: one that a peer has made after another is the newer one.
#[derive(Debug, Default)]
pub(super) struct Silents(VecDeque<Silent>);

impl Silents {
    /// Takes one that has just been accepted. There must be room for it.
    pub(super) fn push(
        &mut self,
        socket: Socket,
        credentials: Option<PeerCredentials>,
        epoll: &OwnedFd,
    ) {
        if epoll::add(
            epoll,
            &socket,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )
        .is_ok()
        {
            self.0.push_back(Silent {
                socket,
                credentials,
                until: Instant::now() + PATIENCE,
            });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Gives up the oldest, if there is one: it is closed, unless it has said its first word by now.
    pub(super) fn give_up_one(&mut self, epoll: &OwnedFd) -> Option<GivenUp> {
        let oldest = self.0.pop_front()?;
        Some(match hear(&oldest.socket) {
            Word::Of(address) => GivenUp::Heard(oldest.has_said(address, epoll)),
            Word::None | Word::Nonsense => {
                oldest.leave(epoll).close();
                GivenUp::Closed
            }
        })
    }

    /// Those on which the first word has been said. Those that have said something else, or nothing for too long, are closed.
    pub(super) fn heard(&mut self, epoll: &OwnedFd) -> Vec<Heard> {
        let now = Instant::now();
        let mut heard = Vec::new();
        for one in std::mem::take(&mut self.0) {
            match hear(&one.socket) {
                Word::Of(address) => heard.push(one.has_said(address, epoll)),
                Word::None if now < one.until => self.0.push_back(one),
                Word::None | Word::Nonsense => one.leave(epoll).close(),
            }
        }
        heard
    }

    /// When the first of them has been silent for too long.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.front().map(|one| one.until)
    }
}

impl Silent {
    fn has_said(self, address: Address, epoll: &OwnedFd) -> Heard {
        Heard {
            address,
            credentials: self.credentials,
            socket: self.leave(epoll),
        }
    }

    /// A fork of this process may have the socket, too, and then it would not leave epoll by being closed here.
    fn leave(self, epoll: &OwnedFd) -> Socket {
        let _ = epoll::delete(epoll, &self.socket);
        self.socket
    }
}
