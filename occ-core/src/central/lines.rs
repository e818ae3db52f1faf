//! Control sockets: what processes say, and what they are owed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use occ_inbox::Refusal;
use occ_sck::{
    Assembler, Blob, Body, Credentials, Deadline, Envelope, FrameError, Limits, Packet,
    ReceiveError, Received, Socket,
};
use occ_spawn::OsPid;
use occ_spawn::entry::kind as spawn;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::Central;
use super::forks::Unborn;
use crate::line::{Line, Owed, Paid, failure};
use crate::protocol::{Ended, News, NotSpawned, Reply, Request, ShortReport, Wanted, kind};
use crate::state::{Event, Serial};

/// Datagrams read from one process before the others have their turn.
pub(super) const TURN: usize = 64;

/// Sockets of the dead that are left open, of the few descriptors that are kept for whatever comes.
const CLOSED_MAX: usize = 16;

impl Central {
    pub(super) fn open(&mut self, serial: Serial, socket: Socket) -> io::Result<()> {
        let line = Line::new(socket);
        let data = epoll::EventData::new_u64(serial);
        epoll::add(&self.epoll, &line.socket, data, line.watched)?;
        self.lines.insert(serial, line);
        Ok(())
    }

    /// Closes the control socket of a process. What it is owed is not paid any more; and of that, a
    /// connection is owed to another as well.
    pub(super) fn close(&mut self, process: Serial) {
        let Some(mut line) = self.lines.remove(&process) else {
            return;
        };
        self.crowd.release(process);
        while let Some(owed) = line.next() {
            if let Owed::Pair(other) = owed {
                self.no_pair(process, other);
            }
        }
        // Its end is waited for, and its closing is not.
        if self.closed.len() >= CLOSED_MAX {
            self.closed.clear();
        }
        self.closed.push(line.socket);
    }

    // ---- what they say ----

