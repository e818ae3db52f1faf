//! A process's side of its control socket.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use occ_inbox::{Connector, Event, Lost, Message, NotAsked, Pid, Refusal, Standing, Tallies};
use occ_sck::{
    Assembler, Deadline, Envelope, FrameError, Header, Limits, MAX_DATAGRAM, Packet, ReceiveError,
    Received, SendError, Socket,
};
use occ_spawn::entry::kind as spawn;
use rustix::io::Errno;
use rustix::net::Shutdown;

use crate::down::Down;
use crate::protocol::{News, Reply, Request, kind};
use crate::tally::Tally;

/// The control socket: the process's own for life, or one that the host opened.
#[derive(Debug)]
pub(crate) enum Line {
    Process(&'static Socket),
    Host(Socket),
}

impl Line {
    fn socket(&self) -> &Socket {
        match self {
            Line::Process(socket) => socket,
            Line::Host(socket) => socket,
        }
    }
}

/// A datagram of the coordinator; of one whose descriptors were lost, its kind, and the rest of it if that can be read.
#[derive(Debug)]
enum Heard {
    Whole(Envelope),
    WithoutDescriptors(u8, Option<Envelope>),
}

/// Why a request was not made.
#[derive(Debug)]
pub(crate) enum Unasked {
    Lost,
    Io { op: &'static str, source: io::Error },
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Asked {
    Yes,
    /// There is no room for it now.
    Full,
    /// There is none for its descriptors (see [`SendError::TooManyInFlight`]), and nobody tells when there is.
    Crowded(SendError),
}

/// A request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Question {
    packet: Packet,
    replied_as: Option<u64>,
}

impl Question {
    pub(crate) fn new(request: &Request) -> Result<Question, Unasked> {
        let packet = Packet::of(kind::REQUEST, request).map_err(|error| Unasked::Io {
            op: "encode",
            source: io::Error::other(error),
        })?;
        // A request is one datagram: of the first part of several nothing would come back.
        if packet.parts() > 1 {
            return Err(Unasked::Io {
                op: "a request of more than one datagram",
                source: Errno::MSGSIZE.into(),
            });
        }
        let replied_as = request.replied_as();
        Ok(Question { packet, replied_as })
    }
}

/// Asks the coordinator, and hears what it says.
pub struct Control {
    line: Line,
    buffer: Vec<u8>,
    /// An exit report, which belongs to the Down that comes next.
    report: Option<Envelope>,
    /// The last reply, until whoever asked takes it.
    reply: Option<Reply>,
    last_id: u64,
    /// The last request that a reply answers. Other threads ask for connections meanwhile, and have numbers after it.
    asked: u64,
    /// The wishes for a connection that have not been answered: their numbers, and with whom.
    wishes: Vec<(u64, Pid)>,
    /// Where messages are counted, and those to this process.
    tally: Option<Arc<Tally>>,
    own: Option<u32>,
}

impl Control {
    pub(crate) fn new(line: Line) -> Control {
        Control {
            line,
            buffer: Vec::new(),
            report: None,
            reply: None,
            last_id: 0,
            asked: 0,
            wishes: Vec::new(),
            tally: None,
            own: None,
        }
    }

    /// That of a process, which has a share in the memory of whoever made it.
    pub(crate) fn of_process(socket: &'static Socket, own: Option<u32>) -> Control {
        Control {
            tally: Tally::inherited(),
            own,
            ..Control::new(Line::Process(socket))
        }
    }

    /// The first news of a process: who it is.
    pub(crate) fn who_am_i(&mut self) -> Result<Pid, Lost> {
        let Some(Heard::Whole(envelope)) = self.read(Deadline::Never)? else {
            return Err(Lost);
        };
        let Ok(News::You { pid }) = envelope.decode() else {
            return Err(Lost);
        };
        let memory = envelope.fds.first();
        self.tally = memory.and_then(|fd| Tally::of(fd.as_fd()).ok().map(Arc::new));
        Ok(pid)
    }

