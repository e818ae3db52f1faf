//! Spares: processes that are made before they are asked for, so that a spawn has no fork in its way.
//!
//! A spare has done all that every process does, and waits on its control socket. A spawn sends it what it is to be, by that socket, and
//! from then on it is that process. It is one of the system from there on and not before: nobody lists it, and if it dies as a spare
//! nobody is told.
//!
//! New ones are made when nobody has asked for a process for a moment, a few at a time: a fork costs what a spawn is to be spared.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use occ_sck::{Assembler, Deadline, Limits, Received, Socket};
use occ_spawn::OsPid;
use occ_spawn::entry::kind as spawn;
use occ_spawn::zygote;
use rustix::event::epoll::{self, EventFlags};

use super::forks::Order;
use super::{Central, SPARE};
use crate::line::Line;
use crate::protocol::Moment;
use crate::start::REHEARSAL;
use crate::state::{Event, Serial};

/// So long nobody has asked for a process when new spares are made; but they are made after the other time at the latest.
const QUIET: Duration = Duration::from_millis(1);
const LATEST: Duration = Duration::from_millis(100);

/// How many are made at a time.
const BATCH: usize = 8;

#[derive(Debug)]
struct Spare {
    number: u64,
    socket: Socket,
    /// What the kernel calls it, once it has said its first word.
    os_pid: Option<OsPid>,
}

#[derive(Debug, Default)]
pub(super) struct Spares {
    /// How many there should be.
    wanted: usize,
    next: u64,
    spares: Vec<Spare>,
    /// When to make some, and when they have been missing since.
    pub(super) make_at: Option<Instant>,
    missing_since: Option<Instant>,
}

impl Spares {
    pub(super) fn new(wanted: usize) -> Spares {
        Spares {
            wanted,
            make_at: (wanted > 0).then(Instant::now),
            ..Spares::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.spares.len()
    }

    pub(super) fn has(&self, os_pid: OsPid) -> bool {
        self.spares.iter().any(|spare| spare.os_pid == Some(os_pid))
    }

    /// One that is ready.
    fn take(&mut self) -> Option<Spare> {
        let at = self
            .spares
            .iter()
            .position(|spare| spare.os_pid.is_some())?;
        Some(self.spares.swap_remove(at))
    }

    /// One that has been reaped, and whose number may be another's from now on, is none any more.
    pub(super) fn reaped(&mut self, os_pid: OsPid) {
        self.spares.retain(|spare| spare.os_pid != Some(os_pid));
        self.ask_for_more(Instant::now());
    }

    /// Those that nobody has asked for end when they see that.
    pub(super) fn end(&mut self) {
        *self = Spares::default();
    }

    fn ask_for_more(&mut self, now: Instant) {
        if self.spares.len() >= self.wanted {
            return;
        }
        let since = *self.missing_since.get_or_insert(now);
        self.make_at = Some((now + QUIET).min(since + LATEST));
    }
}

impl Central {
    /// Lets a spare become a process; gives the request back if there is none for it.
    pub(super) fn use_spare(&mut self, request: zygote::Request) -> Option<zygote::Request> {
        if self.spares.wanted == 0 || !request.suits_a_spare() {
            return Some(request);
        }
        let process: Serial = request.serial;
        while let Some(spare) = self.spares.take() {
            self.spares.ask_for_more(Instant::now());
            let Some(os_pid) = spare.os_pid else { continue };
            let line = Line::new(spare.socket);
            let data = epoll::EventData::new_u64(process);
            // Before it is told: a word of it is a word of the process.
            let watched = epoll::modify(&self.epoll, &line.socket, data, line.watched);
            if watched.is_err() || request.start(&line.socket).is_err() {
                // It has died, or there is no room in it, which there always is.
                let _ = epoll::delete(&self.epoll, line.socket.as_fd());
                continue;
            }
            self.lines.insert(process, line);
            self.by_os_pid.insert(os_pid, process);
            self.events.push_back(Event::Began {
                process,
                os_pid,
                at: Moment::now(),
            });
            return None;
        }
        Some(request)
    }

    /// Orders some, if it is time.
    pub(super) fn make_spares(&mut self) {
        let now = Instant::now();
        if self.spares.make_at.is_none_or(|at| at > now) {
            return;
        }
        self.spares.make_at = None;
        if self.state.is_stopping() {
            return;
        }
        self.spares.missing_since = None;
        // Those of the last batch come first.
        if self
            .spares
            .spares
            .iter()
            .any(|spare| spare.os_pid.is_none())
        {
            self.spares.make_at = Some(now + QUIET);
            return;
        }
        // Processes come first: what is spared for them is what is left.
        let room = self
            .room
            .saturating_sub(self.lines.len() + self.spares.len());
        let missing = self.spares.wanted.saturating_sub(self.spares.len());
        for _ in 0..BATCH.min(missing).min(room) {
            let Ok((ours, control)) = Socket::pair() else {
                return;
            };
            let number = self.spares.next;
            self.spares.next += 1;
            let data = epoll::EventData::new_u64(SPARE | number);
            if ours.ask_credentials().is_err()
                || epoll::add(&self.epoll, &ours, data, EventFlags::IN).is_err()
            {
                return;
            }
            self.spares.spares.push(Spare {
                number,
                socket: ours,
                os_pid: None,
            });
            let request = Rc::new(zygote::Request::spare(SPARE | number, REHEARSAL.offset()));
            self.order(Order::Fork { request, control });
        }
        if room > BATCH {
            self.spares.ask_for_more(now);
        }
    }

    /// A process that takes no spare takes the place of one, where there is no other.
    pub(super) fn make_room(&mut self) {
        while self.lines.len() + self.spares.len() >= self.room
            && let Some(spare) = self.spares.spares.pop()
        {
            // It ends when it sees that nobody will ask for it.
            let _ = epoll::delete(&self.epoll, spare.socket.as_fd());
        }
    }

    /// A spare says its first word, or has died.
    pub(super) fn hear_spare(&mut self, number: u64) {
        let spares = &mut self.spares.spares;
        let Some(at) = spares.iter().position(|spare| spare.number == number) else {
            return;
        };
        let mut fds = Vec::new();
        let received = spares[at]
            .socket
            .receive(&mut self.buffer, &mut fds, Deadline::Now);
        match received {
            Ok(Received::Datagram { len, sender }) => {
                let whole = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                if let (Ok(Some(envelope)), Some(sender)) = (whole, sender)
                    && envelope.kind == spawn::HELLO
                {
                    spares[at].os_pid = Some(OsPid::new(sender.os_pid));
                    return;
                }
            }
            Ok(Received::Nothing) => return,
            Ok(Received::Closed) | Err(_) => {}
        }
        // It could not be made, or is no more.
        let spare = spares.swap_remove(at);
        let _ = epoll::delete(&self.epoll, spare.socket.as_fd());
        // Not at once: whatever kept it from being made may last.
        self.spares.make_at = Some(Instant::now() + LATEST);
    }
}
