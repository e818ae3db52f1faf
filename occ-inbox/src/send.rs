//! Sending: a connection where there is none, room where there is none, and one rule for those that are gone.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use occ_sck::{Blob, BlobError, Deadline, Packet, Socket, Term, kind};
use rustix::event::{PollFd, PollFlags};

use crate::connector::{Connector, Lost, NotAsked, Refusal, Standing};
use crate::core::Core;
use crate::error::{ReceiveError, SendError};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::peer::Peer;
use crate::pid::Pid;
use crate::pump::Turn;
use crate::site::Site;
use crate::wait::Parked;

/// How long one who does not want to wait waits for a connection to be made. Whoever makes it answers at once;
/// but the peer has to be told as well, and may not be listening.
const ANSWER: Duration = Duration::from_secs(1);

/// How often one message is tried on a new connection with a peer that can be connected with again.
const AGAIN: usize = 3;

/// How long one waits for what nobody tells of, before one looks again.
const MOMENT: Duration = Duration::from_millis(5);

/// How a message is to be sent.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// In parts, waiting for as long as it takes.
    Parts,
    /// Whole or not at all, by a deadline.
    Whole(Deadline),
}

impl Way {
    /// When it must have been sent, and a connection for it asked for: room for the question is as any other room.
    fn by(self) -> Deadline {
        match self {
            Way::Parts => Deadline::Never,
            Way::Whole(deadline) => deadline,
        }
    }

    /// When a connection must have been made.
    fn connected_by(self) -> Deadline {
        match self {
            Way::Parts => Deadline::Never,
            Way::Whole(Deadline::Now) => Deadline::after(ANSWER),
            Way::Whole(deadline) => deadline,
        }
    }
}

/// What became of an attempt.
#[derive(PartialEq, Eq)]
enum Sending {
    Done,
    /// The connection has ended. No message was delivered that was not sent to its end.
    Ended,
}

impl<C: Connector> Inbox<C> {
    /// Sends `value` to the process `to`. Waits while that one has no room, and takes in what others send
    /// meanwhile, so that two processes that send to each other do not wait for ever.
    ///
    /// A message that was sent may still go unread: a process that dies with it in its inbox is found
    /// out by monitors, not here.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. Nothing of the message was delivered.
    pub fn send<T: Term>(&mut self, to: Pid, value: &T) -> Result<(), SendError> {
        self.send_by(to, value, Way::Parts)
    }

    /// Sends `value` to `to` if there is room for it now. The first message to a process waits until there is a
    /// connection, but no longer than a second.
    ///
    /// # Errors
    ///
    /// As [`Inbox::send`], and [`SendError::Full`].
    pub fn try_send<T: Term>(&mut self, to: Pid, value: &T) -> Result<(), SendError> {
        self.send_by(to, value, Way::Whole(Deadline::Now))
    }

    /// Sends `value` to `to` if there is room for it within `limit`. The time for making a connection counts.
    ///
    /// # Errors
    ///
    /// As [`Inbox::send`], and [`SendError::Full`].
    pub fn send_timeout<T: Term>(
        &mut self,
        to: Pid,
        value: &T,
        limit: Duration,
    ) -> Result<(), SendError> {
        self.send_by(to, value, Way::Whole(Deadline::after(limit)))
    }

    fn send_by<T: Term>(&mut self, to: Pid, value: &T, way: Way) -> Result<(), SendError> {
        if self.hold.is_of_a_fork() {
            return Err(SendError::Forked);
        }
        let mut site = Site {
            hold: &mut self.hold,
            seat: &mut self.seat,
            owner: true,
        };
        let result = site.send(to, value, way, &mut self.packet);
        self.packet.close_fds();
        self.streaming = false;
        result
    }
}

