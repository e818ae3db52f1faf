//! Processes on their way from the zygote: orders, and what becomes of them.
//!
//! What became of an order, the control socket tells that went with it: by a first word, a failure, or its end. Until
//! its first word a process has done nothing. So what ends without one, in the hands of a zygote that is dead, is done
//! once more by another, and no function runs twice.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

use occ_sck::{Assembler, Deadline, Limits, Received, SendError, Socket};
use occ_spawn::boot::BootError;
use occ_spawn::entry::kind as spawn;
use occ_spawn::zygote::{self, Zygote};
use occ_spawn::{NotBegun, OsPid};
use rustix::event::epoll::{self, EventFlags};
use rustix::process::Signal;

use super::{Central, ZYGOTE, chain_of, ends};
use crate::descent::signal_child;
use crate::line::failure;
use crate::protocol::{Moment, NotSpawned};
use crate::start::REHEARSAL;
use crate::state::{Event, Serial};

/// Something for the zygote to do.
pub(super) enum Order {
    Fork {
        request: Rc<zygote::Request>,
        control: Socket,
    },
    Which(Serial),
}

impl Order {
    fn process(&self) -> Serial {
        match self {
            Order::Fork { request, .. } => request.serial,
            Order::Which(process) => *process,
        }
    }

    fn send(&self, zygote: &Zygote) -> Result<(), SendError> {
        match self {
            Order::Fork { request, control } => {
                zygote.request(request, control.as_fd(), None, Deadline::Now)
            }
            Order::Which(process) => zygote.ask_which(*process, Deadline::Now),
        }
    }
}

/// A process that is being made.
#[derive(Debug)]
pub(super) struct Unborn {
    request: Rc<zygote::Request>,
    /// A zygote has died over it.
    again: bool,
    /// It has said its first word, and is about to execute its program: that it has, the end of its socket tells.
    known: Option<OsPid>,
}

impl Unborn {
    /// How many descriptors are held for it.
    pub(super) fn holds(&self) -> usize {
        self.request.given.len() + self.request.with_args.len()
    }
}

impl Central {
    /// Begins to make a process.
    pub(super) fn launch(&mut self, request: zygote::Request) {
        let process = request.serial;
        let request = Rc::new(request);
        let unborn = Unborn {
            request: Rc::clone(&request),
            again: false,
            known: None,
        };
        self.unborn.insert(process, unborn);
        match self.control_for(process) {
            Ok(control) => self.order(Order::Fork { request, control }),
            Err(why) => self.not_made(process, why),
        }
    }

    /// A new control socket: the end that the process gets.
    fn control_for(&mut self, process: Serial) -> Result<Socket, NotSpawned> {
        let failed = |op: &str| {
            let op = op.to_owned();
            move |error: std::io::Error| NotSpawned::Io {
                op,
                errno: error.raw_os_error().unwrap_or(0),
            }
        };
        // It may have the place of one that has ended, and so its descriptors.
        self.closed.clear();
        let (ours, control) = Socket::pair().map_err(failed("socketpair"))?;
        ours.ask_credentials()
            .map_err(failed("setsockopt(SO_PASSCRED)"))?;
        self.open(process, ours).map_err(failed("epoll_ctl"))?;
        Ok(control)
    }

    /// The zygote has died, and of this process nothing has been heard, nor will be. Its order waits for the next
    /// zygote, if it is the first that died over it.
    fn lost_with_the_zygote(&mut self, process: Serial) {
        self.unclear.remove(&process);
        let request = match self.unborn.get_mut(&process) {
            Some(unborn) if !unborn.again && !self.state.is_stopping() => {
                unborn.again = true;
                Rc::clone(&unborn.request)
            }
            _ => return self.not_made(process, self.zygote_died()),
        };
        self.close(process);
        match self.control_for(process) {
            Ok(control) => {
                self.events.push_back(Event::Relaunched { process });
                self.backlog.push_back(Order::Fork { request, control });
            }
            Err(why) => self.not_made(process, why),
        }
    }

