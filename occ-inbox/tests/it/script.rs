//! A connector that says what the test tells it to say, on the test's own thread.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use occ_inbox::{
    Connector, Deadline, Event, Inbox, Lost, NotAsked, Pid, Refusal, Socket, Standing, Tallies,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::pid;
use crate::tallies::Counts;

/// What a script does when it is asked for a connection.
type Answer = Box<dyn FnMut(Pid, Standing) -> Vec<Event>>;

pub(crate) struct Script {
    bell: OwnedFd,
    news: VecDeque<Event>,
    lost: bool,
    endless: bool,
    answer: Answer,
    /// Every request there was.
    pub(crate) asked: Vec<(Pid, Standing)>,
    /// Where messages are counted, and those to the inbox.
    pub(crate) tallies: Option<(Arc<Counts>, u32)>,
}

impl Script {
    pub(crate) fn new() -> Script {
        Script {
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap(),
            news: VecDeque::new(),
            lost: false,
            endless: false,
            answer: Box::new(|peer, _| {
                let why = Refusal::NoProcess;
                vec![Event::Refused { peer, why }]
            }),
            asked: Vec::new(),
            tallies: None,
        }
    }

    /// The inbox of a process.
    pub(crate) fn inbox(serial: u64) -> Inbox<Script> {
        Inbox::new(pid(serial), Script::new()).unwrap()
    }

    pub(crate) fn say(&mut self, event: Event) {
        self.news.push_back(event);
        self.ring();
    }

    /// Connects the inbox with `peer`, whose end the test gets.
    pub(crate) fn connect(&mut self, peer: u64) -> Socket {
        let (socket, theirs) = Socket::pair().unwrap();
        let peer = pid(peer);
        self.say(Event::Connected {
            peer,
            socket,
            tally: None,
        });
        theirs
    }

    /// What is said to every request from now on.
    pub(crate) fn answer(&mut self, answer: impl FnMut(Pid, Standing) -> Vec<Event> + 'static) {
        self.answer = Box::new(answer);
    }

    /// Never stops having something to say, of no interest.
    pub(crate) fn chatter(&mut self) {
        self.endless = true;
        self.ring();
    }

    /// Says no more once what is to be said has been said.
    pub(crate) fn lose(&mut self) {
        self.lost = true;
        self.ring();
    }

    fn ring(&self) {
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).unwrap();
    }
}

impl Connector for Script {
    fn tallies(&self) -> Option<(Arc<dyn Tallies>, Option<u32>)> {
        let (counts, own) = self.tallies.clone()?;
        Some((counts, Some(own)))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn request(&mut self, peer: Pid, standing: Standing) -> Result<(), NotAsked> {
        if self.lost {
            return Err(NotAsked::Lost);
        }
        self.asked.push((peer, standing));
        for event in (self.answer)(peer, standing) {
            self.say(event);
        }
        Ok(())
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        let Some(event) = self.news.pop_front() else {
            if self.lost {
                return Err(Lost);
            }
            if self.endless {
                return Ok(Some(Event::Own));
            }
            let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
            poll(&mut fds, deadline.timespec().as_ref()).unwrap();
            return Ok(None);
        };
        if self.news.is_empty() && !self.lost && !self.endless {
            rustix::io::read(&self.bell, &mut [0; 8]).unwrap();
        }
        Ok(Some(event))
    }
}
