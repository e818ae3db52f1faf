//! Spares: processes that are made before they are asked for, so that a spawn has no fork in its way.
//!
//! A spare has a number, and so a name and a mark. It has done all that every process does, and waits on its control socket. A spawn sends it
//! what it is to run, by that socket, and from then on it is that process. It is one of the system from there on and not before: nobody
//! lists it, and if it dies as a spare nobody is told.
//!
//! New ones are made when nobody has asked for a process for a moment, a few at a time: a fork costs what a spawn is to be spared.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use occ_sck::{Assembler, Deadline, Limits, Received, Socket};
use occ_spawn::OsPid;
use occ_spawn::entry::kind as spawn;
use occ_spawn::zygote;
use rustix::event::epoll::{self, EventFlags};
use rustix::process::Signal;

use super::forks::Order;
use super::{Central, ends};
use crate::descent::signal_child;
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
    socket: Socket,
    /// What the kernel calls it, once it has said its first word.
    os_pid: Option<OsPid>,
}

#[derive(Debug, Default)]
pub(super) struct Spares {
    /// How many there should be.
    wanted: usize,
    /// By the numbers that were reserved for them.
    spares: BTreeMap<Serial, Spare>,
    /// When to make some, and when they have been missing since.
    pub(super) make_at: Option<Instant>,
    missing_since: Option<Instant>,
    /// The function that was asked for last: who asks for one asks for it again, as a rule.
    last: u64,
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

    /// Whether a spare is this child.
    pub(super) fn has(&self, os_pid: OsPid) -> bool {
        self.spares
            .values()
            .any(|spare| spare.os_pid == Some(os_pid))
    }

    /// Whether there is a spare of this number.
    pub(super) fn is_one(&self, number: Serial) -> bool {
        self.spares.contains_key(&number)
    }

    /// Those that nobody has asked for end when they see that.
    pub(super) fn end(&mut self) {
        *self = Spares::default();
    }

    /// They are made soon, as far as there is room for them.
    pub(super) fn ask_for_more(&mut self, now: Instant) {
        if self.spares.len() >= self.wanted {
            return;
        }
        let since = *self.missing_since.get_or_insert(now);
        self.make_at = Some((now + QUIET).min(since + LATEST));
    }
}

impl Central {
    /// Lets the spare of this number become a process; gives the request back if there is none, or none any more.
    pub(super) fn use_spare(&mut self, request: zygote::Request) -> Option<zygote::Request> {
        let process: Serial = request.serial;
        self.spares.last = request.function;
        let Some(spare) = self.spares.spares.remove(&process) else {
            return Some(request);
        };
        self.spares.ask_for_more(Instant::now());
        let Some(os_pid) = spare.os_pid else {
            return Some(request);
        };
        // It has died, or there is no room in its socket, which there always is.
        if request.start(&spare.socket).is_err() {
            let _ = signal_child(os_pid, Signal::KILL);
            return Some(request);
        }
        self.lines.insert(process, Line::new(spare.socket));
        self.by_os_pid.insert(os_pid, process);
        self.events.push_back(Event::Began {
            process,
            os_pid,
            at: Moment::now(),
        });
        None
    }

    /// A spare is none any more, and nobody's loss.
    fn lose_spare(&mut self, number: Serial) {
        // That its socket is closed takes it out of epoll.
        if self.spares.spares.remove(&number).is_some() {
            self.tallied.take_back(number);
            self.events.push_back(Event::SpareGone { process: number });
        }
    }

    /// Nobody will ask for this one.
    fn end_spare(&mut self, number: Serial) {
        let os_pid = self
            .spares
            .spares
            .get(&number)
            .and_then(|spare| spare.os_pid);
        self.lose_spare(number);
        // It ends when it sees that; or where it is stopped, by this. It is a child that is not reaped, so the number is its own.
        if let Some(os_pid) = os_pid {
            let _ = signal_child(os_pid, Signal::KILL);
        }
    }

    /// One that has been reaped, and whose number may be another's from now on, is none any more.
    pub(super) fn spare_reaped(&mut self, os_pid: OsPid) {
        let mut spares = self.spares.spares.iter();
        let number =
            spares.find_map(|(number, spare)| (spare.os_pid == Some(os_pid)).then_some(*number));
        if let Some(number) = number {
            self.lose_spare(number);
        }
        self.spares.ask_for_more(Instant::now());
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
        // Those of the last batch come first, and tell.
        let mut all = self.spares.spares.values();
        if all.any(|spare| spare.os_pid.is_none()) {
            return;
        }
        self.spares.missing_since = None;
        // Processes come first: what is spared for them is what is left.
        let room = self
            .room
            .saturating_sub(self.lines.len() + self.spares.len());
        let missing = self.spares.wanted.saturating_sub(self.spares.len());
        for _ in 0..BATCH.min(missing).min(room) {
            let Ok((ours, control)) = Socket::pair() else {
                return;
            };
            let number = self.state.reserve();
            let data = epoll::EventData::new_u64(number);
            if ours.ask_credentials().is_err()
                || epoll::add(&self.epoll, &ours, data, EventFlags::IN).is_err()
            {
                self.events.push_back(Event::SpareGone { process: number });
                return;
            }
            let spare = Spare {
                socket: ours,
                os_pid: None,
            };
            self.spares.spares.insert(number, spare);
            let request = Rc::new(zygote::Request {
                preface: self.preface(number, true),
                mark: Some(self.orphans.mark(number)),
                likely: self.spares.last,
                ..zygote::Request::spare(number, REHEARSAL.offset())
            });
            self.order(Order::Fork { request, control });
        }
        if room > BATCH {
            self.spares.ask_for_more(now);
        }
    }

    /// A process that takes no spare takes the place of one, where there is no other.
    pub(super) fn make_room(&mut self) {
        while self.lines.len() + self.spares.len() >= self.room
            && let Some(number) = self.spares.spares.keys().next_back().copied()
        {
            self.end_spare(number);
        }
    }

    /// A spare says its first word, or has died.
    pub(super) fn hear_spare(&mut self, number: Serial) {
        let Some(spare) = self.spares.spares.get_mut(&number) else {
            return;
        };
        let mut fds = Vec::new();
        let received = spare
            .socket
            .receive(&mut self.buffer, &mut fds, Deadline::Now);
        match received {
            Ok(Received::Datagram { len, sender }) => {
                let whole = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                if let (Ok(Some(envelope)), Some(sender)) = (whole, sender)
                    && envelope.kind == spawn::HELLO
                    // It may have ended since, and been reaped: then its number may be another's.
                    && ends::is_child(OsPid::new(sender.os_pid))
                {
                    spare.os_pid = Some(OsPid::new(sender.os_pid));
                    self.events.push_back(Event::SpareReady { process: number });
                    self.spares.ask_for_more(Instant::now());
                    return;
                }
            }
            Ok(Received::Nothing) => return,
            Ok(Received::Closed) | Err(_) => {}
        }
        // It could not be made, or is no more.
        self.end_spare(number);
        // Not at once: whatever kept it from being made may last.
        self.spares.make_at = Some(Instant::now() + LATEST);
    }
}
