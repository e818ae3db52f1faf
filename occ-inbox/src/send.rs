//! Sending: a connection where there is none, room where there is none, and one rule for those that are gone.

use std::time::Duration;

use occ_sck::{Blob, BlobError, Deadline, Packet, Socket, Term, kind};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::connector::{Connector, Lost, Refusal, Standing};
use crate::error::{ReceiveError, SendError};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::pid::Pid;

/// How long one who does not want to wait waits for a connection to be made. Whoever makes it answers at once;
/// but the peer has to be told as well, and may not be listening.
const ANSWER: Duration = Duration::from_secs(1);

/// How long one waits for what nobody tells of, before one looks again.
const MOMENT: Duration = Duration::from_millis(5);

/// Memory that is kept from one message to the next.
const KEPT: usize = 1 << 20;

/// How a message is to be sent.
#[derive(Clone, Copy)]
enum Way {
    /// In parts, waiting for as long as it takes.
    Parts,
    /// Whole or not at all, by a deadline.
    Whole(Deadline),
}

impl Way {
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
        // Encode first: a value that cannot be encoded costs its sender an error, and nobody anything.
        let mut packet = std::mem::take(&mut self.packet);
        let result = packet
            .fill(kind::USER, value)
            .map_err(SendError::from)
            .and_then(|()| self.send_packet(to, &mut packet, way));
        if packet.payload().len() <= KEPT {
            self.packet = packet;
        }
        self.streaming = false;
        result
    }

    fn send_packet(&mut self, to: Pid, packet: &mut Packet, way: Way) -> Result<(), SendError> {
        if to == self.me {
            let envelope = std::mem::take(packet).into_envelope();
            self.queue.push(Message::sent(to, envelope));
            return Ok(());
        }
        if self.down {
            return Err(SendError::SystemDown);
        }
        let mut blob = None;
        loop {
            let number = match self.peers.number(to) {
                Some(number) => number,
                None => self.connect(to, way.connected_by())?,
            };
            let sending = match way {
                Way::Parts => self.send_parts(to, number, packet)?,
                Way::Whole(deadline) if packet.parts() == 1 => {
                    self.transmit(to, number, deadline, |socket| {
                        packet.send_part(0, socket, &[], Deadline::Now)
                    })?
                }
                Way::Whole(deadline) => {
                    let blob = match &mut blob {
                        Some(blob) => blob,
                        none => none.insert(Blob::new(packet.payload()).map_err(of_blob)?),
                    };
                    let (key, name) = (packet.key(), packet.type_name());
                    self.transmit(to, number, deadline, |socket| {
                        Packet::forward_blob(kind::USER, key, name, blob, socket, Deadline::Now)
                    })?
                }
            };
            match sending {
                Sending::Done => return Ok(()),
                // There may be a new one already, and then the message goes on that.
                Sending::Ended => self.after_the_end(to, way.connected_by())?,
            }
        }
    }

    fn send_parts(
        &mut self,
        to: Pid,
        number: u64,
        packet: &mut Packet,
    ) -> Result<Sending, SendError> {
        if let Some(peer) = self.peers.get_mut(number) {
            packet.set_id(peer.number_message());
        }
        for part in 0..packet.parts() {
            let sending = self.transmit(to, number, Deadline::Never, |socket| {
                packet.send_part(part, socket, &[], Deadline::Now)
            });
            if sending.is_err() && part > 0 {
                // Half a message is on its way, and the peer would take the next for the rest of it.
                self.close(number);
                self.standing.insert(to, Standing::Broken);
            }
            if sending? == Sending::Ended {
                return Ok(Sending::Ended);
            }
        }
        Ok(Sending::Done)
    }

    /// Does `attempt` until there is room, taking in what arrives meanwhile.
    fn transmit(
        &mut self,
        to: Pid,
        number: u64,
        deadline: Deadline,
        attempt: impl Fn(&Socket) -> Result<(), occ_sck::SendError>,
    ) -> Result<Sending, SendError> {
        loop {
            // It may have ended while we waited.
            let Some(peer) = self.peers.get_mut(number) else {
                return Ok(Sending::Ended);
            };
            match attempt(&peer.socket) {
                Ok(()) => return Ok(Sending::Done),
                Err(occ_sck::SendError::Full) if deadline.passed() => {
                    return Err(SendError::Full { to });
                }
                Err(occ_sck::SendError::Full) => self.wait_for_room(number, deadline)?,
                Err(occ_sck::SendError::Closed) => {
                    // What it had sent before it closed is still to be received.
                    let standing = self.close(number).unwrap_or(Standing::Broken);
                    self.standing.insert(to, standing);
                    return Ok(Sending::Ended);
                }
                // A long message goes as a descriptor, and the kernel lets a user without privileges have so many under
                // way, in all processes (`RLIMIT_NOFILE`, unix(7)). That is no room, too.
                Err(occ_sck::SendError::TooManyInFlight { .. }) => {
                    if deadline.passed() {
                        return Err(SendError::Full { to });
                    }
                    self.wait_a_little(deadline)?;
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

    /// Waits until the peer has room or something has arrived here, and takes that in.
    fn wait_for_room(&mut self, number: u64, deadline: Deadline) -> Result<(), SendError> {
        self.cool_or_close();
        let Some(peer) = self.peers.get_mut(number) else {
            return Ok(());
        };
        let mut fds = [
            PollFd::new(&peer.socket, PollFlags::OUT),
            PollFd::new(&self.epoll, PollFlags::IN),
        ];
        let arrived = match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
            Ok(_) => !fds[1].revents().is_empty(),
            Err(Errno::INTR) => false,
            Err(source) => {
                return Err(SendError::Io {
                    op: "poll",
                    source: source.into(),
                });
            }
        };
        if arrived {
            self.streaming = true;
            match self.pump(Deadline::Now) {
                Err(ReceiveError::Io { op, source }) => return Err(SendError::Io { op, source }),
                _ if self.down => return Err(SendError::SystemDown),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits for something to arrive, or for a moment, where the kernel does not tell when there is room.
    fn wait_a_little(&mut self, deadline: Deadline) -> Result<(), SendError> {
        self.streaming = true;
        match self.pump(deadline.no_later_than(MOMENT)) {
            Err(ReceiveError::Io { op, source }) => Err(SendError::Io { op, source }),
            _ if self.down => Err(SendError::SystemDown),
            _ => Ok(()),
        }
    }

    /// A connection has ended: finds out whether its process has too, unless there is another connection by
    /// now. One rule, whatever state it was in.
    fn after_the_end(&mut self, to: Pid, deadline: Deadline) -> Result<(), SendError> {
        if self.peers.number(to).is_some() {
            return Ok(());
        }
        // Not asked for again at once: the peer would be no better off, and we would go on for ever.
        if self.standing.get(&to) == Some(&Standing::Missed) {
            return Err(refusal(to, Refusal::TooManyPeers));
        }
        self.connect(to, deadline).map(drop)
    }

    /// Asks for a connection, and waits for the answer.
    fn connect(&mut self, to: Pid, deadline: Deadline) -> Result<u64, SendError> {
        self.refused = None;
        // The other one may have asked first, and the answer may be here.
        self.hear();
        if let Some(answer) = self.answer(to) {
            return answer;
        }
        if self.down {
            return Err(SendError::SystemDown);
        }
        let standing = self.standing.get(&to).copied().unwrap_or(Standing::New);
        self.asked = Some(to);
        let answer = self.ask(to, standing, deadline);
        self.asked = None;
        answer
    }

    fn ask(&mut self, to: Pid, standing: Standing, deadline: Deadline) -> Result<u64, SendError> {
        let down = |Lost| SendError::SystemDown;
        self.connector.request(to, standing).map_err(down)?;
        loop {
            self.attend(deadline).map_err(down)?;
            if let Some(answer) = self.answer(to) {
                return answer;
            }
            if deadline.passed() {
                return Err(match standing {
                    // It has ended the connection, and nobody has called it dead.
                    Standing::Broken => SendError::NoInbox { to },
                    Standing::New | Standing::Missed => SendError::Full { to },
                });
            }
        }
    }

    /// Whether there is a connection with `to`, as far as has been heard.
    fn answer(&mut self, to: Pid) -> Option<Result<u64, SendError>> {
        if let Some(number) = self.peers.number(to) {
            return Some(Ok(number));
        }
        let refused = self.refused.take_if(|(refused, _)| *refused == to);
        refused.map(|(_, why)| Err(refusal(to, why)))
    }
}

fn refusal(to: Pid, why: Refusal) -> SendError {
    match why {
        Refusal::NoProcess => SendError::NoProcess { to },
        Refusal::NoInbox => SendError::NoInbox { to },
        Refusal::TooManyPeers => SendError::TooManyPeers { to },
    }
}

fn of_blob(error: BlobError) -> SendError {
    match error {
        BlobError::Io { op, source, .. } => SendError::Io { op, source },
        other => SendError::Io {
            op: "memfd_create",
            source: std::io::Error::other(other),
        },
    }
}
