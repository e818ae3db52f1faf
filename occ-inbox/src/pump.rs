//! Waiting, and bringing what arrives on any connection into the one queue.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use occ_sck::Deadline;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::connector::{Connector, Standing};
use crate::error::ReceiveError;
use crate::inbox::{CONNECTOR, Inbox};
use crate::peer::{Arrival, Ending};
use crate::pid::Pid;
use crate::queue::Loss;

/// Connections that one look at epoll(7) tells of.
const EVENTS: usize = 64;

/// The longest single wait. Older kernels count it in milliseconds and 31 bits; whoever waits longer waits
/// again.
const WAIT: Duration = Duration::from_secs(3600);

/// How much is taken from one connection before the others have their turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// One datagram. Whoever asks gets one answer, and to look for a second would be in vain.
    Answer,
    /// Some.
    Stream,
    /// All that is there when the turn begins.
    All,
}

/// No more bytes than the processor keeps near until they are decoded.
const STREAM: u64 = 128 * 1024;

impl Turn {
    fn datagrams(self) -> usize {
        match self {
            Turn::Answer => 1,
            Turn::Stream => 64,
            Turn::All => usize::MAX,
        }
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
        let turn = if self.streaming {
            Turn::Stream
        } else {
            Turn::Answer
        };
        self.pump_by(deadline, turn)
    }

    /// Brings in what is here now, and of what arrives meanwhile no more than a little: whoever is past
    /// its deadline is not held up by those who go on sending.
    ///
    /// # Errors
    ///
    /// As [`Inbox::pump`]; something may have been brought in all the same.
    pub(crate) fn sweep(&mut self) -> Result<(), ReceiveError> {
        let begun = self.peers.begun();
        self.sweep_once()?;
        // What came on a connection that we hear of only now has been here for as long.
        if self.peers.begun() != begun {
            self.sweep_once()?;
        }
        Ok(())
    }

    fn sweep_once(&mut self) -> Result<(), ReceiveError> {
        for _ in 0..=self.peers.len() / EVENTS {
            if !self.pump_by(Deadline::Now, Turn::All)? {
                break;
            }
        }
        Ok(())
    }

    fn pump_by(&mut self, deadline: Deadline, turn: Turn) -> Result<bool, ReceiveError> {
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        // Once the system is down, what the peers had sent is still there, and nothing more will come.
        let deadline = if self.down { Deadline::Now } else { deadline };
        let ready = loop {
            match epoll::wait(&self.epoll, &mut space, wait_time(deadline).as_ref()) {
                Ok((ready, _)) if !ready.is_empty() => break ready,
                Ok(_) if self.down => return Err(ReceiveError::SystemDown),
                Ok(_) if deadline.passed() => return Ok(false),
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(ReceiveError::Io {
                        op: "epoll_wait",
                        source: source.into(),
                    });
                }
            }
        };
        for event in ready.iter() {
            match event.data.u64() {
                CONNECTOR => self.hear(),
                number => self.take_turn(number, turn),
            }
        }
        Ok(true)
    }

    fn take_turn(&mut self, number: u64, turn: Turn) {
        let Some(peer) = self.peers.get_mut(number) else {
            return;
        };
        let bytes = match turn {
            Turn::Answer | Turn::Stream => STREAM,
            Turn::All => rustix::io::ioctl_fionread(&peer.socket).unwrap_or(STREAM),
        };
        let until = self.intake.received().saturating_add(bytes);
        for _ in 0..turn.datagrams() {
            let Some(peer) = self.peers.get_mut(number) else {
                return;
            };
            let pid = peer.pid;
            let arrival = peer.receive(&mut self.intake);
            match self.accept(pid, arrival) {
                Look::More if self.intake.received() < until => {}
                Look::More | Look::Nothing => return,
                Look::Ended(standing) => return self.lose(number, standing),
            }
        }
    }

    pub(crate) fn accept(&mut self, from: Pid, arrival: Arrival) -> Look {
        match arrival {
            Arrival::Message(message) => self.queue.push(message),
            Arrival::Part => {}
            Arrival::Lost => self.queue.push_loss(Loss::Message { from: Some(from) }),
            Arrival::Nothing => return Look::Nothing,
            Arrival::Ended(Ending::Closed) => return Look::Ended(Standing::Broken),
            Arrival::Ended(Ending::NoRoom) => return Look::Ended(Standing::Missed),
            Arrival::Ended(Ending::Broken(cause)) => {
                self.queue.push_loss(Loss::Connection { from, cause });
                return Look::Ended(Standing::Broken);
            }
        }
        Look::More
    }
}

/// How long to wait in one go.
fn wait_time(deadline: Deadline) -> Option<Timespec> {
    let Deadline::At(at) = deadline else {
        return deadline.timespec();
    };
    let longest = Instant::now().checked_add(WAIT).unwrap_or(at);
    Deadline::At(at.min(longest)).timespec()
}
