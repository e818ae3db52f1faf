//! The inbox: its connections, its queue, and how it stands with those that it has no connection with.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use occ_sck::{Deadline, Packet};
use rustix::event::epoll;

use crate::connector::{Connector, Lost};
use crate::core::Core;
use crate::error::ReceiveError;
use crate::hold::{ConnectorGuard, Hold};
use crate::message::Message;
use crate::pid::Pid;
use crate::queue::Queue;
use crate::site::Site;
use crate::wait::Seat;

/// What a process is sent, from everywhere, in one queue.
///
/// One thread receives from it; others may send by a [`Handle`](crate::Handle). See the [crate's page](crate) for an example.
pub struct Inbox<C> {
    pub(crate) me: Pid,
    pub(crate) hold: Hold<C>,
    pub(crate) seat: Seat,
    pub(crate) queue: Queue,
    pub(crate) packet: Packet,
    /// Nothing was sent since something was last received: the peers are likely to stream, and it pays to
    /// look for more than one message at a time.
    pub(crate) streaming: bool,
    epoll: Arc<OwnedFd>,
    /// For those who wait for the inbox in an event loop of their own: readable where `epoll` is, and where another thread
    /// has brought something in.
    watch: OnceCell<OwnedFd>,
}

impl<C: Connector> Inbox<C> {
    /// The inbox of the process `me`.
    ///
    /// # Errors
    ///
    /// No room for two file descriptors.
    pub fn new(me: Pid, connector: C) -> io::Result<Inbox<C>> {
        let core = Core::new(me, connector)?;
        Ok(Inbox {
            me,
            epoll: Arc::clone(&core.epoll),
            hold: Hold::alone(core),
            seat: Seat::default(),
            queue: Queue::default(),
            packet: Packet::new(),
            streaming: false,
            watch: OnceCell::new(),
        })
    }

    /// Whose inbox it is.
    pub fn pid(&self) -> Pid {
        self.me
    }

    /// The connector. While this is held, no other thread uses it, nor sends: with a handle of the same inbox this one would wait
    /// for itself.
    pub fn connector(&mut self) -> ConnectorGuard<'_, C> {
        ConnectorGuard(self.hold.core())
    }

    /// Waits until the connector has had something to say, and does what follows from it. False when the deadline
    /// came first.
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub fn attend(&mut self, deadline: Deadline) -> Result<bool, Lost> {
        let mut before = None;
        let heard = self.site().attend_until(deadline, |core| {
            let before = *before.get_or_insert(core.heard);
            (core.heard != before).then_some(())
        });
        heard.map(|heard| heard.is_some())
    }

    /// Does what the connector says until `done` has an answer, which is asked first, and after each piece of news. `None`
    /// when the deadline came first. In `done` the connector is held: see [`Inbox::connector`].
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub fn attend_until<R>(
        &mut self,
        deadline: Deadline,
        mut done: impl FnMut(&mut C) -> Option<R>,
    ) -> Result<Option<R>, Lost> {
        self.site()
            .attend_until(deadline, |core| done(&mut core.connector))
    }

    /// As [`Inbox::attend_until`], for who has something to say to the connector and may have to wait for room: `said` is asked
    /// again also when [`Connector::as_fd`] is writable. Nobody else waits for that.
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub fn attend_until_said<R>(
        &mut self,
        deadline: Deadline,
        mut said: impl FnMut(&mut C) -> Option<R>,
    ) -> Result<Option<R>, Lost> {
        self.site()
            .attend_until_said(deadline, |core| said(&mut core.connector))
    }

    /// Brings what has arrived into memory, without waiting, and says how many messages are there now. It is for an
    /// event loop, when the inbox [is readable](AsFd): then [`Inbox::receive_any_timeout`] and its kin, with a limit of zero,
    /// give the messages.
    ///
    /// All that had arrived when it was called is brought in, so an edge-triggered loop misses nothing.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`]. What is in memory can still be received.
    pub fn tick(&mut self) -> Result<usize, ReceiveError> {
        self.sweep()?;
        Ok(self.queue.len())
    }

    /// How many messages are in memory. More may be waiting in the kernel.
    pub fn len(&self) -> usize {
        self.queue.len() + self.hold.with(|core| core.arrivals.len())
    }

    /// True when no message is in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes every message out of memory that `keep` does not want. A panic in `keep` changes nothing.
    pub fn retain(&mut self, keep: impl FnMut(&Message) -> bool) {
        self.collect();
        let before = self.queue.sent();
        self.queue.retain(keep);
        let mut core = self.hold.core();
        core.tally.received(before - self.queue.sent());
        core.recount(&self.queue);
    }

    pub(crate) fn site(&mut self) -> Site<'_, C> {
        Site {
            hold: &mut self.hold,
            seat: &mut self.seat,
            owner: true,
        }
    }

    /// Puts what others have brought in, or a send of ours, into the queue.
    #[inline]
    pub(crate) fn collect(&mut self) {
        self.hold.core().hand_over(&mut self.queue);
    }
}

/// Readable when there may be more to receive than what is in memory; and from then on when the system is down, and
/// [`Inbox::tick`] says so.
impl<C: Connector> AsFd for Inbox<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hold.with(Core::watched_by_others);
        if self.watch.get().is_none()
            && let Ok(watch) = self.watch_all()
        {
            let _ = self.watch.set(watch);
        }
        // Without room for another descriptor it does not tell what other threads bring in.
        self.watch.get().unwrap_or(&self.epoll).as_fd()
    }
}

impl<C> Inbox<C> {
    fn watch_all(&self) -> rustix::io::Result<OwnedFd> {
        let alarm = self.hold.with(Core::alarm)?;
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&watch, &*self.epoll, epoll::EventData::new_u64(0), readable)?;
        epoll::add(&watch, &alarm, epoll::EventData::new_u64(1), readable)?;
        Ok(watch)
    }
}

impl<C> Drop for Inbox<C> {
    /// Those who have a handle find the inbox gone.
    fn drop(&mut self) {
        if let Hold::Shared(shared) = &self.hold
            // In a fork nobody is there to be told.
            && shared.is_of_this_process()
        {
            shared.lock().go();
        }
    }
}

/// Without the connections, which another thread may be using, and all that has been received on them.
impl<C> fmt::Debug for Inbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("pid", &self.me)
            .field("messages", &self.queue.len())
            .finish_non_exhaustive()
    }
}
