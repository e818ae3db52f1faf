//! The inbox: its connections, its queue, and how it stands with those that it has no connection with.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_sck::Packet;
use rustix::event::epoll;

use crate::connector::{Connector, Refusal, Standing};
use crate::message::Message;
use crate::peer::{Peers, PidHasher};
use crate::pid::Pid;
use crate::queue::Queue;
use crate::sent::Intake;

/// What epoll calls the connector.
pub(crate) const CONNECTOR: u64 = u64::MAX;

/// What a process is sent, from everywhere, in one queue.
///
/// One thread has it. See the [crate's page](crate) for an example.
#[derive(Debug)]
pub struct Inbox<C> {
    pub(crate) me: Pid,
    pub(crate) connector: C,
    pub(crate) epoll: OwnedFd,
    /// A descriptor that is given up for the moment in which one may arrive. Where a process has none left, a connection
    /// would be lost with everything that was sent on it; this way it is received, and the peer told.
    pub(crate) reserve: Option<OwnedFd>,
    pub(crate) peers: Peers,
    pub(crate) queue: Queue,
    /// How we stand with those that we have no connection with, where that is not as if new.
    pub(crate) standing: HashMap<Pid, Standing, BuildHasherDefault<PidHasher>>,
    /// Whom a connection is being asked for with.
    pub(crate) asked: Option<Pid>,
    /// The last answer about a process that there is no connection with.
    pub(crate) refused: Option<(Pid, Refusal)>,
    pub(crate) packet: Packet,
    pub(crate) intake: Intake,
    /// Nothing was sent since something was last received: the peers are likely to stream, and it pays to
    /// look for more than one message at a time.
    pub(crate) streaming: bool,
    /// The connection that is not in epoll, because it has more to bring than can be looked at in one go. It may have
    /// ended since.
    pub(crate) hot: Cell<Option<u64>>,
    /// There was room for a batch of descriptors when that became so.
    pub(crate) batches: bool,
    /// Somebody else waits for our epoll, so it has to know all.
    pub(crate) watched: Cell<bool>,
    /// The connector has nobody left to work with.
    pub(crate) down: bool,
}

impl<C: Connector> Inbox<C> {
    /// The inbox of the process `me`.
    ///
    /// # Errors
    ///
    /// No room for two file descriptors.
    pub fn new(me: Pid, connector: C) -> io::Result<Inbox<C>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(CONNECTOR);
        epoll::add(&epoll, connector.as_fd(), data, epoll::EventFlags::IN)?;
        let reserve = Some(epoll.try_clone()?);
        Ok(Inbox {
            me,
            connector,
            epoll,
            reserve,
            peers: Peers::default(),
            queue: Queue::default(),
            standing: HashMap::default(),
            asked: None,
            refused: None,
            packet: Packet::new(),
            intake: Intake::default(),
            streaming: false,
            hot: Cell::new(None),
            batches: false,
            watched: Cell::new(false),
            down: false,
        })
    }

    /// Whose inbox it is.
    pub fn pid(&self) -> Pid {
        self.me
    }

    /// The connector.
    pub fn connector(&mut self) -> &mut C {
        &mut self.connector
    }

    /// How many messages are in memory. More may be waiting in the kernel.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when no message is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes every message out of memory that `keep` does not want.
    pub fn retain(&mut self, keep: impl FnMut(&Message) -> bool) {
        self.queue.retain(keep);
    }
}

impl<C> Inbox<C> {
    /// Lets epoll watch over every connection again; the number of one for which it has no room any more.
    pub(crate) fn cool(&self) -> Result<(), u64> {
        match self.hot.get() {
            Some(number) if !self.watch(number) => Err(number),
            _ => {
                self.hot.set(None);
                Ok(())
            }
        }
    }

    /// Lets epoll watch over a connection; false when it has no room for that.
    pub(crate) fn watch(&self, number: u64) -> bool {
        self.peers.get(number).is_none_or(|peer| {
            let data = epoll::EventData::new_u64(number);
            epoll::add(&self.epoll, &peer.socket, data, epoll::EventFlags::IN).is_ok()
        })
    }
}

/// Readable when there may be more to receive than what is in memory.
impl<C> AsFd for Inbox<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // It may be duplicated, and waited for for as long as the inbox lives.
        self.watched.set(true);
        // Where that fails, the next receive sees to it.
        let _ = self.cool();
        self.epoll.as_fd()
    }
}
