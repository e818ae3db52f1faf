//! Room for descriptors that are under way.
//!
//! The kernel lets a user without privileges have so many, in all its processes together
//! ([`TooManyInFlight`](occ_sck::SendError::TooManyInFlight)), and tells nobody when there is room again. So whoever is
//! owed one waits for a moment, and is tried again; and where nobody makes room, it gets the error after a while: those
//! that are under way may be for the one that waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Central, LIFELINE, ZYGOTE};

/// When to try again.
const MOMENT: Duration = Duration::from_millis(5);

/// When to give up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those that wait for room, by the names that epoll knows them by.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    since: BTreeMap<u64, Instant>,
    /// When they are tried again.
    pub(super) again_at: Option<Instant>,
}

impl Crowd {
    /// Nothing could be given to `who`, for want of room. False when it has waited for long enough.
    pub(super) fn let_wait(&mut self, who: u64, now: Instant) -> bool {
        let since = *self.since.entry(who).or_insert(now);
        if now.saturating_duration_since(since) >= PATIENCE {
            self.since.remove(&who);
            return false;
        }
        self.again_at.get_or_insert(now + MOMENT);
        true
    }

    /// Something was given to `who`, or there is nothing more to give.
    pub(super) fn release(&mut self, who: u64) {
        self.since.remove(&who);
    }

    pub(super) fn has(&self, who: u64) -> bool {
        self.since.contains_key(&who)
    }

    fn due(&mut self, now: Instant) -> Vec<u64> {
        if self.again_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.again_at = None;
        self.since.keys().copied().collect()
    }
}

impl Central {
    /// Tries again what there was no room for.
    pub(super) fn try_the_crowd_again(&mut self) {
        for who in self.crowd.due(Instant::now()) {
            match who {
                ZYGOTE => self.send_orders(),
                LIFELINE => self.tell_unwatched(),
                serial => self.pay(serial),
            }
            self.work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_tried_again_and_gives_up_after_a_while() {
        let (mut crowd, start) = (Crowd::default(), Instant::now());
        assert!(crowd.due(start).is_empty());
        assert!(crowd.let_wait(7, start) && crowd.has(7));
        assert!(crowd.due(start).is_empty(), "not at once");
        assert!(crowd.let_wait(8, start + MOMENT / 2));
        assert_eq!(crowd.due(start + MOMENT), [7, 8]);
        assert_eq!(crowd.again_at, None);

        assert!(crowd.let_wait(7, start + MOMENT));
        crowd.release(8);
        assert_eq!(crowd.due(start + 2 * MOMENT), [7]);
        assert!(!crowd.let_wait(7, start + PATIENCE));
        assert!(!crowd.has(7));
        // And the next thing that it is owed begins anew.
        assert!(crowd.let_wait(7, start + PATIENCE));
    }
}
