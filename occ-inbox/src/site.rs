//! One who uses the connections of an inbox: the inbox itself, or a thread with a handle.

use occ_sck::Deadline;
use rustix::event::{PollFd, PollFlags};

use crate::connector::{Connector, Lost};
use crate::core::Core;
use crate::hold::{CoreGuard, Hold};
use crate::wait::{Parked, Seat};

#[derive(Debug)]
pub(crate) struct Site<'a, C> {
    pub(crate) hold: &'a mut Hold<C>,
    pub(crate) seat: &'a mut Seat,
    /// It is the inbox.
    pub(crate) owner: bool,
}

impl<C: Connector> Site<'_, C> {
    #[inline]
    pub(crate) fn core(&mut self) -> CoreGuard<'_, C> {
        self.hold.core()
    }

    /// Does what the connector says, until `done` has an answer. `None` when the deadline came first.
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub(crate) fn attend_until<R>(
        &mut self,
        deadline: Deadline,
        done: impl FnMut(&mut Core<C>) -> Option<R>,
    ) -> Result<Option<R>, Lost> {
        self.attend_for(PollFlags::IN, deadline, done)
    }

    /// As [`Site::attend_until`], where `said` waits for room to say something to the connector. It may be the other side that
    /// waits, for us to hear.
    ///
    /// # Errors
    ///
    /// The connector has nobody left to work with.
    pub(crate) fn attend_until_said<R>(
        &mut self,
        deadline: Deadline,
        said: impl FnMut(&mut Core<C>) -> Option<R>,
    ) -> Result<Option<R>, Lost> {
        self.attend_for(PollFlags::IN | PollFlags::OUT, deadline, said)
    }

    fn attend_for<R>(
        &mut self,
        events: PollFlags,
        deadline: Deadline,
        mut done: impl FnMut(&mut Core<C>) -> Option<R>,
    ) -> Result<Option<R>, Lost> {
        loop {
            let shared = match self.hold {
                Hold::Alone(_) => None,
                Hold::Shared(shared) => Some(shared.clone()),
            };
            let mut core = self.hold.core();
            if let Some(answer) = done(&mut core) {
                return Ok(Some(answer));
            }
            if core.down {
                return Err(Lost);
            }
            let wait = if shared.is_none() && events == PollFlags::IN {
                deadline
            } else {
                Deadline::Now
            };
            let heard = core.attend(wait);
            if heard != Ok(false) {
                core.tell(self.owner);
                // It may have been the last that we waited for.
                match (heard, done(&mut core)) {
                    (_, Some(answer)) => return Ok(Some(answer)),
                    (Err(Lost), None) => return Err(Lost),
                    (Ok(_), None) => {}
                }
            }
            // A connector that never stops talking does not stretch the limit.
            if deadline.passed() {
                return Ok(None);
            }
            if heard == Ok(true) {
                continue;
            }
            // Where the wait fails, the next look tells.
            if let Some(shared) = shared {
                let parked = Parked::new(&mut core, self.seat);
                drop(core);
                let connector = shared.connector();
                let _ = parked.wait(&[PollFd::new(&connector, events)], deadline);
                parked.leave(&mut shared.lock());
            } else if wait != deadline {
                let connector = core.connector.as_fd();
                let _ = Parked::ALONE.wait(&[PollFd::new(&connector, events)], deadline);
            }
        }
    }
}
