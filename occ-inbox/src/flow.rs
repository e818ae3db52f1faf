//! How much waits in an inbox, and what happens when that is too much.
//!
//! Once as much waits as may, only those senders are read on that have less waiting than an equal share of it. The socket of
//! any other fills up, and it waits, or is told. So one that floods takes nothing from those that do not. A
//! message that has begun is read to its end, and each sender may have one unread.
//!
//! A process that waits for room elsewhere goes on reading past that, one socket buffer a sender, so that those who send to
//! each other within their limits do not wait for ever.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use rustix::event::epoll;
use rustix::process::{Resource, getrlimit};

use crate::connector::Connector;
use crate::core::Core;
use crate::inbox::Inbox;
use crate::message::Message;
use crate::peer::{Peer, PidHasher};
use crate::pid::Pid;
use crate::queue::Queue;

/// What a sender's socket holds: as much is taken past a share while one waits for room oneself.
const PAST: u64 = 1 << 20;

/// How much may wait in an inbox: see [`Inbox::set_limits`](crate::Inbox::set_limits).
///
/// ```
/// use occ_inbox::{InboxLimits, Policy};
///
/// let limits = InboxLimits { messages: 1000, policy: Policy::Reject, ..InboxLimits::default() };
/// assert_eq!(limits.bytes, u64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// Messages. Zero is as one, but with [`Policy::End`], where the first is too much then.
    pub messages: u64,
    /// Bytes of their encoded values. Zero is as one, too.
    pub bytes: u64,
    /// What happens when there is as much.
    pub policy: Policy,
}

impl Default for InboxLimits {
    /// None.
    fn default() -> InboxLimits {
        InboxLimits {
            messages: u64::MAX,
            bytes: u64::MAX,
            policy: Policy::Block,
        }
    }
}

/// What happens when an inbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Senders wait for room.
    #[default]
    Block,
    /// Senders do not wait: each send is `try_send`, and says [`Full`](crate::SendError::Full) once the kernel has no room for the
    /// sender either, which is up to a MiB later.
    Reject,
    /// The receiver is told, once: [`ReceiveError::OverLimit`](crate::ReceiveError::OverLimit). A process of a system ends
    /// with that. Until it is told, senders wait.
    End,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) fds: u64,
}

impl Load {
    pub(crate) fn of(message: &Message) -> Load {
        // Nobody could be made to wait with what the system says.
        if message.is_from_system() {
            return Load::default();
        }
        Load {
            messages: 1,
            bytes: message.size(),
            fds: message.fds(),
        }
    }

    fn add(&mut self, more: Load) {
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.fds += more.fds;
    }

    fn subtract(&mut self, less: Load) {
        self.messages = self.messages.saturating_sub(less.messages);
        self.bytes = self.bytes.saturating_sub(less.bytes);
        self.fds = self.fds.saturating_sub(less.fds);
    }

    #[inline]
    fn is_nothing(self) -> bool {
        self.messages | self.bytes | self.fds == 0
    }

    /// Whether there is as much as in a share of what may be there.
    fn fills(self, share: Load) -> bool {
        self.messages >= share.messages || self.bytes >= share.bytes || self.fds >= share.fds
    }

    fn share(self, peers: usize) -> Load {
        let peers = peers.max(1) as u64;
        Load {
            messages: (self.messages / peers).max(1),
            bytes: (self.bytes / peers).max(1),
            fds: (self.fds / peers).max(1),
        }
    }

    fn half(self) -> Load {
        Load {
            messages: self.messages.div_ceil(2),
            bytes: self.bytes.div_ceil(2),
            fds: self.fds.div_ceil(2),
        }
    }
}

/// The limits of an inbox, and what waits in it.
#[derive(Debug)]
pub(crate) struct Flow {
    limits: InboxLimits,
    /// There are limits, so all is counted. Messages with descriptors always are.
    counts: bool,
    /// Descriptors that may wait: half of what the process may have.
    fds: u64,
    /// From everybody.
    all: Load,
    /// There was too much, and no receive has told yet.
    over: Option<Load>,
    /// The connector knows.
    told: bool,
    /// Connections that are not read.
    paused: Vec<u64>,
    /// What those have sent with whom there is no connection any more. The next one begins with it: who connects anew has no
    /// more room than before.
    left: HashMap<Pid, Load, BuildHasherDefault<PidHasher>>,
}

