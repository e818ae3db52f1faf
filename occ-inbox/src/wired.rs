//! A connector for connections that are there already.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_sck::{Deadline, Socket};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::connector::{Connector, Event, Lost, NotAsked, Refusal, Standing};
use crate::pid::Pid;

/// A [`Connector`] for processes that are connected already, by whoever started them.
///
/// There are no others: to ask for one is to be told that there is no such process.
#[derive(Debug)]
pub struct Wired {
    news: VecDeque<Event>,
    /// Readable while there is news.
    bell: OwnedFd,
}

impl Wired {
    /// A connector that knows these connections: who is at the other end, and this end.
    ///
    /// # Errors
    ///
    /// No room for a file descriptor.
    pub fn new(connections: impl IntoIterator<Item = (Pid, Socket)>) -> io::Result<Wired> {
        let connected = |(peer, socket)| Event::Connected {
            peer,
            socket,
            tally: None,
        };
        let news: VecDeque<Event> = connections.into_iter().map(connected).collect();
        let rung = u32::from(!news.is_empty());
        let bell = eventfd(rung, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wired { news, bell })
    }
}

impl Connector for Wired {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn request(&mut self, peer: Pid, _: Standing) -> Result<(), NotAsked> {
        let why = Refusal::NoProcess;
        self.news.push_back(Event::Refused { peer, why });
        match rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            Ok(_) => Ok(()),
            Err(_) => Err(NotAsked::Lost),
        }
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        let Some(event) = self.news.pop_front() else {
            // Nothing comes of itself.
            let _ = poll(
                &mut [PollFd::new(&self.bell, PollFlags::IN)],
                deadline.timespec().as_ref(),
            );
            return Ok(None);
        };
        if self.news.is_empty() {
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        Ok(Some(event))
    }
}