impl<C: Connector> Site<'_, C> {
    /// Sends `value`, by way of `packet`.
    pub(crate) fn send<T: Term>(
        &mut self,
        to: Pid,
        value: &T,
        way: Way,
        packet: &mut Packet,
    ) -> Result<(), SendError> {
        // Encode first: a value that cannot be encoded costs its sender an error, and nobody anything.
        packet.prepare(kind::USER, value)?;
        if C::BY_ADDRESS {
            packet.key_by_name();
        }
        if self.send_at_once(to, packet) {
            return Ok(());
        }
        self.send_packet(to, value, packet, way)
    }

    /// Sends a short message to somebody who has room for it on a connection that is there, as most have. All else is not
    /// tried.
    #[inline]
    fn send_at_once(&mut self, to: Pid, packet: &Packet) -> bool {
        let core = self.core();
        if core.down || to == core.me {
            return false;
        }
        let peer = core.peers.of(to).filter(|peer| peer.sender.is_none());
        let sent = peer.filter(|peer| packet.send_at_once(&peer.socket));
        if let Some(peer) = sent {
            core.tally.sent(peer.tally);
        }
        sent.is_some()
    }

    fn send_packet<T: Term>(
        &mut self,
        to: Pid,
        value: &T,
        packet: &mut Packet,
        way: Way,
    ) -> Result<(), SendError> {
        let core = self.core();
        if to == core.me && !core.gone {
            drop(core);
            return self.send_to_oneself(to, value, packet);
        }
        if core.down {
            return Err(SendError::SystemDown);
        }
        drop(core);
        let mut blob = None;
        let mut ended = 0;
        loop {
            let number = self.core().peers.number(to);
            let number = match number {
                Some(number) => number,
                None => self.connect(to, way)?,
            };
            let core = self.core();
            // It may be replaced as soon as the message has been sent.
            let tally = core.peers.get(number).and_then(|peer| peer.tally);
            let rejects = packet.parts() > 1 && core.rejects(number);
            drop(core);
            let in_file = packet.parts() > 1 && (rejects || matches!(way, Way::Whole(_)));
            let told = if in_file || packet.fds() > 0 {
                self.tell_of_fds(to, number, if rejects { Deadline::Now } else { way.by() })?
            } else {
                Sending::Done
            };
            let sending = match way {
                _ if told == Sending::Ended => told,
                // What cannot be taken back must not wait half-way.
                Way::Parts if rejects => {
                    self.send_whole((to, number), value, packet, &mut blob, Deadline::Now)?
                }
                Way::Parts => self.send_parts((to, number), value, packet)?,
                Way::Whole(deadline) => {
                    self.send_whole((to, number), value, packet, &mut blob, deadline)?
                }
            };
            match sending {
                Sending::Done => {
                    self.core().tally.sent(tally);
                    return Ok(());
                }
                // It takes every connection, and ends it: no inbox, or one that never has time for us.
                Sending::Ended if ended == AGAIN => return Err(SendError::NoInbox { to }),
                // There may be a new one already, and then the message goes on that.
                Sending::Ended => {
                    ended += usize::from(C::BY_ADDRESS);
                    self.after_the_end(to, way)?;
                }
            }
        }
    }

    /// Tells the peer that descriptors may come, once. A message that is not sent after all takes nothing of that back.
    fn tell_of_fds(
        &mut self,
        to: Pid,
        number: u64,
        deadline: Deadline,
    ) -> Result<Sending, SendError> {
        let told = |core: &Core<C>| core.peers.get(number).is_none_or(|peer| peer.told_of_fds);
        if told(&self.core()) {
            return Ok(Sending::Done);
        }
        let sending = self.transmit(to, number, deadline, None, Peer::tell_of_fds)?;
        if let Some(peer) = self.core().peers.get_mut(number) {
            peer.told_of_fds |= sending == Sending::Done;
        }
        Ok(sending)
    }

    /// In one datagram, by way of a memory file if it is long.
    fn send_whole<T: Term>(
        &mut self,
        (to, number): (Pid, u64),
        value: &T,
        packet: &Packet,
        blob: &mut Option<Blob>,
        deadline: Deadline,
    ) -> Result<Sending, SendError> {
        if packet.parts() == 1 {
            return self.transmit(to, number, deadline, None, |socket| {
                packet.send_part(0, socket, &[], Deadline::Now)
            });
        }
        let blob = match blob {
            Some(blob) => blob,
            none => none.insert(packet.blob(value).map_err(of_blob)?),
        };
        self.transmit(to, number, deadline, None, |socket| {
            packet.send_blob(blob, socket, &[], Deadline::Now)
        })
    }

    fn send_parts<T: Term>(
        &mut self,
        (to, number): (Pid, u64),
        value: &T,
        packet: &mut Packet,
    ) -> Result<Sending, SendError> {
        if packet.parts() == 1 {
            return self.transmit(to, number, Deadline::Never, None, |socket| {
                packet.send_part(0, socket, &[], Deadline::Now)
            });
        }
        let Some(turn) = self.begin_parts(number)? else {
            return Ok(Sending::Ended);
        };
        packet.set_id(turn);
        let mut message = Underway {
            site: self,
            number,
            to,
            is_half: false,
        };
        let sent = packet.send_parts(value, |part| {
            let site = &mut *message.site;
            let attempt = |socket: &Socket| part.send(socket, Deadline::Now);
            match site.transmit(to, number, Deadline::Never, Some(turn), attempt)? {
                Sending::Done => {
                    message.is_half = !part.withdraws();
                    Ok(())
                }
                Sending::Ended => Err(Stopped::Ended),
            }
        });
        match sent {
            Ok(()) => message.is_half = false,
            Err(Stopped::Ended) => return Ok(Sending::Ended),
            Err(Stopped::Failed(error)) => return Err(error),
        }
        Ok(Sending::Done)
    }

    fn send_to_oneself<T: Term>(
        &mut self,
        me: Pid,
        value: &T,
        packet: &mut Packet,
    ) -> Result<(), SendError> {
        let envelope = std::mem::take(packet).into_envelope_of(value)?;
        let mut core = self.hold.core();
        let before = core.arrivals.len();
        core.arrivals.push(Message::sent(me, envelope));
        core.tally.sent(core.tally.own);
        core.count_since(before, None, true);
        core.tell(self.owner);
        Ok(())
    }

    /// Waits until nobody else is in the middle of a message on this connection, and has it for oneself. The number of the
    /// message; `None` if the connection has ended.
    fn begin_parts(&mut self, number: u64) -> Result<Option<u32>, SendError> {
        loop {
            let mut core = self.core();
            let Some(peer) = core.peers.get_mut(number) else {
                return Ok(None);
            };
            if peer.sender.is_none() {
                let turn = peer.number_message();
                peer.sender = Some(turn);
                peer.sends_on = Some(thread::current().id());
                return Ok(Some(turn));
            }
            drop(core);
            self.wait_for_room(number, None, Deadline::Never)?;
        }
    }

    /// Does `attempt` until there is room, taking in what arrives meanwhile. `turn` is that of who is in the middle of a
    /// message; all others wait until that one is done.
    fn transmit(
        &mut self,
        to: Pid,
        number: u64,
        deadline: Deadline,
        turn: Option<u32>,
        attempt: impl Fn(&Socket) -> Result<(), occ_sck::SendError>,
    ) -> Result<Sending, SendError> {
        let owner = self.owner;
        loop {
            let mut core = self.core();
            // It may have ended while we waited.
            let Some(peer) = core.peers.get_mut(number) else {
                return Ok(Sending::Ended);
            };
            let sent = if peer.sender == turn {
                attempt(&peer.socket)
            } else {
                Err(occ_sck::SendError::Full)
            };
            match sent {
                Ok(()) => return Ok(Sending::Done),
                Err(occ_sck::SendError::Full) if deadline.passed() => {
                    return Err(SendError::Full { to });
                }
                // It has said that nobody is to wait for it, and nothing of this message is under way.
                Err(occ_sck::SendError::Full) if peer.rejects && turn.is_none() => {
                    return Err(SendError::Full { to });
                }
                Err(occ_sck::SendError::Full) => {
                    drop(core);
                    self.wait_for_room(number, turn, deadline)?;
                }
                Err(occ_sck::SendError::Closed) => {
                    // What it had sent before it closed is still to be received.
                    let standing = core.close(number).unwrap_or(Standing::Broken);
                    core.stands(to, standing);
                    core.tell(owner);
                    return Ok(Sending::Ended);
                }
                // A long message goes as a descriptor, and the kernel lets a user without privileges have so many under
                // way, in all processes (`RLIMIT_NOFILE`, unix(7)). That is no room, too.
                Err(occ_sck::SendError::TooManyInFlight { .. }) => {
                    if deadline.passed() {
                        return Err(SendError::Full { to });
                    }
                    drop(core);
                    self.take_in(deadline.no_later_than(MOMENT))?;
                }
                Err(occ_sck::SendError::Io { op, source }) => {
                    return Err(SendError::Io { op, source });
                }
                Err(other) => {
                    return Err(SendError::Io {
                        op: "sendmsg",
                        source: other.into(),
                    });
                }
            }
        }
    }

    /// Waits until the peer has room, or it is one's turn, or something has arrived here, and takes that in.
    fn wait_for_room(
        &mut self,
        number: u64,
        turn: Option<u32>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let shared = self.hold.is_shared();
        let mut core = self.hold.core();
        // Another thread may have heard of that, and epoll tells nobody else.
        if core.down {
            return Err(SendError::SystemDown);
        }
        let before = core.arrivals.len();
        core.cool_or_close();
        core.resume_all(true);
        // Of one that there is no room to watch over, what it held is here.
        if core.arrivals.len() != before {
            core.tell(self.owner);
        }
        let Some(peer) = core.peers.get_mut(number) else {
            return Ok(());
        };
        let room = if peer.sender == turn {
            PollFlags::OUT
        } else if peer.sends_on == Some(thread::current().id()) {
            // It is encoding that message, and would wait for itself.
            return Err(SendError::Reentrant);
        } else {
            // Whoever is in the middle of a message rings when it is done.
            PollFlags::empty()
        };
        let socket = Arc::clone(&peer.socket);
        let epoll = Arc::clone(&core.epoll);
        let parked = if shared {
            Parked::new(&mut core, self.seat)
        } else {
            Parked::ALONE
        };
        drop(core);
        let fds = [
            PollFd::new(&*socket, room),
            PollFd::new(&*epoll, PollFlags::IN),
        ];
        let waited = parked.wait(&fds, deadline);
        parked.leave(&mut self.core());
        let waited = waited.map_err(|source| SendError::Io {
            op: "poll",
            source: source.into(),
        })?;
        if !waited[1].is_empty() {
            self.take_in(Deadline::Now)?;
        }
        Ok(())
    }

    /// Takes in what arrives until the deadline.
    fn take_in(&mut self, deadline: Deadline) -> Result<(), SendError> {
        let came = self.pump(deadline, Turn::Sender);
        // Nobody is held up by such a limit, so this would go on and on. Only on the thread that receives: it may end the
        // process, and two that end it at once wait for each other.
        if self.owner {
            self.core().tell_over();
        }
        match came {
            Err(ReceiveError::Io { op, source }) => Err(SendError::Io { op, source }),
            _ if self.core().down => Err(SendError::SystemDown),
            _ => Ok(()),
        }
    }

    /// A connection has ended: finds out whether its process has too, unless there is another connection by
    /// now. One rule, whatever state it was in.
    fn after_the_end(&mut self, to: Pid, way: Way) -> Result<(), SendError> {
        let core = self.core();
        if core.peers.number(to).is_some() {
            return Ok(());
        }
        // Not asked for again at once: the peer would be no better off, and we would go on for ever.
        if core.standing.get(&to) == Some(&Standing::Missed) {
            return Err(refusal(to, Refusal::TooManyPeers));
        }
        drop(core);
        self.connect(to, way).map(drop)
    }

    /// Asks for a connection, and waits for the answer.
    fn connect(&mut self, to: Pid, way: Way) -> Result<u64, SendError> {
        let ask = self.core().asks.begin(to);
        let answer = self.ask(ask, to, way);
        self.core().asks.end(ask);
        answer
    }

    fn ask(&mut self, ask: u64, to: Pid, way: Way) -> Result<u64, SendError> {
        let down = |Lost| SendError::SystemDown;
        let deadline = way.connected_by();
        let mut core = self.hold.core();
        if core.down {
            return Err(SendError::SystemDown);
        }
        // The other one may have asked first, and the answer may be here.
        if core.connector_is_readable() {
            core.hear();
            core.tell(self.owner);
        }
        if let Some(answer) = answer(&core, ask, to) {
            return answer;
        }
        drop(core);
        let mut standing = Standing::New;
        let asked = self.attend_until_said(way.by(), |core| {
            standing = core.standing.get(&to).copied().unwrap_or(Standing::New);
            request(core, ask, to, standing)
        });
        match asked.map_err(down)? {
            Some(Asked::Now) => {}
            Some(Asked::NeedNot(answer)) => return answer,
            None => return Err(SendError::Full { to }),
        }
        let answered = self.attend_until(deadline, |core| answer(core, ask, to));
        if let Ok(Some(Err(SendError::NoInbox { .. }))) = answered
            && let Some(source) = self.core().connector.failure(to)
        {
            let op = "connect";
            return Err(SendError::Io { op, source });
        }
        answered.map_err(down)?.unwrap_or(Err(match standing {
            // It has ended the connection, and nobody has called it dead.
            Standing::Broken if !C::BY_ADDRESS => SendError::NoInbox { to },
            Standing::Broken | Standing::New | Standing::Missed => SendError::Full { to },
        }))
    }
}

