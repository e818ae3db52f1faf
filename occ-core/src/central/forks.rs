//! Processes on their way from the zygote: orders, and what becomes of them.
//!
//! An order that was not sent may be sent again, to another zygote. One that was sent is never repeated: the
//! control socket that went with it tells what became of it, by a first word, a failure, or its end.

use std::os::fd::AsFd;
use std::time::SystemTime;

use occ_sck::{Assembler, Deadline, Limits, Received, SendError, Socket};
use occ_spawn::OsPid;
use occ_spawn::boot::BootError;
use occ_spawn::entry::kind as spawn;
use occ_spawn::zygote::{self, Zygote};
use rustix::event::epoll::{self, EventFlags};

use super::{Central, ZYGOTE, chain_of, ends};
use crate::line::failure;
use crate::protocol::NotSpawned;
use crate::state::{Event, Serial};

/// Something for the zygote to do.
pub(super) enum Order {
    Fork {
        request: zygote::Request,
        control: Socket,
        /// A zygote was found dead over it.
        again: bool,
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
            Order::Fork {
                request, control, ..
            } => zygote.request(request, control.as_fd(), None, Deadline::Now),
            Order::Which(process) => zygote.ask_which(*process, Deadline::Now),
        }
    }
}

impl Central {
    /// Begins to make a process.
    pub(super) fn launch(&mut self, request: zygote::Request) {
        let process = request.serial;
        let io = |op: &str, error: &std::io::Error| NotSpawned::Io {
            op: op.to_owned(),
            errno: error.raw_os_error().unwrap_or(0),
        };
        self.unborn.insert(process);
        let (ours, control) = match Socket::pair() {
            Ok(pair) => pair,
            Err(error) => return self.not_made(process, io("socketpair", &error)),
        };
        if let Err(error) = ours.ask_credentials() {
            return self.not_made(process, io("setsockopt(SO_PASSCRED)", &error));
        }
        if let Err(error) = self.open(process, ours) {
            return self.not_made(process, io("epoll_ctl", &error));
        }
        self.order(Order::Fork {
            request,
            control,
            again: false,
        });
    }

    /// A process has said its first word.
    pub(super) fn born(&mut self, process: Serial, os_pid: OsPid) {
        self.unborn.remove(&process);
        self.refusal = None;
        self.by_os_pid.insert(os_pid, process);
        self.events.push_back(Event::Began {
            process,
            os_pid,
            at: SystemTime::now(),
        });
    }

    pub(super) fn not_made(&mut self, process: Serial, why: NotSpawned) {
        self.unclear.remove(&process);
        if self.unborn.remove(&process) {
            self.events.push_back(Event::NotMade { process, why });
        }
    }

    // ---- orders ----

    pub(super) fn order(&mut self, order: Order) {
        self.backlog.push_back(order);
        self.send_orders();
    }

    pub(super) fn send_orders(&mut self) {
        while let Some(mut order) = self.backlog.pop_front() {
            if self.zygote.is_none() {
                // Nobody is left who knows what was made.
                if let Order::Which(process) = order {
                    self.not_made(process, self.zygote_died());
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
                Ok(()) => {}
                Err(SendError::Full) => {
                    self.backlog.push_front(order);
                    break;
                }
                Err(SendError::Closed) => {
                    self.lose_zygote();
                    match &mut order {
                        // The dead one never had it, so another may, once.
                        Order::Fork { again, .. } if !*again => {
                            *again = true;
                            self.backlog.push_front(order);
                        }
                        _ => self.not_made(order.process(), self.zygote_died()),
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
        if let Some(zygote) = &self.zygote
            && self.zygote_lags == self.backlog.is_empty()
        {
            self.zygote_lags = !self.backlog.is_empty();
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, self.zygote_lags);
            let data = epoll::EventData::new_u64(ZYGOTE);
            let _ = epoll::modify(&self.epoll, zygote.socket(), data, flags);
        }
    }

    // ---- the zygote ----

    pub(super) fn start_zygote(&mut self) -> Result<(), BootError> {
        let zygote = Zygote::start(self.nofile)?;
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
            return self.not_made(process, self.zygote_died());
        };
        // It was made, and killed at once: its end is an end like any other.
        match self.strays.remove(&os_pid) {
            Some(stray) if !ends::is_child(os_pid) => {
                self.unborn.remove(&process);
                let (status, at) = (stray.status, stray.at);
                self.events.push_back(Event::BeganAndEnded {
                    process,
                    os_pid,
                    status,
                    at,
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
        zygote.end();
        self.backlog
            .retain(|order| matches!(order, Order::Fork { .. }));
        for process in std::mem::take(&mut self.unclear) {
            self.not_made(process, self.zygote_died());
        }
    }

    fn zygote_died(&self) -> NotSpawned {
        match &self.refusal {
            Some(why) => NotSpawned::NoZygote { why: why.clone() },
            None => NotSpawned::ZygoteDied,
        }
    }
}