    /// A number for the next request.
    pub(crate) fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Asks for something, with the descriptors that belong to it, without waiting: this is under the lock that every thread
    /// needs which sends.
    pub(crate) fn ask(
        &mut self,
        question: &Question,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Asked, Unasked> {
        let Question { packet, replied_as } = question;
        match packet.send_part(0, self.line.socket(), fds, Deadline::Now) {
            Ok(()) => {
                self.asked = replied_as.unwrap_or(self.asked);
                Ok(Asked::Yes)
            }
            Err(SendError::Full) => Ok(Asked::Full),
            Err(error @ SendError::TooManyInFlight { .. }) => Ok(Asked::Crowded(error)),
            Err(SendError::Closed) => Err(Unasked::Lost),
            Err(SendError::Io { op, source }) => Err(Unasked::Io { op, source }),
            Err(error) => Err(Unasked::Io {
                op: "sendmsg",
                source: io::Error::other(error),
            }),
        }
    }

    /// The reply to the request `id`, if it has come.
    pub(crate) fn take_reply(&mut self, id: u64) -> Option<Reply> {
        self.reply.take_if(|reply| reply.id() == Some(id))
    }

    /// Ends the connection, whoever else holds a duplicate of the socket. The coordinator takes it for the
    /// end of the host.
    pub(crate) fn hang_up(&self) {
        if let Line::Host(socket) = &self.line {
            hang_up(socket.as_fd());
        }
    }

    /// One datagram. `None` when the deadline came first.
    fn read(&mut self, deadline: Deadline) -> Result<Option<Heard>, Lost> {
        // Many a process never hears anything.
        if self.buffer.is_empty() {
            self.buffer = occ_sck::room();
        }
        let mut fds: Vec<OwnedFd> = Vec::new();
        match self
            .line
            .socket()
            .receive(&mut self.buffer[..MAX_DATAGRAM], &mut fds, deadline)
        {
            Ok(Received::Datagram { len, .. }) => {
                let envelope = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                let envelope = envelope.map_err(|_| Lost)?.ok_or(Lost)?;
                Ok(Some(Heard::Whole(envelope)))
            }
            Ok(Received::Nothing) => Ok(None),
            Err(ReceiveError::Frame(FrameError::FdsLost)) => {
                let rest = Header::datagram_len(&self.buffer).and_then(|len| {
                    let datagram = self.buffer.get(..len)?;
                    let mut assembler = Assembler::new(Limits::default());
                    assembler.push(datagram, Vec::new()).ok()?
                });
                Ok(Some(Heard::WithoutDescriptors(self.buffer[0], rest)))
            }
            Ok(Received::Closed) | Err(_) => Err(Lost),
        }
    }

    fn news(&mut self, news: News, fds: Vec<OwnedFd>) -> Event {
        match news {
            News::You { .. } => Event::Own,
            News::Connected { peer, tally } => match fds.into_iter().next() {
                Some(fd) => {
                    self.forget(peer);
                    let socket = Socket::from(fd);
                    Event::Connected {
                        peer,
                        socket,
                        tally,
                    }
                }
                None => self.lost(Some(peer)),
            },
            // Its news come first, so this is of one that was lost, or of a wish that is no more.
            News::Given { id, peer } if self.wishes.contains(&(id, peer)) => {
                self.forget(peer);
                let why = Refusal::TooManyPeers;
                Event::Refused { peer, why }
            }
            News::Given { .. } => Event::Own,
            News::Refused { peer, why } => {
                self.forget(peer);
                Event::Refused { peer, why }
            }
            News::Gone { peer } => {
                self.forget(peer);
                Event::Gone { peer }
            }
            News::Down(ended, short) => {
                self.forget(ended.pid);
                let report = short.map(Envelope::from);
                let down = Down::new(&ended, report.or_else(|| self.report.take()));
                Event::Message(Message::about_end(ended.pid, down))
            }
        }
    }

    /// No wish for a connection with `peer` is open any more.
    fn forget(&mut self, peer: Pid) {
        self.wishes.retain(|(_, whom)| *whom != peer);
    }

    fn replied(&mut self, reply: Reply) {
        self.reply = Some(match reply {
            // There is one thread, and it waits for one reply at a time.
            Reply::Unread => no_descriptor(self.asked),
            reply => reply,
        });
    }

    /// Something came for which this process has no file descriptor.
    fn missed(&mut self, kind: u8, rest: Option<&Envelope>) -> Event {
        match kind {
            // The Down that follows it says that there was one.
            spawn::VALUE | spawn::ERROR | spawn::FAILURE | spawn::PANIC => Event::Own,
            kind::REPLY => {
                self.reply = Some(no_descriptor(self.asked));
                Event::Own
            }
            _ => self.lost(match rest.map(Envelope::decode::<News>) {
                Some(Ok(News::Connected { peer, .. })) => Some(peer),
                _ => None,
            }),
        }
    }

    /// A connection came, with `peer` if that is known, and there was no room for it.
    fn lost(&mut self, peer: Option<Pid>) -> Event {
        if let Some(peer) = peer {
            self.forget(peer);
        }
        Event::NoDescriptor { peer }
    }
}

fn no_descriptor(id: u64) -> Reply {
    Reply::Failed {
        id,
        op: "recvmsg".to_owned(),
        errno: Errno::MFILE.raw_os_error(),
    }
}

/// Ends a connection for everybody who holds either end of it.
pub(crate) fn hang_up(socket: BorrowedFd<'_>) {
    // ENOTCONN, when the other side went first, is what was wanted.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

impl Connector for Control {
    fn tallies(&self) -> Option<(Arc<dyn Tallies>, Option<u32>)> {
        let tally: Arc<dyn Tallies> = self.tally.clone()?;
        Some((tally, self.own))
    }

    fn over_limit(&mut self, messages: u64, bytes: u64) {
        // The host is a program of its own, and not ours to end.
        if matches!(self.line, Line::Process(_)) {
            occ_spawn::fail_with(occ_inbox::ReceiveError::OverLimit { messages, bytes });
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.socket().as_fd()
    }

    fn request(&mut self, peer: Pid, standing: Standing) -> Result<(), NotAsked> {
        let id = self.id();
        let to = peer;
        let question = Question::new(&Request::Connect { id, to, standing });
        let question = question.map_err(|_| NotAsked::Lost)?;
        match self.ask(&question, &[]) {
            Ok(Asked::Yes) => {}
            Ok(Asked::Full | Asked::Crowded(_)) => return Err(NotAsked::Full),
            Err(_) => return Err(NotAsked::Lost),
        }
        self.forget(peer);
        self.wishes.push((id, peer));
        Ok(())
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        let mut envelope = match self.read(deadline)? {
            None => return Ok(None),
            Some(Heard::WithoutDescriptors(kind, rest)) => {
                return Ok(Some(self.missed(kind, rest.as_ref())));
            }
            Some(Heard::Whole(envelope)) => envelope,
        };
        let fds = std::mem::take(&mut envelope.fds);
        let event = match envelope.kind {
            kind::NEWS => self.news(envelope.decode().map_err(|_| Lost)?, fds),
            kind::REPLY => {
                self.replied(envelope.decode().map_err(|_| Lost)?);
                Event::Own
            }
            spawn::VALUE | spawn::ERROR | spawn::FAILURE | spawn::PANIC => {
                envelope.fds = fds;
                self.report = Some(envelope);
                Event::Own
            }
            _ => Event::Own,
        };
        Ok(Some(event))
    }
}

/// Without what was received.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("line", &self.line)
            .field("wishes", &self.wishes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use occ_inbox::Inbox;
    use occ_sck::Packet;
    use rustix::event::{PollFd, PollFlags};
    use rustix::process::{Resource, getrlimit, setrlimit};

    use super::*;

    fn pid(serial: u64) -> Pid {
        Pid {
            node: 0,
            incarnation: 7,
            serial,
        }
    }

    /// The side of a process, and that of the coordinator.
    fn control() -> (Control, Socket) {
        let (ours, theirs) = Socket::pair().unwrap();
        (Control::new(Line::Host(ours)), theirs)
    }

    /// One thread asks for something, and another for a connection at any moment.
    fn ask_among_others(control: &mut Control, fds: &[BorrowedFd<'_>]) -> u64 {
        let id = control.id();
        control.request(pid(2), Standing::New).unwrap();
        let question = Question::new(&Request::Processes { id }).unwrap();
        control.ask(&question, fds).unwrap();
        control.request(pid(3), Standing::New).unwrap();
        id
    }

    /// Fills the socket; the requests that are in it.
    fn fill(control: &mut Control) -> u64 {
        let mut nobody = |serial| control.request(pid(serial), Standing::New).is_err();
        (100..).find(|serial| nobody(*serial)).unwrap() - 100
    }

    fn connects(request: &Request, whom: u64) -> bool {
        matches!(request, Request::Connect { to, .. } if *to == pid(whom))
    }

    fn heard(coordinator: &Socket) -> Request {
        let (mut buffer, mut fds) = (vec![0; MAX_DATAGRAM], Vec::new());
        let heard = coordinator.receive(&mut buffer, &mut fds, Deadline::Now);
        let Ok(Received::Datagram { len, .. }) = heard else {
            panic!("{heard:?}")
        };
        let whole = Assembler::new(Limits::default()).push(&buffer[..len], fds);
        whole.unwrap().unwrap().decode().unwrap()
    }

    /// One thread has the inbox alone. With several: `tests/it/stopped.rs`.
    #[test]
    fn who_asks_where_there_is_no_room_waits_for_no_longer_than_it_wants_and_keeps_its_order() {
        occ_test_support::within(occ_test_support::LIMIT, || {
            let (mut control, coordinator) = control();
            let before = fill(&mut control);
            let mut inbox = Inbox::new(pid(1), control).unwrap();
            for _ in 0..1000 {
                let full = inbox.try_send(pid(2), &1_u8);
                assert!(matches!(full, Err(occ_inbox::SendError::Full { .. })));
            }
            let (limit, begun) = (Duration::from_millis(20), Instant::now());
            let full = inbox.send_timeout(pid(2), &1_u8, limit);
            assert!(matches!(full, Err(occ_inbox::SendError::Full { .. })));
            assert!(begun.elapsed() >= limit);

            // Two that wait for as long as it takes, one after the other.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for serial in 100..100 + before {
                        assert!(connects(&heard(&coordinator), serial));
                    }
                    let mut fds = [PollFd::new(&coordinator, PollFlags::IN)];
                    for whom in [3, 4] {
                        rustix::event::poll(&mut fds, None).unwrap();
                        // Of what was tried in vain nothing has been asked.
                        assert!(connects(&heard(&coordinator), whom));
                        let peer = pid(whom);
                        let why = Refusal::NoProcess;
                        let no = Packet::of(kind::NEWS, &News::Refused { peer, why }).unwrap();
                        no.send_whole(&coordinator, &[], Deadline::Now).unwrap();
                    }
                });
                for whom in [3, 4] {
                    let gone = inbox.send(pid(whom), &1_u8);
                    assert!(matches!(gone, Err(occ_inbox::SendError::NoProcess { .. })));
                }
            });
        });
    }

