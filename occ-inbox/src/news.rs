//! What the connector tells, and what follows from it: connections begin and end.
//!
//! Whatever the reason for which a connection ends here, what had arrived on it is received first, to the last
//! message, and nothing is taken in after that.

use occ_sck::Deadline;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};

use crate::connector::{Connector, Event, Lost, Refusal, Standing};
use crate::core::Core;
use crate::flow::Policy;
use crate::peer::Peer;
use crate::pid::Pid;
use crate::pump::{Look, accept};
use crate::queue::Loss;

/// What is heard in one go: more than the kernel holds on one socket, and no end of it for a connector that
/// never stops.
const NEWS: usize = 4096;

impl<C: Connector> Core<C> {
    /// Hears what the connector has to say, and does what follows from it. False when the deadline came first.
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub(crate) fn attend(&mut self, deadline: Deadline) -> Result<bool, Lost> {
        let attended = self.attend_one(deadline);
        self.keep_reserve();
        attended
    }

    /// One question to the kernel, where to hear nothing takes three.
    pub(crate) fn connector_is_readable(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(
            self.connector.as_fd(),
            PollFlags::IN,
        )];
        !matches!(
            rustix::event::poll(&mut fds, Some(&Timespec::default())),
            Ok(0)
        )
    }

    /// Does the next that the connector has said; if there is more, epoll tells of it again.
    pub(crate) fn hear_one(&mut self) {
        let _ = self.attend(Deadline::Now);
    }

    /// Does everything that the connector has said until now. One that is lost has said so, and epoll will not
    /// tell of it again.
    pub(crate) fn hear(&mut self) {
        for _ in 0..NEWS {
            if self.attend_one(Deadline::Now) != Ok(true) {
                break;
            }
        }
        self.keep_reserve();
    }

    fn attend_one(&mut self, deadline: Deadline) -> Result<bool, Lost> {
        self.reserve = None;
        match self.connector.next(deadline) {
            Ok(Some(event)) => {
                self.heard += 1;
                self.follow(event);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Lost) => {
                self.lose_connector();
                Err(Lost)
            }
        }
    }

    fn follow(&mut self, event: Event) {
        // Nobody would receive what comes on a connection, and its other end would take it for one.
        if self.gone {
            return;
        }
        match event {
            Event::Connected {
                peer,
                socket,
                tally,
            } => {
                let mut peer = Peer::new(peer, socket, true);
                peer.tally = tally;
                self.begin(peer);
            }
            Event::Accepted { peer, socket } => self.accepted(Peer::new(peer, socket, false)),
            Event::Refused { peer, why } => {
                match why {
                    Refusal::NoProcess => self.end(peer),
                    Refusal::TooManyPeers => {
                        self.standing.insert(peer, Standing::Missed);
                    }
                    Refusal::NoInbox => {}
                }
                self.asks.refuse(peer, why);
            }
            Event::Gone { peer } => self.end(peer),
            Event::Message(message) => {
                if let Some(ended) = message.tells_end_of() {
                    self.end(ended);
                }
                self.arrivals.push(message);
            }
            Event::NoDescriptor { peer: Some(peer) } => {
                if let Some(number) = self.peers.number(peer) {
                    self.close(number);
                }
                self.arrivals.push_loss(Loss::Unknown { from: Some(peer) });
                self.miss(peer);
            }
            Event::NoDescriptor { peer: None } => {
                self.arrivals.push_loss(Loss::Unknown { from: None });
                // Most likely it was the answer to what we asked; if not, that comes later and is welcome.
                for asked in self.asks.asked() {
                    self.miss(asked);
                }
            }
            Event::Own => {}
        }
    }

    /// Has a descriptor in reserve again; false when there is none to be had.
    fn keep_reserve(&mut self) -> bool {
        if self.reserve.is_none() {
            self.reserve = self.epoll.try_clone().ok();
        }
        self.reserve.is_some()
    }

    fn begin(&mut self, peer: Peer) {
        let pid = peer.pid;
        // The peer may have had no room for the one before, and we for the one before that.
        if let Some(number) = self.peers.number(pid) {
            self.close_for(number, true);
        }
        self.standing.remove(&pid);
        self.asks.grant(pid);

        if !self.keep_reserve() {
            return self.turn_away(peer);
        }
        let number = self.peers.insert(peer);
        self.take_over_load(number);
        self.greet(number);
    }

    fn accepted(&mut self, mut peer: Peer) {
        let main = self.peers.number(peer.pid);
        let Some(main) = main.filter(|main| self.is_ours_and_lives(*main)) else {
            return self.begin(peer);
        };
        // The peer sends on this one for as long as it lives, and we on ours: so neither has to wait for the other, and
        // nothing changes its order.
        if let Some(twin) = self.peers.get(main).and_then(|peer| peer.twin)
            && let Some(mut twin) = self.forget(twin)
        {
            self.drain(&mut twin);
        }
        if !self.keep_reserve() {
            peer.twin = Some(main);
            return self.turn_away(peer);
        }
        let number = self.peers.insert_beside(peer, main);
        self.greet(number);
    }

    fn is_ours_and_lives(&self, number: u64) -> bool {
        let main = self.peers.get(number);
        main.is_some_and(|main| main.ours && !main.has_hung_up())
    }

    fn greet(&mut self, number: u64) {
        let policy = self.flow.policy();
        if policy == Policy::Reject
            && let Some(peer) = self.peers.get_mut(number)
        {
            peer.tell_policy(policy);
        }
        self.watch_or_close(number);
    }

    /// Lets epoll watch over a connection, or ends it for want of room.
    pub(crate) fn watch_or_close(&mut self, number: u64) {
        if !self.watch(number)
            && let Some(peer) = self.peers.remove(number)
        {
            self.turn_away(peer);
        }
    }

    /// Lets epoll watch over every connection again, and ends the one that it has no room for.
    pub(crate) fn cool_or_close(&mut self) {
        if let Err(number) = self.cool()
            && let Some(peer) = self.peers.remove(number)
        {
            self.turn_away(peer);
        }
    }

    /// Ends a connection that there is no room for.
    fn turn_away(&mut self, mut peer: Peer) {
        self.put_aside(&mut peer);
        // In this order: a peer that can no longer send finds the reason for it.
        peer.say_no_room();
        peer.shut();
        self.drain(&mut peer);
        self.miss(peer.pid);
        self.ended(&peer, false);
        // Somebody may wait for room on it, or for one such.
        self.waiters.ring();
    }

    fn miss(&mut self, pid: Pid) {
        self.standing.insert(pid, Standing::Missed);
        self.asks.refuse(pid, Refusal::TooManyPeers);
    }

    /// A process has died.
    fn end(&mut self, pid: Pid) {
        if let Some(number) = self.peers.number(pid) {
            self.close(number);
        }
        self.standing.remove(&pid);
        // It may have died before the connection with it was made that we wait for.
        self.asks.refuse(pid, Refusal::NoProcess);
    }

    /// Closes a connection, and takes in what it holds. Says how one stands with a peer that had ended it itself.
    pub(crate) fn close(&mut self, number: u64) -> Option<Standing> {
        self.close_for(number, false)
    }

    fn close_for(&mut self, number: u64, replaced: bool) -> Option<Standing> {
        let mut peer = self.forget(number)?;
        let standing = self.drain(&mut peer);
        self.ended(&peer, replaced);
        standing
    }

    /// A connection has been taken out of everywhere, and all that came on it is here. One that there is beside it ends with it.
    fn ended(&mut self, peer: &Peer, replaced: bool) {
        if let Some(twin) = peer.twin
            && let Some(mut twin) = self.forget(twin)
        {
            self.drain(&mut twin);
        }
        if let Some(message) = self.connector.ended(peer.pid, replaced) {
            self.arrivals.push(message);
        }
    }

    /// A connection has ended of itself. The process may be about to die, or may have closed its inbox.
    pub(crate) fn lose(&mut self, number: u64, standing: Standing) {
        if let Some(peer) = self.forget(number) {
            self.stands(peer.pid, standing);
            self.ended(&peer, false);
        }
    }

    /// Notes how one stands with a process. Of one that may come back it is not kept that it has gone: there would be ever more of
    /// them.
    pub(crate) fn stands(&mut self, pid: Pid, standing: Standing) {
        if C::BY_ADDRESS && standing == Standing::Broken {
            self.standing.remove(&pid);
        } else {
            self.standing.insert(pid, standing);
        }
    }

    /// Takes a connection out of everywhere, and lets nothing more in.
    fn forget(&mut self, number: u64) -> Option<Peer> {
        let mut peer = self.peers.remove(number)?;
        self.put_aside(&mut peer);
        // A duplicate of the socket may be open in a fork of this process, and then closing it would leave it
        // with epoll (epoll(7), "Questions and answers", 6).
        let _ = epoll::delete(&self.epoll, &*peer.socket);
        peer.shut();
        // Somebody may wait for room on it.
        self.waiters.ring();
        // The share of the others has grown.
        self.resume_all(false);
        Some(peer)
    }

    /// Takes in what a connection holds that nothing more can come on.
    fn drain(&mut self, peer: &mut Peer) -> Option<Standing> {
        let before = self.arrivals.len();
        let ended = loop {
            let arrival = peer.receive(&mut self.intake);
            match accept(&mut self.arrivals, peer.pid, arrival) {
                Look::More => {}
                Look::Nothing => break None,
                Look::Ended(standing) => break Some(standing),
            }
        };
        self.count_rest(before, peer.pid);
        ended
    }

    fn lose_connector(&mut self) {
        if !self.down {
            self.down = true;
            let _ = epoll::delete(&self.epoll, self.connector.as_fd());
            self.sound_alarm();
        }
    }
}