    /// A process has said its first word. If it is to execute a program, that is not all: what it says next is why it
    /// cannot, and if it says nothing and its socket closes, it has.
    ///
    /// Only the first word is one, and only of a child of ours that is nobody else yet: others may have got hold of the socket.
    pub(super) fn greeted(&mut self, process: Serial, os_pid: OsPid) {
        let is_known = self
            .unborn
            .get(&process)
            .is_none_or(|unborn| unborn.known.is_some());
        if is_known || !self.may_be_unborn(os_pid) {
            return;
        }
        if !self.state.executes(process) {
            return self.born(process, os_pid);
        }
        if let Some(unborn) = self.unborn.get_mut(&process) {
            unborn.known = Some(os_pid);
            self.events.push_back(Event::Known { process, os_pid });
        }
    }

    fn may_be_unborn(&self, os_pid: OsPid) -> bool {
        !self.by_os_pid.contains_key(&os_pid)
            && !self.spares.has(os_pid)
            && !self
                .unborn
                .values()
                .any(|unborn| unborn.known == Some(os_pid))
            && ends::is_child(os_pid)
    }

    /// A process says that it could not begin, and is about to end. One that does not end itself is ended.
    pub(super) fn gave_up(&mut self, process: Serial, os_pid: OsPid, why: NotBegun) {
        let known = self.unborn.get(&process).and_then(|unborn| unborn.known);
        let is_it = match known {
            Some(known) => known == os_pid,
            None => self.may_be_unborn(os_pid),
        };
        if !is_it {
            return;
        }
        self.not_made(process, NotSpawned::NotBegun(why));
        // It is a child that is not reaped, so the number is its own.
        let _ = signal_child(os_pid, Signal::KILL);
    }

    /// The socket of a process has closed that has not begun, as far as is known.
    pub(super) fn closed_early(&mut self, process: Serial) {
        self.unclear.insert(process);
        match self.unborn.get(&process).and_then(|unborn| unborn.known) {
            Some(os_pid) => self.zygote_says(process, Some(os_pid)),
            None => self.order(Order::Which(process)),
        }
    }

    /// A child has ended. If it had said its first word, and was to execute a program, it is a process, and its end is one like any
    /// other: its socket has not told, because somebody else holds that. As a stranger it would be reaped while it is in the
    /// table, and whoever has its number next would be killed in its place.
    pub(super) fn began_unseen(&mut self, os_pid: OsPid) {
        let known = |(_, unborn): &(&Serial, &Unborn)| unborn.known == Some(os_pid);
        let Some(process) = self.unborn.iter().find(known).map(|(process, _)| *process) else {
            return;
        };
        self.unclear.remove(&process);
        self.born(process, os_pid);
        self.settle();
    }

    /// A process exists, and does what it was made for.
    pub(super) fn born(&mut self, process: Serial, os_pid: OsPid) {
        self.unborn.remove(&process);
        self.refusal = None;
        self.by_os_pid.insert(os_pid, process);
        self.events.push_back(Event::Began {
            process,
            os_pid,
            at: Moment::now(),
        });
    }

    /// Why the zygote could not fork.
    pub(super) fn not_forked(&self, process: Serial, errno: i32) -> NotSpawned {
        let unborn = self.unborn.get(&process);
        if unborn.is_some_and(|unborn| unborn.request.namespace)
            && matches!(
                errno,
                libc::EPERM | libc::ENOSPC | libc::EINVAL | libc::EUSERS
            )
        {
            let error = std::io::Error::from_raw_os_error(errno);
            return NotSpawned::Unsupported {
                what: "a PID namespace".to_owned(),
                why: error.to_string(),
            };
        }
        NotSpawned::Fork { errno }
    }

    pub(super) fn not_made(&mut self, process: Serial, why: NotSpawned) {
        self.unclear.remove(&process);
        self.forget(process);
        if self.unborn.remove(&process).is_some() {
            self.events.push_back(Event::NotMade { process, why });
        }
    }

    // ---- orders ----

    pub(super) fn order(&mut self, order: Order) {
        self.backlog.push_back(order);
        self.send_orders();
    }