    /// Every descriptor that the process may have.
    fn exhaust() -> Vec<File> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(200);
        setrlimit(Resource::Nofile, limit).unwrap();
        let more = || File::open("/dev/null").ok();
        std::iter::from_fn(more).collect()
    }

    #[test]
    fn a_connection_that_is_lost_for_want_of_a_descriptor_concerns_nobody_who_has_asked_for_another()
     {
        occ_test_support::isolated!(|| occ_test_support::within(occ_test_support::LIMIT, || {
            let (control, coordinator) = control();
            let mut inbox = Inbox::new(pid(1), control).unwrap();
            let handle = inbox.handle().unwrap();
            let (end, two) = Socket::pair().unwrap();
            let connected = |peer: u64, fds: &[BorrowedFd<'_>]| {
                let peer = pid(peer);
                let tally = None;
                let news = Packet::of(kind::NEWS, &News::Connected { peer, tally }).unwrap();
                news.send_part(0, &coordinator, fds, Deadline::Now).unwrap();
            };
            std::thread::scope(|scope| {
                let ask = |whom| {
                    let handle = &handle;
                    let asks = scope.spawn(move || handle.send(pid(whom), &1_u8));
                    let mut fds = [PollFd::new(&coordinator, PollFlags::IN)];
                    rustix::event::poll(&mut fds, None).unwrap();
                    assert!(connects(&heard(&coordinator), whom));
                    asks
                };
                let (asks_2, asks_3) = (ask(2), ask(3));
                let mut exhausted = exhaust();
                // One there is always room for.
                connected(2, &[end.as_fd(), end.as_fd()]);
                let lost = asks_2.join().unwrap();
                assert!(
                    matches!(lost, Err(occ_inbox::SendError::TooManyPeers { to }) if to == pid(2)),
                    "{lost:?}"
                );
                exhausted.truncate(100);
                connected(3, &[end.as_fd()]);
                asks_3.join().unwrap().unwrap();
            });
            let error = inbox.receive_timeout::<u8>(Duration::ZERO).unwrap_err();
            assert_eq!(
                error.to_string(),
                "a message from <0.2> is lost: this process has no file descriptor left"
            );
            let received = two.receive(&mut [0; 1000], &mut Vec::new(), Deadline::Now);
            assert!(matches!(received, Ok(Received::Datagram { .. })));
        }));
    }