#[cfg(test)]
mod tests {
    use occ_sck::{Packet, Socket, kind};
    use occ_test_support::{LIMIT, within};
    use rustix::event::Timespec;

    use crate::flow::InboxLimits;
    use crate::inbox::Inbox;
    use crate::wait::{Parked, Seat};
    use crate::wired::Wired;

    use super::*;

    fn pid(serial: u64) -> Pid {
        Pid {
            node: 0,
            incarnation: 7,
            serial,
        }
    }

    /// An inbox that is connected with 2, whose end the test holds.
    fn connected() -> (Inbox<Wired>, Socket) {
        let (end, two) = Socket::pair().unwrap();
        let mut one = Inbox::new(pid(1), Wired::new([(pid(2), end)]).unwrap()).unwrap();
        one.tick().unwrap();
        (one, two)
    }

    fn put<T: occ_sck::Term>(socket: &Socket, value: &T) {
        let packet = Packet::of(kind::USER, value).unwrap();
        packet.send_part(0, socket, &[], Deadline::Now).unwrap();
    }

    /// A thread with a handle may be about to hear something when the inbox goes.
    #[test]
    fn where_there_is_no_inbox_any_more_no_connection_begins() {
        for there_is_one in [true, false] {
            let (end, two) = Socket::pair().unwrap();
            let mut one = Inbox::new(pid(1), Wired::new([(pid(2), end)]).unwrap()).unwrap();
            let shared = one.hold.share().unwrap();
            let mut core = shared.lock();
            if !there_is_one {
                core.go();
            }
            core.hear();
            assert_eq!(core.peers.number(pid(2)).is_some(), there_is_one);
            let heard = two.receive(&mut [0], &mut Vec::new(), Deadline::Now);
            let ended = matches!(heard, Ok(occ_sck::Received::Closed));
            assert_eq!(ended, !there_is_one, "{heard:?}");
        }
    }

