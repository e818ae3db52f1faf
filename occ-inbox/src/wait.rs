//! Waiting for what another thread of this process may do: hear of a connection, bring in a message, finish one that it
//! sends.
//!
//! Each who waits has a bell, a descriptor that poll(2) can wait for together with others. A bell is rung under the
//! lock, and read by its owner under the lock, so a ring is never lost and never stays.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use occ_sck::Deadline;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::Errno;

use crate::core::Core;

/// How long one waits who has no room for a bell, before one looks again.
const MOMENT: Duration = Duration::from_millis(5);

/// What wakes one who waits.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> rustix::io::Result<Bell> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(fd)))
    }

    pub(crate) fn ring(&self) {
        // It fails where it has been rung too often to count, and then it is rung.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn still(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A place to wait in, one for each thread that may.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    bell: Option<Bell>,
}

impl Seat {
    /// The bell, if there is room for one.
    pub(crate) fn bell(&mut self) -> Option<&Bell> {
        if self.bell.is_none() {
            self.bell = Bell::new().ok();
        }
        self.bell.as_ref()
    }
}

/// Those who wait now.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Vec<Bell>);

impl Waiters {
    /// Something has happened that one of them may wait for.
    #[inline]
    pub(crate) fn ring(&self) {
        for bell in &self.0 {
            bell.ring();
        }
    }
}

/// One who is about to wait: entered under the lock, in which it was seen that there is something to wait for.
#[derive(Debug)]
pub(crate) struct Parked {
    bell: Option<Bell>,
    /// Nobody else can ring.
    alone: bool,
}

impl Parked {
    /// Where nobody else has the connections.
    pub(crate) const ALONE: Parked = Parked {
        bell: None,
        alone: true,
    };

    pub(crate) fn new<C>(core: &mut Core<C>, seat: &mut Seat) -> Parked {
        let bell = seat.bell().cloned();
        core.waiters.0.extend(bell.clone());
        Parked { bell, alone: false }
    }

    /// Waits for one of these or for the bell, until the deadline; says what became of each.
    pub(crate) fn wait(
        &self,
        fds: &[PollFd<'_>],
        deadline: Deadline,
    ) -> rustix::io::Result<Vec<PollFlags>> {
        let deadline = if self.alone || self.bell.is_some() {
            deadline
        } else {
            deadline.no_later_than(MOMENT)
        };
        let bell = self.bell.as_ref();
        let mut all: Vec<PollFd<'_>> = fds.to_vec();
        all.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        match rustix::event::poll(&mut all, deadline.timespec().as_ref()) {
            Ok(_) => Ok(all.iter().map(PollFd::revents).collect()),
            Err(Errno::INTR) => Ok(vec![PollFlags::empty(); fds.len()]),
            Err(error) => Err(error),
        }
    }

    /// Waits no longer.
    pub(crate) fn leave<C>(self, core: &mut Core<C>) {
        if let Some(bell) = self.bell {
            core.waiters
                .0
                .retain(|other| !Arc::ptr_eq(&other.0, &bell.0));
            bell.still();
        }
    }
}
