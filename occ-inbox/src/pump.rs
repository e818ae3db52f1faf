//! Waiting, and bringing what arrives on any connection into the one queue.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use occ_sck::{Batch, Deadline};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::connector::{Connector, Standing};
use crate::core::{Arrivals, CONNECTOR, Core};
use crate::error::ReceiveError;
use crate::inbox::Inbox;
use crate::peer::{Arrival, Ending};
use crate::pid::Pid;
use crate::queue::Loss;
use crate::site::Site;
use crate::wait::Parked;

/// Connections that one look at epoll(7) tells of.
const EVENTS: usize = 64;

/// The longest single wait. Older kernels count it in milliseconds and 31 bits; whoever waits longer waits
/// again.
const WAIT: Duration = Duration::from_secs(3600);

/// How much is taken from one connection before the others have their turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// One datagram. Whoever asks gets one answer, and to look for a second would be in vain.
    Answer,
    /// Some.
    Stream,
    /// As much, for one who waits for room: past the limits of the inbox, as far as that goes.
    Sender,
    /// All that is there when the turn begins.
    All,
}

/// No more bytes than the processor keeps near until they are decoded.
const STREAM: u64 = 128 * 1024;

impl Turn {
    fn datagrams(self) -> usize {
        match self {
            Turn::Answer => 1,
            Turn::Stream | Turn::Sender => 64,
            Turn::All => usize::MAX,
        }
    }

    /// There will be another one soon.
    fn goes_on(self) -> bool {
        matches!(self, Turn::Stream | Turn::Sender)
    }
}

/// What came of a look at a connection.
pub(crate) enum Look {
    More,
    Nothing,
    /// It has ended, and this is how one stands with the peer now.
    Ended(Standing),
}

impl<C: Connector> Inbox<C> {
    /// Brings what has arrived into the queue; waits for something if there is nothing. False when the
    /// deadline came first.
    ///
    /// # Errors
    ///
    /// The system is down and the queue as full as it will ever be.
    pub(crate) fn pump(&mut self, deadline: Deadline) -> Result<bool, ReceiveError> {
        let came = self.bring_in(deadline);
        self.collect();
        came
    }

    /// Brings what has arrived into memory, as [`Inbox::pump`] does, but not into the queue.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn bring_in(&mut self, deadline: Deadline) -> Result<bool, ReceiveError> {
        let turn = if self.streaming {
            Turn::Stream
        } else {
            Turn::Answer
        };
        self.site().pump(deadline, turn)
    }

    /// Brings in what is here now, and of what arrives meanwhile no more than a little: whoever is past
    /// its deadline is not held up by those who go on sending.
    ///
    /// # Errors
    ///
    /// As [`Inbox::pump`]; something may have been brought in all the same.
    pub(crate) fn sweep(&mut self) -> Result<(), ReceiveError> {
        if self.hold.is_of_a_fork() {
            return Err(ReceiveError::Forked);
        }
        let begun = self.hold.core().peers.begun();
        self.sweep_once()?;
        // What came on a connection that we hear of only now has been here for as long.
        if self.hold.core().peers.begun() != begun {
            self.sweep_once()?;
        }
        Ok(())
    }

    fn sweep_once(&mut self) -> Result<(), ReceiveError> {
        let peers = self.hold.core().peers.len();
        for _ in 0..=peers / EVENTS {
            if !self.pump_by(Deadline::Now, Turn::All)? {
                break;
            }
        }
        Ok(())
    }

    fn pump_by(&mut self, deadline: Deadline, turn: Turn) -> Result<bool, ReceiveError> {
        let came = self.site().pump(deadline, turn);
        self.collect();
        came
    }
}

impl<C: Connector> Site<'_, C> {
    /// Brings in what has arrived; waits for something if there is nothing, or for somebody else to have brought something
    /// in. False when the deadline came first.
    ///
    /// # Errors
    ///
    /// The system is down, and there is nothing that has not been brought in.
    pub(crate) fn pump(&mut self, deadline: Deadline, turn: Turn) -> Result<bool, ReceiveError> {
        let shared = self.hold.is_shared();
        loop {
            let mut core = self.hold.core();
            // Another thread was here before us. Who waits for room has to take in what is there all the same, and who
            // wants all of it has to look.
            let one_will_do = matches!(turn, Turn::Answer | Turn::Stream);
            if shared && self.owner && one_will_do && !core.arrivals.is_empty() {
                return Ok(true);
            }
            // Once the system is down, what the peers had sent is still there, and nothing more will come.
            let deadline = if core.down { Deadline::Now } else { deadline };
            let before = core.arrivals.len();
            core.resume_all(turn == Turn::Sender);
            // Of one that there is no room to watch over, what it held is here, and epoll does not tell of that.
            let here = core.arrivals.len() != before;
            let hot = here | core.take_hot_turn(turn);
            let wait = if hot || shared {
                Deadline::Now
            } else {
                deadline
            };
            let came = hot | core.wait(wait, turn).map_err(epoll_failed)?;
            if came {
                core.tell(self.owner);
                return Ok(true);
            }
            if core.down {
                return Err(ReceiveError::SystemDown);
            }
            if deadline.passed() {
                return Ok(false);
            }
            if shared {
                let parked = Parked::new(&mut core, self.seat);
                let epoll = Arc::clone(&core.epoll);
                drop(core);
                let here = PollFd::new(&*epoll, PollFlags::IN);
                let waited = parked.wait(&[here], deadline);
                parked.leave(&mut self.hold.core());
                waited.map_err(epoll_failed)?;
            }
        }
    }
}

fn epoll_failed(error: Errno) -> ReceiveError {
    ReceiveError::Io {
        op: "epoll_wait",
        source: error.into(),
    }
}

