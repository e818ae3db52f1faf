//! What of an inbox every thread may use that has a handle: its connections, and what has arrived on them.
//!
//! The queue is not here. It belongs to the one thread that receives, which takes out what others have brought in.

use std::cell::{Cell, OnceCell};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use occ_sck::TypeKey;
use rustix::event::epoll;

use crate::connector::{Connector, Refusal, Standing};
use crate::flow::Flow;
use crate::info::Arrival;
use crate::message::Message;
use crate::peer::{Peers, PidHasher};
use crate::pid::Pid;
use crate::queue::{Loss, Queue};
use crate::sent::Intake;
use crate::spin::Spin;
use crate::tally::Tally;
use crate::wait::{Bell, Waiters};

/// What epoll calls the connector.
pub(crate) const CONNECTOR: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Core<C> {
    pub(crate) me: Pid,
    /// Before the connector, so that connections have ended when somebody else can be where it is.
    pub(crate) peers: Peers,
    pub(crate) connector: C,
    pub(crate) epoll: Arc<OwnedFd>,
    /// A descriptor that is given up for the moment in which one may arrive. Where a process has none left, a connection
    /// would be lost with everything that was sent on it; this way it is received, and the peer told.
    pub(crate) reserve: Option<OwnedFd>,
    /// What has arrived, and is on its way to the queue.
    pub(crate) arrivals: Arrivals,
    /// How we stand with those that we have no connection with, where that is not as if new.
    pub(crate) standing: HashMap<Pid, Standing, BuildHasherDefault<PidHasher>>,
    /// Those who wait for a connection.
    pub(crate) asks: Asks,
    /// How often the connector has had something to say.
    pub(crate) heard: u64,
    pub(crate) intake: Intake,
    pub(crate) flow: Flow,
    pub(crate) spin: Spin,
    pub(crate) tally: Tally,
    /// The connection that something came on last.
    pub(crate) last: Option<u64>,
    /// The connection that is not in epoll, because it has more to bring than can be looked at in one go. It may have
    /// ended since.
    pub(crate) hot: Cell<Option<u64>>,
    /// There was room for a batch of descriptors when that became so.
    pub(crate) batches: bool,
    /// Somebody else waits for our epoll, so it has to know all.
    pub(crate) watched: Cell<bool>,
    /// The connector has nobody left to work with.
    pub(crate) down: bool,
    /// There is no inbox any more, only handles of it.
    pub(crate) gone: bool,
    /// What the connector does then.
    inbox_gone: fn(&mut C),
    /// Threads that wait for something that another may do.
    pub(crate) waiters: Waiters,
    /// Rung when another thread than the inbox's has brought something in, if somebody waits for that in an event loop; and for good
    /// when nothing more will come.
    alarm: OnceCell<Bell>,
    alarmed: Cell<bool>,
}

/// Messages and losses, in the order in which they arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    line: VecDeque<Arrived>,
    /// When the first of them came, and how many those are, where others that came with them have been received.
    left: Option<(Arrival, usize)>,
}

#[derive(Debug)]
enum Arrived {
    Message(Message),
    Loss(Loss),
}

impl Arrivals {
    #[inline]
    pub(crate) fn push(&mut self, message: Message) {
        self.line.push_back(Arrived::Message(message));
    }

    pub(crate) fn push_loss(&mut self, loss: Loss) {
        self.line.push_back(Arrived::Loss(loss));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    /// The messages among them, from the one on that came after so many.
    pub(crate) fn messages_from(&self, at: usize) -> impl Iterator<Item = &Message> {
        self.line.range(at..).filter_map(|arrived| match arrived {
            Arrived::Message(message) => Some(message),
            Arrived::Loss(_) => None,
        })
    }

    /// The first, if it is a message of one of these types. Not where others have come since some of them were taken: it has to be
    /// written down when, and that is done in the queue.
    #[inline]
    pub(crate) fn take_first(&mut self, keys: &[TypeKey]) -> Option<Message> {
        let Some(Arrived::Message(first)) = self.line.front() else {
            return None;
        };
        if !keys.contains(&first.key()) {
            return None;
        }
        let all = self.line.len();
        self.left = match (self.left, all - 1) {
            (Some((_, those)), _) if those < all => return None,
            (_, 0) => None,
            (Some((came, _)), rest) => Some((came, rest)),
            (None, rest) => Some((Arrival::now(), rest)),
        };
        match self.line.pop_front() {
            Some(Arrived::Message(message)) => Some(message),
            Some(Arrived::Loss(_)) | None => None,
        }
    }

    /// Puts all of it into the queue.
    #[inline]
    pub(crate) fn move_to(&mut self, queue: &mut Queue) {
        if !self.line.is_empty() {
            self.move_all_to(queue);
        }
    }

    fn move_all_to(&mut self, queue: &mut Queue) {
        let (came, those) = match self.left.take() {
            Some((came, those)) => (Some(came), those),
            None => (None, 0),
        };
        // One that is alone is likely to be received at once, and nobody will ask when it came. If it is not, see
        // `Queue::stamp`.
        let many = self.line.len() > 1 || queue.len() > 0;
        let now = (many && self.line.len() > those).then(Arrival::now);
        for (at, arrived) in self.line.drain(..).enumerate() {
            let arrival = if at < those { came } else { now };
            match arrived {
                Arrived::Message(message) => queue.push_arrived(message, arrival),
                Arrived::Loss(loss) => queue.push_loss(loss),
            }
        }
    }
}

/// Those who wait for a connection, each with one process.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    asks: Vec<Ask>,
    last: u64,
}

