//! A connector for inboxes that are found by an address, without a coordinator.
//!
//! Who has something to send connects to the address of the other, says its own address as the first word, and goes on
//! with its messages: it waits for nothing, and the other finds all of it when it looks. On that connection the two then talk in both
//! directions.
//!
//! Two that send first at the same instant have made two connections. They keep both, and each sends on its own for as long as it lives
//! and receives on both ([`Event::Accepted`]). To agree on one of them would mean to change over from one to the other, and then what
//! was sent before could be received after what was sent behind it, unless the one waited for the other. The two end
//! together.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use occ_sck::{AcceptError, Address, Channel, ConnectError, Deadline, Listener, PeerCredentials};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::connector::{Connector, Event, Lost, NotAsked, Refusal, Standing};
use crate::message::Message;
use crate::pid::Pid;

mod hello;
mod named;
mod notice;
mod open;
mod silent;

pub use notice::Disconnected;
pub use open::ListenError;

use silent::{GivenUp, Heard, Silents};

/// How long until one looks again for what the kernel tells nobody of: room in the queue of a listener, or for a descriptor.
const MOMENT: Duration = Duration::from_millis(5);

/// Connections that are accepted in one go.
const ACCEPTED: usize = 64;

/// How often, until something has been heard: as many as the kernel lets wait, and no more.
const LOOKS: usize = 64;

/// Addresses that are kept of those whom there is no connection with.
const KEPT: usize = 1024;

/// How often one connects with somebody who ends the connection before the first word is said.
const TRIES: usize = 3;

/// A [`Connector`] for inboxes that are found by an address: see [`Inbox::listen`](crate::Inbox::listen).
#[derive(Debug)]
pub struct Listening {
    listener: Listener,
    me: Pid,
    address: Address,
    /// Knows the listener, those who are silent, the bell and the timer.
    epoll: OwnedFd,
    /// Readable while there is news: from the very moment, as a timer would not be.
    bell: OwnedFd,
    rung: bool,
    /// Readable when it is time to look again.
    timer: OwnedFd,
    /// What it is set to.
    alarm: Option<Instant>,
    silent: Silents,
    /// There was no room for the next connection: the listener is out of epoll until then.
    tired: Option<Instant>,
    /// Those whose queue was full.
    wanted: Vec<Pid>,
    retry: Option<Instant>,
    /// Whom we know an address of.
    known: HashMap<Pid, Known>,
    /// Those of them whom there is no connection with, the oldest first; and some others.
    apart: VecDeque<Pid>,
    failures: HashMap<Pid, io::Error>,
    news: VecDeque<Event>,
    notifies: bool,
}

#[derive(Debug)]
struct Known {
    address: Address,
    /// Of a connection that there is.
    credentials: Option<PeerCredentials>,
    connected: bool,
}