impl<C: Connector> Core<C> {
    /// Brings in what comes, until the deadline.
    fn wait(&mut self, deadline: Deadline, turn: Turn) -> rustix::io::Result<bool> {
        if !self.spins() || deadline == Deadline::Now {
            return self.bring_in(deadline, turn);
        }
        Ok(self.look_for_a_while(turn, deadline)? || self.sleep(deadline, turn)?)
    }

    /// Brings in what epoll tells of; waits for it. False when the deadline came first, or a signal.
    pub(crate) fn bring_in(&mut self, deadline: Deadline, turn: Turn) -> rustix::io::Result<bool> {
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let ready = match epoll::wait(&self.epoll, &mut space, wait_time(deadline).as_ref()) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error),
        };
        for event in ready.iter() {
            match event.data.u64() {
                CONNECTOR if turn == Turn::All => self.hear(),
                CONNECTOR => self.hear_one(),
                number => {
                    if let Look::More = self.take_turn(number, turn)
                        && turn.goes_on()
                    {
                        self.heat(number);
                    }
                }
            }
        }
        Ok(!ready.is_empty())
    }

    /// Brings in what the connection holds that is not in epoll, if there is one. False when that was nothing, and then
    /// there is none any more.
    fn take_hot_turn(&mut self, turn: Turn) -> bool {
        let Some(number) = self.hot.get() else {
            return false;
        };
        let before = self.intake.received();
        match self.take_turn(number, turn) {
            Look::More | Look::Ended(_) => true,
            Look::Nothing => {
                self.cool_or_close();
                self.intake.received() != before
            }
        }
    }

    /// Takes a connection out of epoll, if none is. It had more than its turn, so it will be looked at anyway; and with
    /// each message its sender would pay for telling epoll what is known here.
    fn heat(&mut self, number: u64) {
        if self.hot.get().is_none()
            && !self.watched.get()
            && let Some(peer) = self.peers.get_mut(number)
            && epoll::delete(&self.epoll, &*peer.socket).is_ok()
        {
            self.hot.set(Some(number));
            self.batches = self.has_room_for(Batch::CAPACITY);
        }
    }

    /// Whether so many descriptors could be received at once.
    fn has_room_for(&self, descriptors: usize) -> bool {
        let room: Vec<_> = (0..descriptors)
            .map_while(|_| self.epoll.try_clone().ok())
            .collect();
        room.len() == descriptors
    }

    /// Bytes that can be received on a connection now, or some.
    fn bytes_there(&self, number: u64) -> u64 {
        let peer = self.peers.get(number);
        peer.map_or(0, |peer| {
            rustix::io::ioctl_fionread(&*peer.socket).unwrap_or(STREAM)
        })
    }

    /// Brings in what a connection holds, as much as its turn is.
    pub(crate) fn take_turn(&mut self, number: u64, turn: Turn) -> Look {
        self.last = Some(number);
        let look = self.take_some(number, turn);
        if let Some(peer) = self.peers.get_mut(number) {
            peer.has_more = matches!(look, Look::More);
        }
        look
    }

    fn take_some(&mut self, number: u64, turn: Turn) -> Look {
        let bytes = match turn {
            Turn::Answer | Turn::Stream | Turn::Sender => STREAM,
            Turn::All => self.bytes_there(number),
        };
        let until = self.intake.received().saturating_add(bytes);
        let mut datagrams = turn.datagrams();
        while datagrams > 0 {
            if !self.admits(number, turn == Turn::Sender) {
                return Look::Nothing;
            }
            let batches = self.batches && self.hot.get() == Some(number) && !self.is_limited();
            let Some(peer) = self.peers.get_mut(number) else {
                return Look::Nothing;
            };
            let pid = peer.pid;
            let before = self.arrivals.len();
            let look = if turn.goes_on() && batches && peer.streams_short() {
                datagrams = datagrams.saturating_sub(Batch::CAPACITY);
                peer.receive_batch(&mut self.intake, |arrival| {
                    accept(&mut self.arrivals, pid, arrival)
                })
            } else {
                datagrams -= 1;
                let arrival = peer.receive(&mut self.intake);
                accept(&mut self.arrivals, pid, arrival)
            };
            let passes_fds = peer.passes_fds();
            self.count_since(before, Some(number), passes_fds);
            match look {
                Look::More if self.intake.received() < until => {}
                Look::More | Look::Nothing => return look,
                Look::Ended(standing) => {
                    self.lose(number, standing);
                    return look;
                }
            }
        }
        Look::More
    }
}

/// What follows from what a look found.
#[inline]
pub(crate) fn accept(arrivals: &mut Arrivals, from: Pid, arrival: Arrival) -> Look {
    match arrival {
        Arrival::Message(message) => arrivals.push(message),
        Arrival::Part => {}
        Arrival::Lost => arrivals.push_loss(Loss::Message { from }),
        Arrival::Nothing => return Look::Nothing,
        Arrival::Ended(Ending::Closed) => return Look::Ended(Standing::Broken),
        Arrival::Ended(Ending::NoRoom) => return Look::Ended(Standing::Missed),
        Arrival::Ended(Ending::Broken(cause)) => {
            arrivals.push_loss(Loss::Connection { from, cause });
            return Look::Ended(Standing::Broken);
        }
    }
    Look::More
}

/// How long to wait in one go.
fn wait_time(deadline: Deadline) -> Option<Timespec> {
    let Deadline::At(at) = deadline else {
        return deadline.timespec();
    };
    let longest = Instant::now().checked_add(WAIT).unwrap_or(at);
    Deadline::At(at.min(longest)).timespec()
}