impl Flow {
    pub(crate) fn new() -> Flow {
        Flow {
            limits: InboxLimits::default(),
            counts: false,
            fds: u64::MAX,
            all: Load::default(),
            over: None,
            told: false,
            paused: Vec::new(),
            left: HashMap::default(),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.limits.policy
    }

    /// There is too much, and whoever receives first is to be told.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// What was too much, for whoever receives first.
    pub(crate) fn take_over(&mut self) -> Option<(u64, u64)> {
        self.told = false;
        let over = self.over.take()?;
        Some((over.messages, over.bytes))
    }

    /// How much may wait. Of each sender there may be one message in any case, so less than one is as one.
    fn whole(&self) -> Load {
        let InboxLimits {
            messages,
            bytes,
            policy,
        } = self.limits;
        let fds = self.fds;
        // Who is to end, and has not been told yet, may be at something else for long, while its threads take in more.
        if policy == Policy::End && self.over.is_none() {
            return Load {
                messages: u64::MAX,
                bytes: u64::MAX,
                fds,
            };
        }
        Load {
            messages: messages.max(1),
            bytes: bytes.max(1),
            fds,
        }
    }

    fn arrived(&mut self, load: Load) {
        self.all.add(load);
        if load.fds > 0 && self.fds == u64::MAX {
            let room = getrlimit(Resource::Nofile).current;
            self.fds = room.map_or(u64::MAX, |room| room / 2);
        }
        let Load {
            messages, bytes, ..
        } = self.all;
        if self.limits.policy == Policy::End
            && (messages > self.limits.messages || bytes > self.limits.bytes)
        {
            self.over = Some(self.all);
        }
    }
}

/// What a peer has sent that nobody has received.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    load: Load,
    /// Bytes that were taken past its share, by one who waited for room.
    past: u64,
    /// It is not read.
    pub(crate) paused: bool,
}

impl<C: Connector> Core<C> {
    pub(crate) fn limit(&mut self, limits: InboxLimits) {
        self.flow.limits = limits;
        self.flow.counts = limits != InboxLimits::default();
        for number in self.peers.all() {
            if let Some(peer) = self.peers.get_mut(number) {
                peer.tell_policy(limits.policy);
            }
        }
    }

    /// Tells the connector that there is too much, once.
    pub(crate) fn tell_over(&mut self) {
        if let Some(over) = self.flow.over
            && !self.flow.told
        {
            self.flow.told = true;
            self.connector.over_limit(over.messages, over.bytes);
        }
    }

    /// Counts anew what waits: what is in the queue, and what is on its way there.
    pub(crate) fn recount(&mut self, queue: &Queue) {
        self.flow.all = Load::default();
        self.flow.left.clear();
        self.flow.take_over();
        for number in self.peers.all() {
            if let Some(peer) = self.peers.get_mut(number) {
                peer.unread.load = Load::default();
            }
        }
        let mut loads = Vec::new();
        let mut see = |message: &Message| loads.push((message.from, Load::of(message)));
        queue.messages().for_each(|(message, _)| see(message));
        self.arrivals.messages_from(0).for_each(see);
        for (from, load) in loads {
            if self.flow.counts || load.fds > 0 {
                self.count_of(from, load);
            }
        }
        self.resume_all(false);
    }

    /// Counts what has come on a connection that is no more, since there were so many arrivals.
    pub(crate) fn count_rest(&mut self, arrivals: usize, from: Pid) {
        let load = self.load_since(arrivals);
        if load != Load::default() {
            self.count_of(from, load);
        }
    }

    fn count_of(&mut self, from: Pid, load: Load) {
        let number = self.peers.number(from);
        self.count(number, load);
        if number.is_none() {
            self.flow.left.entry(from).or_default().add(load);
        }
    }

    /// Keeps what came on a connection that is taken away, for the next with the same process.
    pub(crate) fn put_aside(&mut self, peer: &mut Peer) {
        let load = std::mem::take(&mut peer.unread.load);
        if load != Load::default() {
            self.flow.left.entry(peer.pid).or_default().add(load);
        }
    }

    /// Has a new connection begin with what is left from those before.
    pub(crate) fn take_over_load(&mut self, number: u64) {
        if let Some(peer) = self.peers.get_mut(number)
            && let Some(left) = self.flow.left.remove(&peer.pid)
        {
            peer.unread.load.add(left);
        }
    }

    /// Counts what has arrived from a peer since there were so many arrivals.
    #[inline]
    pub(crate) fn count_since(&mut self, arrivals: usize, number: Option<u64>, passes_fds: bool) {
        if !self.flow.counts && !passes_fds {
            return;
        }
        let load = self.load_since(arrivals);
        self.count(number, load);
    }