impl Listening {
    /// Takes over a listener whose address is written in full.
    fn new(listener: Listener) -> io::Result<Listening> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        watch(&epoll, &timer)?;
        watch(&epoll, &bell)?;
        let address = listener.address().clone();
        let listening = Listening {
            me: named::pid_of(&address),
            address,
            listener,
            epoll,
            bell,
            rung: false,
            timer,
            alarm: None,
            silent: Silents::default(),
            tired: None,
            wanted: Vec::new(),
            retry: None,
            known: HashMap::new(),
            apart: VecDeque::new(),
            failures: HashMap::new(),
            news: VecDeque::new(),
            notifies: false,
        };
        listening.watch_listener()?;
        Ok(listening)
    }

    /// The name of whoever is at `address`, which is known from now on.
    fn know(&mut self, address: &Address) -> Result<Pid, named::Unusable> {
        let address = named::absolute(address)?;
        let pid = named::pid_of(&address);
        if pid != self.me && !self.known.contains_key(&pid) {
            self.known.insert(pid, Known::at(address));
            self.is_apart(pid);
        }
        Ok(pid)
    }

    fn watch_listener(&self) -> rustix::io::Result<()> {
        let watched = self.listener.with_fd(|fd| watch(&self.epoll, fd));
        watched.unwrap_or(Ok(()))
    }

    fn connect(&mut self, peer: Pid) {
        let Some(known) = self.known.get(&peer) else {
            return self.refuse(peer, Refusal::NoProcess);
        };
        for _ in 0..TRIES {
            let channel = match Channel::connect_timeout(&known.address, Duration::ZERO) {
                Ok(channel) => channel,
                Err(ConnectError::Refused { .. }) => return self.refuse(peer, Refusal::NoProcess),
                Err(ConnectError::TimedOut { .. }) => {
                    if !self.wanted.contains(&peer) {
                        self.wanted.push(peer);
                    }
                    self.retry = Some(Instant::now() + MOMENT);
                    return;
                }
                Err(error) => return self.fail(peer, error),
            };
            let credentials = channel.peer_credentials().ok().flatten();
            let Ok(socket) = channel.into_socket() else {
                break;
            };
            // It may have ended in the meantime.
            if hello::say(&self.address, &socket).is_ok() {
                self.connected(peer, credentials);
                self.news.push_back(Event::Connected {
                    peer,
                    socket,
                    tally: None,
                });
                return;
            }
        }
        self.refuse(peer, Refusal::NoInbox);
    }

    fn fail(&mut self, peer: Pid, error: ConnectError) {
        let ConnectError::Io { source, .. } = error else {
            // What is there is no inbox.
            return self.refuse(peer, Refusal::NoInbox);
        };
        let no_room = [Errno::MFILE, Errno::NFILE].map(|errno| errno.raw_os_error());
        if source
            .raw_os_error()
            .is_some_and(|errno| no_room.contains(&errno))
        {
            return self.refuse(peer, Refusal::TooManyPeers);
        }
        self.failures.insert(peer, source);
        self.refuse(peer, Refusal::NoInbox);
    }

    fn refuse(&mut self, peer: Pid, why: Refusal) {
        self.news.push_back(Event::Refused { peer, why });
    }

    fn connected(&mut self, peer: Pid, credentials: Option<PeerCredentials>) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.connected = true;
            known.credentials = credentials;
        }
    }

    /// Does what there is to do, without waiting. True when more wait to be accepted than are in one go.
    fn look(&mut self) -> bool {
        let now = Instant::now();
        if self.tired.is_some_and(|tired| tired <= now) {
            self.tired = None;
            if self.watch_listener().is_err() {
                self.tired = Some(now + MOMENT);
            }
        }
        let more = self.accept();
        for heard in self.silent.heard(&self.epoll) {
            self.met(heard);
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            for peer in std::mem::take(&mut self.wanted) {
                self.connect(peer);
            }
        }
        more
    }

    /// True when it has not come to the end.
    fn accept(&mut self) -> bool {
        if self.tired.is_some() {
            return false;
        }
        for _ in 0..ACCEPTED {
            if self.silent.is_full() {
                self.give_up_one();
            }
            match self.listener.accept_timeout(Duration::ZERO) {
                Ok(Some(channel)) => {
                    let credentials = channel.peer_credentials().ok().flatten();
                    if let Ok(socket) = channel.into_socket() {
                        self.silent.push(socket, credentials, &self.epoll);
                    }
                }
                Ok(None) | Err(AcceptError::TimedOut) => return false,
                // There is no room for it, and it still waits. Whoever has something to say comes first.
                Err(_) if self.give_up_one() && self.news.is_empty() => {}
                Err(_) if !self.news.is_empty() => return true,
                Err(_) => {
                    let _ = self.listener.with_fd(|fd| epoll::delete(&self.epoll, fd));
                    self.tired = Some(Instant::now() + MOMENT);
                    return false;
                }
            }
        }
        true
    }

    /// Makes room among those who are silent; false if there are none.
    fn give_up_one(&mut self) -> bool {
        let oldest = self.silent.give_up_one(&self.epoll);
        let there_was = oldest.is_some();
        if let Some(GivenUp::Heard(heard)) = oldest {
            self.met(heard);
        }
        there_was
    }

    /// Somebody has said whose inbox it is.
    fn met(&mut self, heard: Heard) {
        let Heard {
            address,
            credentials,
            socket,
        } = heard;
        let peer = named::pid_of(&address);
        if peer == self.me {
            return;
        }
        let known = self.known.entry(peer);
        let known = known.or_insert_with(|| Known::at(address.clone()));
        let claims_another = known.address != address
            || known.connected && is_anothers(known.credentials, credentials);
        if claims_another {
            return;
        }
        self.connected(peer, credentials);
        self.news.push_back(Event::Accepted { peer, socket });
    }

    /// Rings, or stills, the bell, and sets the timer to when there is something to do.
    fn set_alarm(&mut self) {
        let rings = !self.news.is_empty();
        if rings != self.rung {
            self.rung = rings;
            let _ = match rings {
                true => rustix::io::write(&self.bell, &1_u64.to_ne_bytes()),
                false => rustix::io::read(&self.bell, &mut [0; 8]),
            };
        }
        let times = [self.silent.next_end(), self.tired, self.retry];
        let alarm = times.into_iter().flatten().min();
        // Once it has gone off, it stays readable until it is set again.
        let went_off = alarm.is_some_and(|alarm| alarm <= Instant::now());
        if alarm == self.alarm && !went_off {
            return;
        }
        self.alarm = alarm;
        let zero = Timespec::default();
        let it_value = alarm.map_or(zero, |alarm| {
            let left = alarm.saturating_duration_since(Instant::now());
            // Of nothing the kernel would make no alarm.
            let left = left.max(Duration::from_nanos(1));
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let time = Itimerspec {
            it_interval: zero,
            it_value,
        };
        // It takes every time that is no less than nothing.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time);
    }

    /// There is no connection with `peer`. Of those for whom that has been so for longest the address is forgotten, if there are too
    /// many.
    fn is_apart(&mut self, peer: Pid) {
        self.apart.push_back(peer);
        if self.apart.len() > KEPT
            && let Some(oldest) = self.apart.pop_front()
            && !self.apart.contains(&oldest)
            && self
                .known
                .get(&oldest)
                .is_some_and(|known| !known.connected)
        {
            self.known.remove(&oldest);
            self.failures.remove(&oldest);
        }
    }
}

impl Known {
    fn at(address: Address) -> Known {
        Known {
            address,
            credentials: None,
            connected: false,
        }
    }
}

fn watch(epoll: &OwnedFd, fd: impl AsFd) -> rustix::io::Result<()> {
    epoll::add(
        epoll,
        fd,
        epoll::EventData::new_u64(0),
        epoll::EventFlags::IN,
    )
}

/// Whether the kernel's word on two who claim to be one is of another process of another user. One of the two may change in the life
/// of an inbox.
fn is_anothers(one: Option<PeerCredentials>, other: Option<PeerCredentials>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    one.user != other.user && one.os_pid != other.os_pid
}

impl Connector for Listening {
    const BY_ADDRESS: bool = true;

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn request(&mut self, peer: Pid, _: Standing) -> Result<(), NotAsked> {
        if !self.wanted.contains(&peer) {
            self.connect(peer);
        }
        self.set_alarm();
        Ok(())
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        loop {
            // Those who have something to say may stand behind many who do not, but not behind an endless row of them.
            for _ in 0..LOOKS {
                if !self.news.is_empty() || !self.look() {
                    break;
                }
            }
            let event = self.news.pop_front();
            self.set_alarm();
            if event.is_some() || deadline.passed() {
                return Ok(event);
            }
            let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut fds, deadline.timespec().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(Lost),
            }
        }
    }

    fn ended(&mut self, peer: Pid, replaced: bool) -> Option<Message> {
        let known = self.known.get_mut(&peer)?;
        let address = known.address.clone();
        if !replaced {
            known.connected = false;
            known.credentials = None;
            self.is_apart(peer);
        }
        let notice = Disconnected { pid: peer, address };
        self.notifies.then(|| Message::about_end(peer, notice))
    }

    fn failure(&mut self, peer: Pid) -> Option<io::Error> {
        self.failures.remove(&peer)
    }

    fn inbox_gone(&mut self) {
        self.listener.close();
    }
}