/// What became of a question.
enum Asked {
    Now,
    /// It has been answered before it was put, or never will be.
    NeedNot(Result<u64, SendError>),
}

/// Puts the question, unless that is needless by now. `None` when there is no room for it.
fn request<C: Connector>(
    core: &mut Core<C>,
    ask: u64,
    to: Pid,
    standing: Standing,
) -> Option<Asked> {
    if let Some(answer) = answer(core, ask, to) {
        return Some(Asked::NeedNot(answer));
    }
    if core.down {
        return Some(Asked::NeedNot(Err(SendError::SystemDown)));
    }
    match core.connector.request(to, standing) {
        Ok(()) => {
            core.asks.requested(ask);
            Some(Asked::Now)
        }
        Err(NotAsked::Lost) => Some(Asked::NeedNot(Err(SendError::SystemDown))),
        Err(NotAsked::Full) => None,
    }
}

/// Whether there is a connection with `to`, as far as has been heard.
fn answer<C>(core: &Core<C>, ask: u64, to: Pid) -> Option<Result<u64, SendError>> {
    match core.peers.number(to) {
        Some(number) => Some(Ok(number)),
        None => core.asks.refusal(ask).map(|why| Err(refusal(to, why))),
    }
}

/// A message of several parts that is under way: nobody else sends on its connection until it has come to its end.
struct Underway<'a, 'b, C: Connector> {
    site: &'a mut Site<'b, C>,
    to: Pid,
    number: u64,
    /// Some of it has been sent, and not all.
    is_half: bool,
}

