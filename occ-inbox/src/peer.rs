//! One connection, and all of them by number and by name.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::ThreadId;

use occ_sck::{
    Assembler, Deadline, FrameError, Header, Limits, Packet, ReceiveError, Received, SendError,
    Socket, kind,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use thiserror::Error;

use crate::error::Cause;
use crate::flow::{Policy, Unread};
use crate::message::Message;
use crate::pid::Pid;
use crate::pump::Look;
use crate::sent::{Intake, Sent};

/// The kind of the frame that says: there is no room for this connection here.
///
/// It is the last that comes on one. Whoever reads it may ask for another connection, and knows that what it has sent
/// on this one was received.
const NO_ROOM: u8 = kind::USER + 1;

/// The kind of the frame that says whether senders are to wait for room: a `bool`.
const WAITS: u8 = kind::USER + 2;

/// The kind of the frame that says: from here on, descriptors may come. Those that come on a connection before it are closed, so
/// that messages without any, which are most, are received without a look for them.
const FDS: u8 = kind::USER + 4;

/// A connection with another process.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pid: Pid,
    /// Shared with those who wait for room on it.
    pub(crate) socket: Arc<Socket>,
    /// Who is sending a message of several parts on it, and has not come to its end.
    pub(crate) sender: Option<u32>,
    /// Which thread that is.
    pub(crate) sends_on: Option<ThreadId>,
    /// What it has sent that nobody has received.
    pub(crate) unread: Unread,
    /// Its number where what is sent to it is counted.
    pub(crate) tally: Option<u32>,
    /// It wants nobody to wait for room in its inbox.
    pub(crate) rejects: bool,
    /// It has not been told what the policy here is, because somebody is in the middle of a message.
    untold: bool,
    /// It was made on our wish, or on that of both.
    pub(crate) ours: bool,
    /// The other connection with the same process, where both have asked for one at the same instant.
    pub(crate) twin: Option<u64>,
    /// It is the one of the two that is not sent on.
    pub(crate) beside: bool,
    assembler: Assembler,
    /// Messages sent on it, to number their parts.
    sent: u32,
    /// It had more than its turn when it was last looked at.
    pub(crate) has_more: bool,
    /// What came last on it was short, and so is likely to be what comes next.
    sends_short: bool,
    /// It has said that descriptors may come on it. In a batch all of them would be taken before the first is used, and there
    /// may not be room for as many.
    passes_fds: bool,
    /// It has been told the same of us.
    pub(crate) told_of_fds: bool,
    /// A datagram was lost with its descriptors, and what follows may be the rest of its message.
    amid_lost: bool,
}

/// The longest datagram that is called short: in a batch of them none displaces another from where the processor has it
/// near.
const SHORT: usize = 4096;

/// What a look at a connection found.
pub(crate) enum Arrival {
    Message(Message),
    /// A part of one.
    Part,
    /// The next message is lost, for want of a descriptor.
    Lost,
    Nothing,
    Ended(Ending),
}

/// How a connection ends.
pub(crate) enum Ending {
    /// The peer has closed it, or died.
    Closed,
    /// The peer has no room for it.
    NoRoom,
    /// It carries what no inbox sends.
    Broken(Cause),
}

#[derive(Debug, Error)]
#[error("a frame of kind {kind} does not go from process to process")]
struct Stray {
    kind: u8,
}

impl Peer {
    pub(crate) fn new(pid: Pid, socket: Socket, ours: bool) -> Peer {
        let assembler = Assembler::new(Limits::default());
        Peer {
            pid,
            socket: Arc::new(socket),
            sender: None,
            sends_on: None,
            unread: Unread::default(),
            tally: None,
            rejects: false,
            untold: false,
            ours,
            twin: None,
            beside: false,
            assembler,
            sent: 0,
            has_more: false,
            sends_short: false,
            passes_fds: false,
            told_of_fds: false,
            amid_lost: false,
        }
    }

    /// A number for the next message.
    pub(crate) fn number_message(&mut self) -> u32 {
        self.sent = self.sent.wrapping_add(1);
        self.sent
    }

    /// Receives one datagram, without waiting.
    pub(crate) fn receive(&mut self, intake: &mut Intake) -> Arrival {
        let mut fds: Vec<OwnedFd> = Vec::new();
        let received = if self.passes_fds {
            self.socket.receive(intake.room(), &mut fds, Deadline::Now)
        } else {
            self.socket.receive_bytes(intake.room())
        };
        let len = match received {
            Ok(Received::Datagram { len, .. }) => len,
            Ok(Received::Nothing) => return Arrival::Nothing,
            Ok(Received::Closed) => return Arrival::Ended(Ending::Closed),
            Err(ReceiveError::Frame(FrameError::FdsLost)) => {
                // Nobody knows how long it was.
                intake.count(1);
                return self.lose();
            }
            Err(error) => return Arrival::Ended(Ending::Broken(error.into())),
        };
        intake.count(len);
        if let Some(header) = self.whole(intake.datagram(len))
            && fds.is_empty()
        {
            return Arrival::Message(Message::whole(self.pid, intake.take(&header, len)));
        }
        if self.begins_long(intake.datagram(len))
            && let Some(body) = intake.body()
        {
            self.assembler.lend(body);
        }
        self.assemble(intake.datagram(len), fds)
    }