    fn load_since(&self, arrivals: usize) -> Load {
        let mut load = Load::default();
        for message in self.arrivals.messages_from(arrivals) {
            let one = Load::of(message);
            if self.flow.counts || one.fds > 0 {
                load.add(one);
            }
        }
        load
    }

    fn count(&mut self, number: Option<u64>, load: Load) {
        let full = self.flow.all.fills(self.flow.whole());
        self.flow.arrived(load);
        let account = number.map(|number| self.peers.main_of(number));
        if let Some(peer) = account.and_then(|number| self.peers.get_mut(number)) {
            let unread = &mut peer.unread;
            unread.past = if full {
                unread.past.saturating_add(load.bytes + load.messages)
            } else {
                0
            };
            unread.load.add(load);
        }
    }

    /// A message has been received.
    #[inline]
    pub(crate) fn release(&mut self, message: &Message) {
        if !message.is_from_system() {
            self.tally.received(1);
        }
        let fds = message.fds();
        if self.flow.counts || fds > 0 {
            self.release_load(message.from, Load::of(message));
        }
    }

    fn release_load(&mut self, from: Pid, load: Load) {
        self.flow.all.subtract(load);
        let number = self.peers.number(from);
        if let Some(peer) = number.and_then(|number| self.peers.get_mut(number)) {
            peer.unread.load.subtract(load);
        } else if let Entry::Occupied(mut left) = self.flow.left.entry(from) {
            left.get_mut().subtract(load);
            if *left.get() == Load::default() {
                left.remove();
            }
        }
        // Not one by one: to be read again costs a system call. Who waits for a message looks at all of them.
        if !self.flow.paused.is_empty() && !self.flow.all.fills(self.flow.whole().half()) {
            self.resume_all(false);
        }
    }

    /// Whether a peer may be read; if not, it is read no more until some of what waits has been received.
    #[inline]
    pub(crate) fn admits(&mut self, number: u64, sending: bool) -> bool {
        self.flow.all.is_nothing() || self.admits_one_more(number, sending)
    }

    fn admits_one_more(&mut self, number: u64, sending: bool) -> bool {
        let whole = self.flow.whole();
        if !self.flow.all.fills(whole) {
            return true;
        }
        let share = whole.share(self.peers.len());
        let account = self.peers.get(self.peers.main_of(number));
        let (Some(peer), Some(account)) = (self.peers.get(number), account) else {
            return true;
        };
        let admits = !account.unread.load.fills(share)
            // A message that has begun is read to its end.
            || peer.is_within()
            || (sending && account.unread.past < PAST);
        if !admits && !peer.unread.paused {
            self.pause(number);
        }
        admits
    }

    /// Whether many may be read from a peer without looking.
    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.flow.counts
    }

    fn pause(&mut self, number: u64) {
        if self.hot.get() == Some(number) {
            self.hot.set(None);
        } else if let Some(peer) = self.peers.get(number) {
            let _ = epoll::delete(&self.epoll, &*peer.socket);
        }
        if let Some(peer) = self.peers.get_mut(number) {
            peer.unread.paused = true;
            self.flow.paused.push(number);
        }
    }

    /// Reads those again that may be read: past their share, for one who waits for room.
    #[inline]
    pub(crate) fn resume_all(&mut self, sending: bool) {
        if !self.flow.paused.is_empty() {
            self.resume_those_admitted(sending);
        }
    }

    fn resume_those_admitted(&mut self, sending: bool) {
        for number in self.flow.paused.clone() {
            if self.admits(number, sending) {
                self.resume(number);
            }
        }
    }

    fn resume(&mut self, number: u64) {
        self.flow.paused.retain(|paused| *paused != number);
        if let Some(peer) = self.peers.get_mut(number) {
            peer.unread.paused = false;
        }
        self.watch_or_close(number);
    }
}

impl<C: Connector> Inbox<C> {
    /// Limits what waits in this inbox, from now on. Once as much waits, only those senders are read on that have less waiting
    /// than an equal share of it, or nothing. So what waits in memory is never more than twice the limits, or one message for
    /// each sender; and what the kernel holds for each sender's socket comes on top.
    ///
    /// A process that waits for room elsewhere reads past that, up to a MiB for each sender, so that those who send to each
    /// other within their limits do not wait for ever. What the process sends to itself counts, and waits for nothing; messages
    /// from the system do not count.
    ///
    /// Who waits for a message that its sender has no room for waits until others have been received: give such a wait a limit of
    /// time, or the inbox [`Policy::End`].
    pub fn set_limits(&mut self, limits: InboxLimits) {
        self.collect();
        let mut core = self.hold.core();
        core.limit(limits);
        core.recount(&self.queue);
    }
}