impl<C: Connector> Drop for Underway<'_, '_, C> {
    fn drop(&mut self) {
        let owner = self.site.owner;
        let mut core = self.site.core();
        let policy = core.flow.policy();
        if self.is_half {
            // The peer would take the next message for the rest of this one. Of a connection that has ended meanwhile it is noted
            // how; the peer may be dead, or have another.
            if core.peers.get(self.number).is_some() {
                let standing = core.close(self.number).unwrap_or(Standing::Broken);
                core.stands(self.to, standing);
            }
        } else if let Some(peer) = core.peers.get_mut(self.number) {
            peer.end_parts(policy);
        }
        core.tell(owner);
    }
}

/// Why the parts of a message do not go on.
enum Stopped {
    /// The connection has ended.
    Ended,
    Failed(SendError),
}

impl<E: Into<SendError>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped::Failed(error.into())
    }
}

fn refusal(to: Pid, why: Refusal) -> SendError {
    match why {
        Refusal::NoProcess => SendError::NoProcess { to },
        Refusal::NoInbox => SendError::NoInbox { to },
        Refusal::TooManyPeers => SendError::TooManyPeers { to },
    }
}

fn of_blob(error: occ_sck::SendError) -> SendError {
    match error {
        occ_sck::SendError::Blob(BlobError::Io { op, source, .. }) => SendError::Io { op, source },
        occ_sck::SendError::Encode(error) => error.into(),
        other => SendError::Io {
            op: "memfd_create",
            source: other.into(),
        },
    }
}