    /// Receives as many datagrams as fit into a batch, without waiting, up to one that ends the connection.
    pub(crate) fn receive_batch(
        &mut self,
        intake: &mut Intake,
        mut take: impl FnMut(Arrival) -> Look,
    ) -> Look {
        let (batch, counted) = intake.batch();
        if let Err(error) = self.socket.receive_batch(batch) {
            return take(Arrival::Ended(Ending::Broken(error.into())));
        }
        let full = batch.is_full();
        for datagram in batch.drain() {
            let arrival = match datagram {
                Ok((datagram, mut fds)) => {
                    *counted += datagram.len() as u64;
                    if !self.passes_fds {
                        fds.clear();
                    }
                    match self.whole(datagram) {
                        Some(header) if fds.is_empty() => Arrival::Message(Message::whole(
                            self.pid,
                            Sent::copied(&header, datagram),
                        )),
                        _ => self.assemble(datagram, fds),
                    }
                }
                Err(FrameError::FdsLost) => {
                    *counted += 1;
                    self.lose()
                }
                Err(error) => Arrival::Ended(Ending::Broken(ReceiveError::from(error).into())),
            };
            // Of what comes after the end nothing is received.
            if let look @ Look::Ended(_) = take(arrival) {
                return look;
            }
        }
        if full { Look::More } else { Look::Nothing }
    }

    /// True when it pays to receive more than one datagram at a time.
    pub(crate) fn streams_short(&self) -> bool {
        self.has_more && self.sends_short && !self.passes_fds
    }

    /// The header of a message that is whole, as most are.
    #[inline]
    fn whole(&mut self, datagram: &[u8]) -> Option<Header> {
        self.sends_short = datagram.len() <= SHORT;
        if self.assembler.is_partial() {
            return None;
        }
        let header = Header::parse_whole(datagram).filter(|header| header.kind == kind::USER)?;
        self.amid_lost = false;
        Some(header)
    }

    /// Whether it is the first of several parts.
    #[inline]
    fn begins_long(&self, datagram: &[u8]) -> bool {
        datagram.len() > SHORT
            && !self.assembler.is_partial()
            && Header::parse(datagram).is_ok_and(|(header, _, _)| header.parts > 1)
    }

    /// A datagram is lost with its descriptors. Those come with the first part of a message.
    fn lose(&mut self) -> Arrival {
        self.amid_lost = true;
        Arrival::Lost
    }

    /// Whether it is a part of a message whose first part was lost.
    fn is_of_lost(&mut self, datagram: &[u8]) -> bool {
        self.amid_lost =
            self.amid_lost && Header::parse(datagram).is_ok_and(|(header, _, _)| header.part > 0);
        self.amid_lost
    }

    /// Any other datagram.
    fn assemble(&mut self, datagram: &[u8], fds: Vec<OwnedFd>) -> Arrival {
        if self.is_of_lost(datagram) {
            return Arrival::Part;
        }
        // One thread of the peer may be amid a message where another finds that there is no room.
        if self.is_within() && says_no_room(datagram) {
            return Arrival::Ended(Ending::NoRoom);
        }
        match self.assembler.push(datagram, fds) {
            Ok(None) => Arrival::Part,
            Ok(Some(envelope)) => match envelope.kind {
                kind::USER => Arrival::Message(Message::sent(self.pid, envelope)),
                NO_ROOM => Arrival::Ended(Ending::NoRoom),
                WAITS => match envelope.decode::<bool>() {
                    Ok(waits) => {
                        self.rejects = !waits;
                        Arrival::Part
                    }
                    Err(error) => Arrival::Ended(Ending::Broken(error.into())),
                },
                FDS => {
                    self.passes_fds = true;
                    Arrival::Part
                }
                // Control comes from the coordinator alone, on its own socket.
                kind => Arrival::Ended(Ending::Broken(Stray { kind }.into())),
            },
            Err(error) => Arrival::Ended(Ending::Broken(error.into())),
        }
    }

    /// Nobody is in the middle of a message any more.
    pub(crate) fn end_parts(&mut self, policy: Policy) {
        self.sender = None;
        self.sends_on = None;
        if self.untold {
            self.tell_policy(policy);
        }
    }

    /// Tells the peer whether to wait for room in this inbox. If there is none in its own socket it is not told, and
    /// waits. In the middle of a message it would take that for a part of it, and is told afterwards.
    pub(crate) fn tell_policy(&mut self, policy: Policy) {
        self.untold = self.sender.is_some();
        if self.untold {
            return;
        }
        if let Ok(packet) = Packet::of(WAITS, &(policy != Policy::Reject)) {
            let _ = packet.send_part(0, &self.socket, &[], Deadline::Now);
        }
    }