    /// What the kernel says where it has no room, without having used it up: it is there already.
    fn leave_no_room(core: &mut Core<Wired>, number: u64) {
        let peer = core.peers.get(number).unwrap();
        let nothing = epoll::EventFlags::empty();
        epoll::add(
            &core.epoll,
            &*peer.socket,
            epoll::EventData::new_u64(number),
            nothing,
        )
        .unwrap();
    }

    #[test]
    fn whoever_waits_is_told_when_a_connection_is_turned_away() {
        let (mut one, _two) = connected();
        let shared = one.hold.share().unwrap();
        let mut core = shared.lock();
        let parked = Parked::new(&mut core, &mut Seat::default());
        let number = core.peers.number(pid(2)).unwrap();
        let peer = core.peers.get(number).unwrap();
        epoll::delete(&core.epoll, &*peer.socket).unwrap();
        leave_no_room(&mut core, number);
        core.watch_or_close(number);
        assert!(core.peers.number(pid(2)).is_none());
        drop(core);
        within(LIMIT, || parked.wait(&[], Deadline::Never).unwrap());
    }

    /// It is read again when there is room in the inbox, and there is none in epoll: what it held is here, and nobody else
    /// tells of it.
    #[test]
    fn what_is_left_of_a_connection_that_is_turned_away_is_received_at_once() {
        within(LIMIT, || {
            for shares in [false, true] {
                let (mut one, two) = connected();
                let _handle = shares.then(|| one.handle().unwrap());
                one.set_limits(InboxLimits {
                    messages: 2,
                    ..InboxLimits::default()
                });
                put(&two, &1_u32);
                put(&two, &2_u32);
                put(&two, &'c');
                assert_eq!(one.tick().unwrap(), 2);
                assert_eq!(one.receive::<u32>().unwrap(), 1);
                let mut core = one.hold.core();
                let number = core.peers.number(pid(2)).unwrap();
                assert!(core.peers.get(number).unwrap().unread.paused);
                leave_no_room(&mut core, number);
                drop(core);
                assert_eq!(one.receive::<char>().unwrap(), 'c');
                assert_eq!(one.receive::<u32>().unwrap(), 2);
            }
        });
    }

    /// And in an event loop, where another thread than the inbox's has found that.
    #[test]
    fn what_is_left_of_a_connection_that_a_thread_has_turned_away_is_told_in_an_event_loop() {
        use std::os::fd::AsFd;

        within(LIMIT, || {
            let (end, two) = Socket::pair().unwrap();
            let (other, _three) = Socket::pair().unwrap();
            let wired = Wired::new([(pid(2), end), (pid(3), other)]).unwrap();
            let mut one = Inbox::new(pid(1), wired).unwrap();
            one.tick().unwrap();
            let handle = one.handle().unwrap();
            one.set_limits(InboxLimits {
                messages: 2,
                ..InboxLimits::default()
            });
            put(&two, &1_u32);
            put(&two, &2_u32);
            put(&two, &3_u32);
            assert_eq!(one.tick().unwrap(), 2);
            let mut core = one.hold.core();
            let number = core.peers.number(pid(2)).unwrap();
            assert!(core.peers.get(number).unwrap().unread.paused);
            leave_no_room(&mut core, number);
            drop(core);
            let readable = |one: &Inbox<Wired>| {
                let fd = one.as_fd();
                let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
                rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
            };
            assert!(!readable(&one));
            // It waits for room, and so reads past the limit.
            let limit = std::time::Duration::from_millis(20);
            while handle.send_timeout(pid(3), &[0_u64; 32], limit).is_ok() {}
            assert!(readable(&one));
            assert_eq!(one.tick().unwrap(), 3);
        });
    }
}
