//! A coordinator: makes connections for inboxes, in threads and in processes, each of which has a line to it.
//!
//! A line is a socket of its own. Whoever closes it has died, as far as the switchboard is concerned.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use occ_inbox::{
    Connector, Deadline, DecodeError, Event, Inbox, Lost, Message, NotAsked, Pid, Receive, Refusal,
    Socket, Standing,
};
use occ_sck::{Assembler, Envelope, Limits, MAX_DATAGRAM, Packet, Received};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::pid;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Connect { to: Pid, standing: Standing },
    Watch { target: Pid },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// The end comes along.
    Connected {
        peer: Pid,
    },
    Refused {
        peer: Pid,
        why: Refusal,
    },
    Gone {
        peer: Pid,
    },
    Ended {
        who: Pid,
    },
}

/// What a watcher receives. No process can send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended(pub(crate) Pid);

impl Receive for Ended {
    fn from_message(message: &Message) -> Result<Ended, DecodeError> {
        message.decode_system()
    }
}

/// One datagram; `None` when the other side has gone or, if we do not wait, when there is none.
pub(crate) fn next(socket: &Socket, deadline: Deadline) -> Result<Option<Envelope>, Lost> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut fds: Vec<OwnedFd> = Vec::new();
    match socket.receive(&mut buffer, &mut fds, deadline) {
        Ok(Received::Datagram { len, .. }) => {
            let whole = Assembler::new(Limits::default()).push(&buffer[..len], fds);
            Ok(whole.unwrap())
        }
        Ok(Received::Nothing) => Ok(None),
        Ok(Received::Closed) => Err(Lost),
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn say<T: Serialize + 'static>(socket: &Socket, value: &T, fds: &[BorrowedFd<'_>]) {
    let packet = Packet::of(0, value).unwrap();
    // Whoever has just gone need not hear it.
    let _ = packet.send_part(0, socket, fds, Deadline::Never);
}

/// An inbox's side of a line.
pub(crate) struct Line(pub(crate) Socket);

impl Line {
    pub(crate) fn inbox(me: Pid, line: Socket) -> Inbox<Line> {
        Inbox::new(me, Line(line)).unwrap()
    }

    /// Asks to be told of an end.
    pub(crate) fn watch(&self, target: Pid) {
        say(&self.0, &Ask::Watch { target }, &[]);
    }
}

impl Connector for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn request(&mut self, to: Pid, standing: Standing) -> Result<(), NotAsked> {
        say(&self.0, &Ask::Connect { to, standing }, &[]);
        Ok(())
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        let Some(mut envelope) = next(&self.0, deadline)? else {
            return Ok(None);
        };
        let event = match envelope.decode().unwrap() {
            Tell::Connected { peer } => Event::Connected {
                peer,
                socket: envelope.fds.remove(0).into(),
                tally: None,
            },
            Tell::Refused { peer, why } => Event::Refused { peer, why },
            Tell::Gone { peer } => Event::Gone { peer },
            Tell::Ended { who } => Event::Message(Message::about_end(who, Ended(who))),
        };
        Ok(Some(event))
    }
}

/// The coordinator, on a thread of its own. It ends when this is dropped.
pub(crate) struct Switchboard {
    reception: Option<Socket>,
    thread: Option<JoinHandle<()>>,
}

impl Switchboard {
    pub(crate) fn new() -> Switchboard {
        let (reception, door) = Socket::pair().unwrap();
        let thread = std::thread::spawn(move || Board::default().run(&door));
        Switchboard {
            reception: Some(reception),
            thread: Some(thread),
        }
    }

    /// A line for the process of this number.
    pub(crate) fn line(&self, serial: u64) -> Socket {
        let (line, board) = Socket::pair().unwrap();
        let reception = self.reception.as_ref().unwrap();
        say(reception, &pid(serial), &[board.as_fd()]);
        line
    }