    /// Tells the peer that descriptors may come.
    ///
    /// # Errors
    ///
    /// As [`Packet::send_part`], and the peer has not been told.
    pub(crate) fn tell_of_fds(socket: &Socket) -> Result<(), SendError> {
        let packet = Packet::of(FDS, &()).map_err(SendError::Encode)?;
        packet.send_part(0, socket, &[], Deadline::Now)
    }

    /// In the middle of a message.
    pub(crate) fn is_within(&self) -> bool {
        self.assembler.is_partial()
    }

    /// Descriptors may come on it.
    pub(crate) fn passes_fds(&self) -> bool {
        self.passes_fds
    }

    /// Tells the peer that it is not to send any more on this connection.
    pub(crate) fn say_no_room(&self) {
        // There is room on a new connection; and a peer that has gone need not be told.
        if let Ok(packet) = Packet::of(NO_ROOM, &()) {
            let _ = packet.send_part(0, &self.socket, &[], Deadline::Now);
        }
    }

    /// The peer has ended it, or died; something that it sent may be left.
    pub(crate) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&*self.socket, PollFlags::RDHUP)];
        !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0))
    }

    /// Lets nothing more in than what is there already: whoever sends now is told that the connection has ended. Without
    /// this, what is there could be looked at to the end and there would be more, from a fork of the peer that
    /// goes on sending.
    pub(crate) fn shut(&self) {
        // ENOTCONN, when the peer went first, is what was wanted.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Read);
    }
}

fn says_no_room(datagram: &[u8]) -> bool {
    Header::parse(datagram).is_ok_and(|(header, _, _)| header.kind == NO_ROOM)
}

/// The connections of a process.
///
/// The number under which epoll knows one is its place and how often that place was used, so that news that was
/// fetched before a connection ended is not taken for news of the next.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    places: Vec<Place>,
    free: Vec<u32>,
    numbers: HashMap<Pid, u64, BuildHasherDefault<PidHasher>>,
    /// The one that was looked for last: mostly it is the next, too.
    found: Cell<Option<(Pid, u64)>>,
    begun: u64,
}

#[derive(Debug, Default)]
struct Place {
    used: u32,
    peer: Option<Peer>,
}

impl Peers {
    /// Takes a connection, in the place of none with the same process.
    pub(crate) fn insert(&mut self, peer: Peer) -> u64 {
        let pid = peer.pid;
        let number = self.place(peer);
        self.numbers.insert(pid, number);
        self.found.set(None);
        number
    }

    /// Takes a second connection with the same process, that is not sent on.
    pub(crate) fn insert_beside(&mut self, mut peer: Peer, main: u64) -> u64 {
        peer.twin = Some(main);
        peer.beside = true;
        let number = self.place(peer);
        if let Some(main) = self.get_mut(main) {
            main.twin = Some(number);
        }
        number
    }

    fn place(&mut self, peer: Peer) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            // Each has a descriptor, and those are numbers of 31 bits.
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let number = u64::from(place.used) << 32 | u64::from(index);
        place.peer = Some(peer);
        self.begun += 1;
        number
    }

    /// How many connections there have ever been.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    #[inline]
    pub(crate) fn number(&self, pid: Pid) -> Option<u64> {
        match self.found.get() {
            Some((found, number)) if found == pid => Some(number),
            _ => self.look_for(pid),
        }
    }

    fn look_for(&self, pid: Pid) -> Option<u64> {
        let number = self.numbers.get(&pid).copied()?;
        self.found.set(Some((pid, number)));
        Some(number)
    }

    /// The connection with a process that is sent on.
    #[inline]
    pub(crate) fn of(&self, pid: Pid) -> Option<&Peer> {
        self.get(self.number(pid)?)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Peer> {
        let place = self.places.get_mut(number as u32 as usize)?;
        place
            .peer
            .as_mut()
            .filter(|_| place.used == (number >> 32) as u32)
    }

    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<&Peer> {
        let place = self.places.get(number as u32 as usize)?;
        place
            .peer
            .as_ref()
            .filter(|_| place.used == (number >> 32) as u32)
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The numbers of all.
    pub(crate) fn all(&self) -> Vec<u64> {
        let twins = self
            .numbers
            .values()
            .filter_map(|main| self.get(*main)?.twin);
        self.numbers.values().copied().chain(twins).collect()
    }

    /// The connection that is sent on, of the process that this one is with.
    pub(crate) fn main_of(&self, number: u64) -> u64 {
        match self.get(number) {
            Some(peer) if peer.beside => peer.twin.unwrap_or(number),
            _ => number,
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Peer> {
        self.get_mut(number)?;
        let index = number as u32;
        let place = &mut self.places[index as usize];
        let peer = place.peer.take()?;
        place.used = place.used.wrapping_add(1);
        self.free.push(index);
        if !peer.beside {
            self.numbers.remove(&peer.pid);
            self.found.set(None);
        }
        Some(peer)
    }
}

/// Hashes pids. They are counted up by whoever makes the connections, so there is nobody to guard against.
#[derive(Default)]
pub(crate) struct PidHasher(u64);

impl Hasher for PidHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        // The high bits of a product depend on all bits of its factors; they are brought down for the next.
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