    pub(super) fn send_orders(&mut self) {
        while let Some(order) = self.backlog.pop_front() {
            if self.zygote.is_none() {
                // Nobody is left who knows what was made.
                if let Order::Which(process) = order {
                    self.lost_with_the_zygote(process);
                    continue;
                }
                if self.state.is_stopping() {
                    self.not_made(order.process(), NotSpawned::Stopping);
                    continue;
                }
                if let Err(error) = self.start_zygote() {
                    let why = NotSpawned::NoZygote {
                        why: chain_of(&error),
                    };
                    self.not_made(order.process(), why);
                    continue;
                }
            }
            let Some(zygote) = &self.zygote else { return };
            match order.send(zygote) {
                Ok(()) => self.crowd.release(ZYGOTE),
                Err(SendError::Full) => {
                    self.crowd.release(ZYGOTE);
                    self.backlog.push_front(order);
                    break;
                }
                Err(SendError::TooManyInFlight { .. })
                    if self.crowd.let_wait(ZYGOTE, Instant::now()) =>
                {
                    self.backlog.push_front(order);
                    break;
                }
                Err(SendError::Closed) => {
                    // That is also for those that it was to be asked about.
                    self.lose_zygote();
                    if let Order::Fork { request, .. } = order {
                        self.lost_with_the_zygote(request.serial);
                    }
                }
                Err(error) => {
                    let (op, errno) = failure(error);
                    let why = NotSpawned::Io {
                        op: op.to_owned(),
                        errno: errno.raw_os_error(),
                    };
                    self.not_made(order.process(), why);
                }
            }
        }
        // A zygote begins without a backlog.
        let lags = !self.backlog.is_empty() && !self.crowd.has(ZYGOTE);
        if let Some(zygote) = &self.zygote
            && self.zygote_lags != lags
        {
            self.zygote_lags = lags;
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, self.zygote_lags);
            let data = epoll::EventData::new_u64(ZYGOTE);
            let _ = epoll::modify(&self.epoll, zygote.socket(), data, flags);
        }
    }

    // ---- the zygote ----

    pub(super) fn start_zygote(&mut self) -> Result<(), BootError> {
        let zygote = Zygote::start(self.nofile, Some(REHEARSAL), self.tallied.fd())?;
        let data = epoll::EventData::new_u64(ZYGOTE);
        if let Err(source) = epoll::add(&self.epoll, zygote.socket(), data, EventFlags::IN) {
            zygote.end();
            return Err(BootError::Io {
                op: "epoll_ctl",
                source: source.into(),
            });
        }
        self.zygote_lags = false;
        self.zygote = Some(zygote);
        Ok(())
    }

    pub(super) fn hear_zygote(&mut self, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.send_orders();
        }
        loop {
            let Some(zygote) = &self.zygote else { return };
            let mut fds = Vec::new();
            match zygote
                .socket()
                .receive(&mut self.buffer, &mut fds, Deadline::Now)
            {
                Ok(Received::Datagram { len, .. }) => {
                    let whole = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                    let Ok(Some(envelope)) = whole else { continue };
                    if envelope.kind == spawn::BOOT_FAILED {
                        self.refusal = envelope.decode().ok();
                    } else if let Some((process, made)) = Zygote::answer(&envelope) {
                        self.zygote_says(process, made);
                        self.send_orders();
                    }
                }
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    self.lose_zygote();
                    return self.send_orders();
                }
            }
        }
    }

    /// The zygote knows what became of a process that closed its control socket before its first word.
    fn zygote_says(&mut self, process: Serial, made: Option<OsPid>) {
        if !self.unclear.remove(&process) {
            return;
        }
        let Some(os_pid) = made else {
            return self.lost_with_the_zygote(process);
        };
        // It was made, and killed at once: its end is an end like any other.
        match self.strays.remove(&os_pid) {
            Some(stray) if !ends::is_child(os_pid) => {
                self.unborn.remove(&process);
                let mut end = stray.end;
                end.stderr = self.take_tail(process);
                self.forget(process);
                self.events.push_back(Event::BeganAndEnded {
                    process,
                    os_pid,
                    end,
                });
            }
            _ => self.born(process, os_pid),
        }
    }

    /// The zygote has died. What it had not read closes of itself, and tells; what it made lives on. Orders
    /// that it did not get wait for the next.
    pub(super) fn lose_zygote(&mut self) {
        let Some(zygote) = self.zygote.take() else {
            return;
        };
        let _ = epoll::delete(&self.epoll, zygote.socket());
        self.crowd.release(ZYGOTE);
        zygote.end();
        self.backlog
            .retain(|order| matches!(order, Order::Fork { .. }));
        for process in std::mem::take(&mut self.unclear) {
            self.lost_with_the_zygote(process);
        }
    }

    fn zygote_died(&self) -> NotSpawned {
        match &self.refusal {
            Some(why) => NotSpawned::NoZygote { why: why.clone() },
            None => NotSpawned::ZygoteDied,
        }
    }
}
