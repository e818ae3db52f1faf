//! Looking again for a while before sleeping.
//!
//! To be woken on another processor takes tens of microseconds; to look once more, a fifth of one. So who talks to somebody on a
//! processor of its own may look for as long as an answer takes. Who does not is not to burn a processor for it:
//! how long one looks follows what came of it.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use occ_sck::Deadline;

use crate::connector::Connector;
use crate::core::Core;
use crate::inbox::Inbox;
use crate::pump::{Look, Turn};

/// So often one looks at the connection that something came on last, before one looks at all of them.
const LOOKS: u32 = 16;

/// How long one looks before one sleeps.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spin {
    /// The longest, zero for not at all.
    limit: Duration,
    /// At present.
    now: Duration,
}

impl Spin {
    fn new(limit: Duration) -> Spin {
        Spin { limit, now: limit }
    }

    /// Something came while one looked.
    fn paid(&mut self) {
        self.now = self.now.saturating_mul(2).min(self.limit);
    }

    /// Nothing came while one looked, and then one slept for so long. Had one looked for that long, it would have paid.
    fn slept(&mut self, slept: Duration) {
        if slept < self.limit {
            self.now = self.limit;
        } else {
            self.now /= 2;
            if self.now < self.limit / 16 {
                self.now = Duration::ZERO;
            }
        }
    }
}

impl<C: Connector> Inbox<C> {
    /// Looks for up to `limit` whether something has come before this thread sleeps in a receive. Zero, as at first, is not
    /// at all.
    ///
    /// It is for who exchanges messages with somebody on another processor, and has one of its own: an answer then takes a tenth of
    /// the time, and this thread burns its processor meanwhile. It adapts: as long as answers take longer than the limit, it does
    /// not look. Nor does it while there are handles for other threads.
    pub fn set_spin(&mut self, limit: Duration) {
        self.hold.core().spin = Spin::new(limit);
    }
}

impl<C: Connector> Core<C> {
    /// Whether it is worth looking at all.
    #[inline]
    pub(crate) fn spins(&self) -> bool {
        !self.spin.limit.is_zero()
    }

    /// Looks until something has come, for as long as it pays. False when nothing has.
    pub(crate) fn look_for_a_while(
        &mut self,
        turn: Turn,
        deadline: Deadline,
    ) -> rustix::io::Result<bool> {
        if self.spin.now.is_zero() {
            return Ok(false);
        }
        let deadline = deadline.no_later_than(self.spin.now);
        loop {
            for _ in 0..LOOKS {
                let Some(last) = self.last else {
                    break;
                };
                let before = self.intake.received();
                let look = self.take_turn(last, turn);
                if self.intake.received() != before || matches!(look, Look::Ended(_)) {
                    self.spin.paid();
                    return Ok(true);
                }
                spin_loop();
            }
            if self.bring_in(Deadline::Now, turn)? {
                self.spin.paid();
                return Ok(true);
            }
            if deadline.passed() {
                return Ok(false);
            }
        }
    }

    /// Sleeps until something has come.
    pub(crate) fn sleep(&mut self, deadline: Deadline, turn: Turn) -> rustix::io::Result<bool> {
        let before = Instant::now();
        let came = self.bring_in(deadline, turn);
        self.spin.slept(before.elapsed());
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(64);

    #[test]
    fn where_it_does_not_pay_it_ends_and_where_it_would_have_it_begins_again() {
        let mut spin = Spin::new(LIMIT);
        let mut looked = Vec::new();
        for _ in 0..8 {
            looked.push(spin.now.as_micros());
            spin.slept(LIMIT * 10);
        }
        assert_eq!(looked, [64, 32, 16, 8, 4, 0, 0, 0]);
        spin.slept(LIMIT / 2);
        assert_eq!(spin.now, LIMIT);
        spin.slept(LIMIT);
        assert_eq!(spin.now, LIMIT / 2);
        spin.paid();
        spin.paid();
        assert_eq!(spin.now, LIMIT);
    }

    #[test]
    fn whoever_does_not_want_it_does_not_look() {
        let mut spin = Spin::default();
        spin.slept(Duration::ZERO);
        spin.paid();
        assert_eq!(spin, Spin::default());
    }
}
