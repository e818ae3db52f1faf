//! The coordinator's side of a control socket: what is owed to a process, and when it can be paid.
//!
//! The coordinator never waits for a peer. What cannot be sent now is kept as the fact that it is owed: an
//! answer, a Down with a share in the one report, or that a connection is to be made, which costs no
//! descriptor until it is.
//!
//! What a process is owed without having asked has a bound of its own: one Down for each of its monitors, one
//! connection for each peer. Answers have none, so who asks and does not fetch them is not read any more.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::rc::Rc;

use occ_inbox::Pid;
use occ_sck::{BlobError, Deadline, Envelope, Packet, SendError, Socket};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::protocol::{News, kind};
use crate::state::Serial;

/// Answers that have not been fetched, and their bytes, at which the coordinator stops reading requests.
const ANSWERS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// Something owed to a process.
#[derive(Debug)]
pub(crate) enum Owed {
    /// What it asked for, and under which number if that has one.
    Answer(Packet, Option<u64>),
    News(Packet),
    Report(Rc<Envelope>),
    /// A connection with this one, not made yet.
    Pair(Serial),
    /// One end of a connection that is made.
    End(Pid, Socket),
}

/// How an attempt to pay went.
#[derive(Debug)]
pub(crate) enum Paid {
    Yes,
    /// When the peer has room, which epoll tells.
    Later,
    /// When there is room for descriptors (see [`SendError::TooManyInFlight`]), which nobody tells.
    Crowded(SendError),
    /// It is dying, or has closed its socket: its hang-up tells the rest.
    Closed,
    /// It is still there, and cannot be given this.
    Failed {
        op: &'static str,
        errno: i32,
    },
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) socket: Socket,
    /// What epoll looks for.
    pub(crate) watched: EventFlags,
    owed: VecDeque<Owed>,
    answers: usize,
    bytes: usize,
}

impl Line {
    pub(crate) fn new(socket: Socket) -> Line {
        let (owed, watched) = (VecDeque::new(), EventFlags::IN);
        Line {
            socket,
            watched,
            owed,
            answers: 0,
            bytes: 0,
        }
    }

    pub(crate) fn owe(&mut self, owed: Owed) {
        self.count(&owed, usize::wrapping_add);
        self.owed.push_back(owed);
    }

    /// Takes the next thing to pay.
    pub(crate) fn next(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.count(&owed, usize::wrapping_sub);
        Some(owed)
    }

    /// Puts back what could not be paid.
    pub(crate) fn put_back(&mut self, owed: Owed) {
        self.count(&owed, usize::wrapping_add);
        self.owed.push_front(owed);
    }

    fn count(&mut self, owed: &Owed, step: impl Fn(usize, usize) -> usize) {
        if let Owed::Answer(packet, _) = owed {
            self.answers = step(self.answers, 1);
            self.bytes = step(self.bytes, packet.payload().len());
        }
    }

    pub(crate) fn owes_nothing(&self) -> bool {
        self.owed.is_empty()
    }

    /// True while the process asks faster than it listens.
    pub(crate) fn is_flooding(&self) -> bool {
        self.answers >= ANSWERS_MAX || self.bytes >= BYTES_MAX
    }

    /// What epoll is to look for.
    pub(crate) fn wanted(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::OUT, !self.owed.is_empty());
        flags.set(EventFlags::IN, !self.is_flooding());
        flags
    }

    /// Sends a packet, if there is room now.
    pub(crate) fn pay(&self, packet: &Packet) -> Paid {
        paid(packet.send_whole(&self.socket, &[], Deadline::Now))
    }

    /// Sends one end of a pair.
    pub(crate) fn pay_end(&self, peer: Pid, tally: Option<u32>, end: &Socket) -> Paid {
        let Ok(packet) = Packet::of(kind::NEWS, &News::Connected { peer, tally }) else {
            return Paid::Closed;
        };
        paid(packet.send_part(0, &self.socket, &[end.as_fd()], Deadline::Now))
    }

    /// Passes an exit report on as it came.
    pub(crate) fn pay_report(&self, report: &Envelope) -> Paid {
        send_report(report, &self.socket)
    }
}

/// Sends an exit report as it came, without reading it.
pub(crate) fn send_report(report: &Envelope, socket: &Socket) -> Paid {
    paid(report.forward(socket, Deadline::Now))
}

pub(crate) fn paid(sent: Result<(), SendError>) -> Paid {
    match sent {
        Ok(()) => Paid::Yes,
        Err(SendError::Full) => Paid::Later,
        Err(SendError::Closed) => Paid::Closed,
        Err(error @ SendError::TooManyInFlight { .. }) => Paid::Crowded(error),
        Err(error) => match failure(error) {
            // The kernel is short of memory, and will not always be.
            (_, Errno::NOMEM | Errno::NOBUFS) => Paid::Later,
            (op, errno) => Paid::Failed {
                op,
                errno: errno.raw_os_error(),
            },
        },
    }
}

/// The call that failed, and what the kernel said.
pub(crate) fn failure(error: SendError) -> (&'static str, Errno) {
    let (op, source) = match error {
        SendError::Io { op, source } => (op, source),
        SendError::Blob(BlobError::Io { op, source, .. }) => (op, source),
        SendError::TooManyInFlight { .. } => ("sendmsg", Errno::TOOMANYREFS.into()),
        other => ("sendmsg", std::io::Error::other(other)),
    };
    (op, Errno::from_io_error(&source).unwrap_or(Errno::IO))
}