    /// The inbox of the process of this number, on the calling thread.
    pub(crate) fn inbox(&self, serial: u64) -> Inbox<Line> {
        Line::inbox(pid(serial), self.line(serial))
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        self.reception = None;
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

#[derive(Default)]
struct Board {
    members: BTreeMap<Pid, Member>,
}

struct Member {
    line: Socket,
    peers: BTreeSet<Pid>,
    watchers: BTreeSet<Pid>,
}

impl Board {
    fn run(mut self, door: &Socket) {
        loop {
            let pids: Vec<Pid> = self.members.keys().copied().collect();
            let lines = self.members.values().map(|member| &member.line);
            let mut fds: Vec<PollFd<'_>> = std::iter::once(door)
                .chain(lines)
                .map(|socket| PollFd::new(socket, PollFlags::IN))
                .collect();
            poll(&mut fds, None).unwrap();
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            // Whoever has joined by now can be asked for.
            if ready[0] {
                match next(door, Deadline::Now) {
                    Ok(Some(envelope)) => self.join(envelope),
                    Ok(None) => {}
                    Err(Lost) => return,
                }
            }
            for (member, _) in pids.iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                self.serve(*member);
            }
        }
    }

    fn join(&mut self, mut envelope: Envelope) {
        let member = Member {
            line: envelope.fds.remove(0).into(),
            peers: BTreeSet::new(),
            watchers: BTreeSet::new(),
        };
        self.members.insert(envelope.decode().unwrap(), member);
    }

    fn tell(&self, to: Pid, tell: &Tell, fds: &[BorrowedFd<'_>]) {
        if let Some(member) = self.members.get(&to) {
            say(&member.line, tell, fds);
        }
    }

    fn serve(&mut self, by: Pid) {
        let Some(member) = self.members.get(&by) else {
            return;
        };
        match next(&member.line, Deadline::Now) {
            Ok(None) => {}
            Ok(Some(envelope)) => match envelope.decode().unwrap() {
                Ask::Connect { to, standing } => self.connect(by, to, standing),
                Ask::Watch { target } => match self.members.get_mut(&target) {
                    Some(member) => _ = member.watchers.insert(by),
                    None => self.tell(by, &Tell::Ended { who: target }, &[]),
                },
            },
            Err(Lost) => self.bury(by),
        }
    }

    fn connect(&mut self, by: Pid, to: Pid, standing: Standing) {
        if self
            .members
            .get(&to)
            .is_some_and(|member| has_hung_up(&member.line))
        {
            self.bury(to);
        }
        let Some(member) = self.members.get_mut(&to) else {
            let why = Refusal::NoProcess;
            return self.tell(by, &Tell::Refused { peer: to, why }, &[]);
        };
        match (member.peers.contains(&by), standing) {
            // The one pair is on its way.
            (true, Standing::New) => {}
            (true, Standing::Broken) => {
                let why = Refusal::NoInbox;
                self.tell(by, &Tell::Refused { peer: to, why }, &[]);
            }
            _ => {
                member.peers.insert(by);
                if let Some(member) = self.members.get_mut(&by) {
                    member.peers.insert(to);
                }
                let (a, b) = Socket::pair().unwrap();
                self.tell(by, &Tell::Connected { peer: to }, &[a.as_fd()]);
                self.tell(to, &Tell::Connected { peer: by }, &[b.as_fd()]);
            }
        }
    }

    fn bury(&mut self, who: Pid) {
        let Some(dead) = self.members.remove(&who) else {
            return;
        };
        for peer in &dead.peers {
            if let Some(member) = self.members.get_mut(peer) {
                member.peers.remove(&who);
            }
            if !dead.watchers.contains(peer) {
                self.tell(*peer, &Tell::Gone { peer: who }, &[]);
            }
        }
        for watcher in &dead.watchers {
            self.tell(*watcher, &Tell::Ended { who }, &[]);
        }
    }
}

fn has_hung_up(line: &Socket) -> bool {
    let mut fds = [PollFd::new(line, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    !fds[0].revents().is_empty()
}