#[derive(Debug)]
struct Ask {
    number: u64,
    to: Pid,
    /// The connector has been asked, so that an answer may be on its way.
    requested: bool,
    refused: Option<Refusal>,
}

impl Asks {
    /// Somebody waits for a connection with `to`, until [`Asks::end`].
    pub(crate) fn begin(&mut self, to: Pid) -> u64 {
        self.last += 1;
        self.asks.push(Ask {
            number: self.last,
            to,
            requested: false,
            refused: None,
        });
        self.last
    }

    pub(crate) fn requested(&mut self, number: u64) {
        for ask in self.asks.iter_mut().filter(|ask| ask.number == number) {
            ask.requested = true;
        }
    }

    pub(crate) fn end(&mut self, number: u64) {
        self.asks.retain(|ask| ask.number != number);
    }

    /// There will be no connection with `to`.
    pub(crate) fn refuse(&mut self, to: Pid, why: Refusal) {
        for ask in self.asks.iter_mut().filter(|ask| ask.to == to) {
            ask.refused = Some(why);
        }
    }

    /// There is one after all.
    pub(crate) fn grant(&mut self, to: Pid) {
        for ask in self.asks.iter_mut().filter(|ask| ask.to == to) {
            ask.refused = None;
        }
    }

    pub(crate) fn refusal(&self, number: u64) -> Option<Refusal> {
        let ask = self.asks.iter().find(|ask| ask.number == number)?;
        ask.refused
    }

    /// Whom the connector has been asked for connections with.
    pub(crate) fn asked(&self) -> Vec<Pid> {
        let requested = self.asks.iter().filter(|ask| ask.requested);
        requested.map(|ask| ask.to).collect()
    }
}

impl<C: Connector> Core<C> {
    /// # Errors
    ///
    /// No room for two file descriptors.
    pub(crate) fn new(me: Pid, connector: C) -> io::Result<Core<C>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(CONNECTOR);
        epoll::add(&epoll, connector.as_fd(), data, epoll::EventFlags::IN)?;
        let reserve = Some(epoll.try_clone()?);
        let tally = match connector.tallies() {
            Some((tallies, own)) => Tally {
                tallies: Some(tallies),
                own,
            },
            None => Tally::default(),
        };
        Ok(Core {
            me,
            connector,
            epoll: Arc::new(epoll),
            reserve,
            peers: Peers::default(),
            arrivals: Arrivals::default(),
            standing: HashMap::default(),
            asks: Asks::default(),
            heard: 0,
            intake: Intake::default(),
            flow: Flow::new(),
            spin: Spin::default(),
            tally,
            last: None,
            hot: Cell::new(None),
            batches: false,
            watched: Cell::new(false),
            down: false,
            gone: false,
            inbox_gone: C::inbox_gone,
            waiters: Waiters::default(),
            alarm: OnceCell::new(),
            alarmed: Cell::new(false),
        })
    }
}

impl<C> Core<C> {
    /// Whether a peer wants nobody to wait for room.
    pub(crate) fn rejects(&self, number: u64) -> bool {
        self.peers.get(number).is_some_and(|peer| peer.rejects)
    }

    /// Puts what has arrived into the queue.
    #[inline]
    pub(crate) fn hand_over(&mut self, queue: &mut Queue) {
        self.arrivals.move_to(queue);
        // Of the end of the system nothing else tells, so it rings on.
        if !self.down
            && self.alarmed.take()
            && let Some(alarm) = self.alarm.get()
        {
            alarm.still();
        }
    }

    /// Something has happened that others may wait for. If it was not the inbox's own thread that did it, somebody who waits
    /// for the inbox in an event loop may be one of them.
    pub(crate) fn tell(&self, owner: bool) {
        self.waiters.ring();
        if !owner && !self.arrivals.is_empty() {
            self.sound_alarm();
        }
    }

    /// Tells somebody who waits in an event loop.
    pub(crate) fn sound_alarm(&self) {
        if let Some(alarm) = self.alarm.get()
            && !self.alarmed.replace(true)
        {
            alarm.ring();
        }
    }

    pub(crate) fn alarm(&self) -> rustix::io::Result<Bell> {
        match self.alarm.get() {
            Some(alarm) => Ok(alarm.clone()),
            None => {
                let alarm = Bell::new()?;
                let _ = self.alarm.set(alarm.clone());
                // Of what was brought in before, nobody has been told.
                if self.down || !self.arrivals.is_empty() {
                    self.sound_alarm();
                }
                Ok(alarm)
            }
        }
    }

    /// Somebody waits for epoll who is not of us.
    pub(crate) fn watched_by_others(&self) {
        // It may be duplicated, and waited for for as long as the inbox lives.
        self.watched.set(true);
        // Where that fails, the next receive sees to it.
        let _ = self.cool();
    }

    /// The inbox is no more.
    pub(crate) fn go(&mut self) {
        self.down = true;
        self.gone = true;
        self.peers = Peers::default();
        (self.inbox_gone)(&mut self.connector);
        self.arrivals = Arrivals::default();
        self.waiters.ring();
    }

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
            if peer.unread.paused {
                return true;
            }
            let data = epoll::EventData::new_u64(number);
            epoll::add(&self.epoll, &*peer.socket, data, epoll::EventFlags::IN).is_ok()
        })
    }
}