    fn failed(control: &mut Control, id: u64) {
        assert!(matches!(control.next(Deadline::Now), Ok(Some(Event::Own))));
        let reply = control.take_reply(id);
        assert!(matches!(reply, Some(Reply::Failed { .. })), "{reply:?}");
    }

    #[test]
    fn whoever_asked_is_told_that_its_request_could_not_be_read_whoever_asks_besides() {
        let (mut control, coordinator) = control();
        let id = ask_among_others(&mut control, &[coordinator.as_fd()]);
        let unread = Packet::of(kind::REPLY, &Reply::Unread).unwrap();
        unread.send_whole(&coordinator, &[], Deadline::Now).unwrap();
        failed(&mut control, id);
    }

    #[test]
    fn whoever_asked_is_told_that_there_is_no_room_for_the_answer_whoever_asks_besides() {
        occ_test_support::isolated!(|| {
            let (mut control, coordinator) = control();
            let id = ask_among_others(&mut control, &[]);
            let list = Reply::Failed {
                id,
                op: "x".repeat(MAX_DATAGRAM),
                errno: 0,
            };
            let long = Packet::of(kind::REPLY, &list).unwrap();
            long.send_whole(&coordinator, &[], Deadline::Now).unwrap();
            let _exhausted = exhaust();
            failed(&mut control, id);
        });
    }
}