    /// Reads and pays what can be read and paid.
    pub(super) fn serve(&mut self, serial: Serial, flags: EventFlags) {
        // Who has hung up is owed nothing any more, and that epoll tells whatever it is asked for: unless what is
        // owed is given up, a process that asked too much before would neither be read nor leave us in peace.
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.pay(serial);
            self.settle();
        }
        // Whoever asks waits for the answer, as a rule, and says no more before: if there is more, epoll tells again.
        let most = if flags == EventFlags::IN { 1 } else { TURN };
        self.read_some(serial, most, flags.contains(EventFlags::HUP));
        self.watch(serial);
    }

    /// Reads what a process has said, so many datagrams at the most.
    pub(super) fn read_some(&mut self, serial: Serial, most: usize, hung_up: bool) {
        for _ in 0..most {
            if self.lines.get(&serial).is_none_or(Line::is_flooding) || !self.read(serial, hung_up)
            {
                break;
            }
            self.settle();
        }
    }

    /// Reads one datagram; false when there was none. It may be known that the process has hung up.
    pub(super) fn read(&mut self, serial: Serial, hung_up: bool) -> bool {
        let Some(line) = self.lines.get(&serial) else {
            return false;
        };
        let mut fds = Vec::new();
        // The kind of a frame that is lost can be seen all the same, if it is not one of before.
        self.buffer[0] = 0;
        let received = if hung_up {
            line.socket.receive_rest(&mut self.buffer, &mut fds)
        } else {
            line.socket
                .receive(&mut self.buffer, &mut fds, Deadline::Now)
        };
        match received {
            Ok(Received::Datagram { len, sender }) => {
                let whole = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                // What is no frame is dropped: on this carrier the next datagram begins anew, and the
                // process's exit is told all the same.
                if let (Ok(Some(envelope)), Some(sender)) = (whole, sender) {
                    self.hear(serial, sender, envelope);
                }
                true
            }
            Ok(Received::Nothing) => false,
            Err(ReceiveError::Frame(FrameError::FdsLost)) => {
                self.mishear(serial, self.buffer[0]);
                true
            }
            Err(ReceiveError::Frame(_)) => true,
            Ok(Received::Closed) | Err(_) => {
                self.events.push_back(Event::HungUp { process: serial });
                false
            }
        }
    }

    /// A frame on the control socket of a process. Who sent it, the kernel says.
    fn hear(&mut self, serial: Serial, sender: Credentials, mut envelope: Envelope) {
        let sender = OsPid::new(sender.os_pid);
        let from_itself = self.state.os_pid(serial) == Some(sender);
        match envelope.kind {
            // Until the first word nobody but the zygote and the process itself has the socket.
            spawn::HELLO if self.unborn.contains_key(&serial) => self.greeted(serial, sender),
            // It is short, and nothing that is not is read here.
            spawn::NOT_BEGUN
                if self.unborn.contains_key(&serial)
                    && matches!(envelope.body, Body::Inline { .. }) =>
            {
                if let Ok(why) = envelope.decode() {
                    self.gave_up(serial, sender, why);
                }
            }
            spawn::FORK_FAILED if self.zygote.as_ref().is_some_and(|z| z.os_pid() == sender) => {
                let errno = envelope.decode().unwrap_or(0);
                self.not_made(serial, self.not_forked(serial, errno));
            }
            kind::REQUEST if from_itself => self.request(serial, envelope),
            spawn::VALUE
            | spawn::ERROR
            | spawn::FAILURE
            | spawn::PANIC
            | spawn::SIGNAL
            | spawn::PANICKED_BEFORE
                if from_itself =>
            {
                // It is kept until the end, and all who watch have been told. Only a value has any.
                if !matches!(envelope.kind, spawn::VALUE | spawn::FAILURE) {
                    envelope.fds.clear();
                }
                if self.has_no_room_for(&envelope.fds) {
                    return self.mishear(serial, envelope.kind);
                }
                self.events.push_back(Event::Said {
                    process: serial,
                    report: envelope,
                });
            }
            // From a fork of it, or from nobody of ours.
            _ => {}
        }
    }

    /// A frame came whose descriptors could not be taken: we have no room for them, for the moment. Whoever
    /// waits for an answer to it has to be told.
    fn mishear(&mut self, serial: Serial, kind: u8) {
        match kind {
            kind::REQUEST => self.reply(serial, &Reply::Unread),
            spawn::VALUE | spawn::ERROR | spawn::FAILURE | spawn::PANIC => {
                self.events
                    .push_back(Event::SaidUnheard { process: serial });
            }
            _ => {}
        }
    }

    /// Descriptors in exit values do not take the last places: there must be processes made meanwhile.
    ///
    /// The kernel gives the lowest number that is free, so what has a high one has come to a table that is nearly full.
    fn has_no_room_for(&self, fds: &[OwnedFd]) -> bool {
        let most = self.most_fds - self.most_held;
        fds.iter().any(|fd| fd.as_raw_fd() as usize >= most)
    }

    fn request(&mut self, by: Serial, mut envelope: Envelope) {
        // A request is never long. A memory file would be read here, and could be as long as it likes.
        if matches!(envelope.body, Body::Blob(_)) {
            return;
        }
        let fds = std::mem::take(&mut envelope.fds);
        let Ok(request) = envelope.decode::<Request>() else {
            return;
        };
        let (blob, given) = match &request {
            Request::Spawn { id, wanted, .. } => match self.parts(wanted, fds) {
                Ok(parts) => parts,
                Err(why) => return self.reply(by, &Reply::NotSpawned { id: *id, why }),
            },
            _ => (None, Vec::new()),
        };
        self.events.push_back(Event::Asked {
            by,
            request,
            blob,
            given,
        });
    }

    /// What came along with the wish for a process, told apart.
    fn parts(
        &self,
        wanted: &Wanted,
        fds: Vec<OwnedFd>,
    ) -> Result<(Option<Blob>, Vec<OwnedFd>), NotSpawned> {
        let failed = |op: &str, errno: Errno| NotSpawned::Io {
            op: op.to_owned(),
            errno: errno.raw_os_error(),
        };
        let mut fds = fds.into_iter();
        let blob = match wanted.blob {
            None => None,
            Some(len) => {
                let blob = fds.next().and_then(|fd| Blob::from_fd(fd, len).ok());
                Some(blob.ok_or_else(|| failed("memfd", Errno::BADF))?)
            }
        };
        let given: Vec<OwnedFd> = fds.collect();
        // Those for the options, and then those in the arguments.
        if given.len() as u64 != u64::from(wanted.given) + u64::from(wanted.with_args) {
            return Err(failed("recvmsg", Errno::BADF));
        }
        // They are held until the process is made. Whoever asks for many at once asks again.
        let held: usize = self.unborn.values().map(Unborn::holds).sum();
        if !given.is_empty() && held + given.len() > self.most_held {
            return Err(failed(
                "holding descriptors for processes to be made",
                Errno::MFILE,
            ));
        }
        Ok((blob, given))
    }

    // ---- what they are owed ----

    pub(super) fn reply(&mut self, to: Serial, reply: &Reply) {
        if let Ok(packet) = Packet::of(kind::REPLY, reply) {
            self.owe(to, Owed::Answer(packet, reply.id()));
        }
    }

    pub(super) fn tell(&mut self, to: Serial, news: &News) {
        let Ok(packet) = Packet::of(kind::NEWS, news) else {
            return;
        };
        // Whoever asks for what is not there gets news of it, and as many as it asks for.
        let answers = match news {
            News::Refused { .. } | News::Given { .. } => true,
            News::Down(ended, _) => ended.facts.is_none(),
            News::You { .. } | News::Connected { .. } | News::Gone { .. } => false,
        };
        self.owe(
            to,
            if answers {
                Owed::Answer(packet, None)
            } else {
                Owed::News(packet)
            },
        );
    }

    /// Tells the host who it is, and where messages are counted: the first that it hears.
    pub(super) fn tell_who(&mut self, host: Serial) {
        let you = News::You {
            pid: self.state.pid(host),
        };
        let (Some(line), Ok(packet)) = (self.lines.get(&host), Packet::of(kind::NEWS, &you)) else {
            return;
        };
        let fds: Vec<BorrowedFd<'_>> = self.tallied.fd().into_iter().collect();
        // Without, if there is no room for a descriptor on its way. Then it counts nothing.
        if packet
            .send_part(0, &line.socket, &fds, Deadline::Now)
            .is_err()
        {
            self.tell(host, &you);
        }
    }

    pub(super) fn tell_end(&mut self, to: Serial, ended: Ended, report: Option<Rc<Envelope>>) {
        let short = report.as_deref().and_then(ShortReport::of);
        if let Some(report) = report
            && short.is_none()
        {
            self.owe(to, Owed::Report(report));
        }
        self.tell(to, &News::Down(ended, short));
    }

    fn owe(&mut self, to: Serial, owed: Owed) {
        let Some(line) = self.lines.get_mut(&to) else {
            return;
        };
        let first = line.owes_nothing();
        line.owe(owed);
        if first {
            self.pay(to);
        }
    }

    /// Pays what a process has room for.
    pub(super) fn pay(&mut self, to: Serial) {
        while let Some(owed) = self.lines.get_mut(&to).and_then(Line::next) {
            match self.pay_one(to, &owed) {
                Paid::Yes | Paid::Closed => self.crowd.release(to),
                Paid::Failed { op, errno } => self.cannot_pay(to, owed, op, errno),
                Paid::Crowded(error) if !self.crowd.let_wait(to, Instant::now()) => {
                    let (op, errno) = failure(error);
                    self.cannot_pay(to, owed, op, errno.raw_os_error());
                }
                unpaid @ (Paid::Later | Paid::Crowded(_)) => {
                    // Now it is the peer's room that is missing, and epoll tells of that.
                    if matches!(unpaid, Paid::Later) {
                        self.crowd.release(to);
                    }
                    if let Some(line) = self.lines.get_mut(&to) {
                        line.put_back(owed);
                    }
                    break;
                }
            }
        }
        self.watch(to);
    }

    fn pay_one(&mut self, to: Serial, owed: &Owed) -> Paid {
        let Some(line) = self.lines.get(&to) else {
            return Paid::Closed;
        };
        match owed {
            Owed::Answer(packet, _) | Owed::News(packet) => line.pay(packet),
            Owed::Report(report) => line.pay_report(report),
            Owed::End(peer, end) => line.pay_end(*peer, self.tallied.of(peer.serial), end),
            Owed::Pair(other) => self.pay_pair(to, *other),
        }
    }

    /// Something cannot be given to a process that may be waiting for it.
    fn cannot_pay(&mut self, to: Serial, owed: Owed, op: &'static str, errno: i32) {
        match owed {
            Owed::Answer(_, Some(id)) => {
                let reply = Reply::Failed {
                    id,
                    op: op.to_owned(),
                    errno,
                };
                if let Ok(packet) = Packet::of(kind::REPLY, &reply) {
                    self.owe(to, Owed::Answer(packet, None));
                }
            }
            Owed::End(peer, _) => {
                let why = Refusal::TooManyPeers;
                self.tell(to, &News::Refused { peer, why });
            }
            Owed::Pair(other) => self.refuse_pair(to, other),
            // The Down that follows a report says that there was one. The others are short, and bring nothing
            // along that could fail.
            Owed::Answer(_, None) | Owed::News(_) | Owed::Report(_) => {}
        }
    }

    /// Lets epoll look for what can be done.
    fn watch(&mut self, serial: Serial) {
        let Some(line) = self.lines.get_mut(&serial) else {
            return;
        };
        let mut wanted = line.wanted();
        // It has room, and that is not what is missing.
        if self.crowd.has(serial) {
            wanted.remove(EventFlags::OUT);
        }
        if line.watched != wanted {
            line.watched = wanted;
            let data = epoll::EventData::new_u64(serial);
            let _ = epoll::modify(&self.epoll, &line.socket, data, wanted);
        }
    }

    // ---- connections ----

    pub(super) fn connect(&mut self, a: Serial, b: Serial) {
        // One that is on its way is the answer.
        if !self.pairs.insert(key(a, b)) {
            return;
        }
        // The one who did not ask comes first. It may not be reading, and then the pair is made when it does; and it
        // may have closed its socket, which is known for sure only when it is given something. The one who asks must
        // not be told of a connection by then: what it sends would be accepted, by nobody.
        if self.lines.contains_key(&b) {
            self.owe(b, Owed::Pair(a));
        } else {
            self.no_pair(b, a);
        }
    }

    /// A process asks for a connection that was asked for before: by its peer, and they crossed, or by itself,
    /// and it could not take what it was given.
    pub(super) fn remind(&mut self, to: Serial, id: u64, peer: Serial) {
        if !self.pairs.contains(&key(to, peer)) {
            let peer = self.state.pid(peer);
            self.tell(to, &News::Given { id, peer });
        }
    }

    /// Makes a connection, and gives both their ends.
    fn pay_pair(&mut self, to: Serial, other: Serial) -> Paid {
        let (me, peer) = (self.state.pid(to), self.state.pid(other));
        let Some(line) = self.lines.get(&to) else {
            return Paid::Closed;
        };
        if !self.lines.contains_key(&other) {
            self.no_pair(other, to);
            return Paid::Yes;
        }
        let made = Socket::pair();
        let paid = match &made {
            Ok((ours, _)) => line.pay_end(peer, self.tallied.of(other), ours),
            Err(_) => Paid::Failed {
                op: "socketpair",
                errno: 0,
            },
        };
        match paid {
            unpaid @ (Paid::Later | Paid::Crowded(_) | Paid::Failed { .. }) => return unpaid,
            Paid::Closed => self.no_pair(to, other),
            Paid::Yes => {
                self.pairs.remove(&key(to, other));
                if let Ok((_, theirs)) = made {
                    self.owe(other, Owed::End(me, theirs));
                }
            }
        }
        Paid::Yes
    }

    fn refuse_pair(&mut self, a: Serial, b: Serial) {
        self.pairs.remove(&key(a, b));
        for (to, other) in [(b, a), (a, b)] {
            let (peer, why) = (self.state.pid(other), Refusal::TooManyPeers);
            self.tell(to, &News::Refused { peer, why });
        }
    }

    fn no_pair(&mut self, closed: Serial, other: Serial) {
        self.pairs.remove(&key(closed, other));
        self.events.push_back(Event::NoPair { closed, other });
    }
}

fn key(a: Serial, b: Serial) -> (Serial, Serial) {
    (a.min(b), a.max(b))
}
