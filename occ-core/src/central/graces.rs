//! Processes that have been asked to end, and when their time is up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::state::Serial;

/// Longer than that nobody waits: an hour is as good as for ever, and an instant so far off can be had.
const LONGEST: Duration = Duration::from_secs(1 << 32);

#[derive(Debug, Default)]
pub(super) struct Graces {
    ends: BTreeSet<(Instant, Serial)>,
}

impl Graces {
    pub(super) fn start(&mut self, process: Serial, grace: Duration) {
        self.ends
            .insert((Instant::now() + grace.min(LONGEST), process));
    }

    /// When the first of them is over.
    pub(super) fn first(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Those whose time is up. They may have ended long ago.
    pub(super) fn over(&mut self, now: Instant) -> Vec<Serial> {
        let mut over = Vec::new();
        while let Some((at, process)) = self.ends.first().copied()
            && at <= now
        {
            self.ends.pop_first();
            over.push(process);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_over_once_and_in_turn() {
        let mut graces = Graces::default();
        let start = Instant::now();
        graces.start(1, Duration::from_secs(20));
        graces.start(2, Duration::from_secs(10));
        graces.start(3, Duration::MAX);
        assert!(graces.over(start).is_empty());
        assert!(graces.first().unwrap() >= start + Duration::from_secs(10));
        let later = Instant::now() + Duration::from_secs(20);
        assert_eq!(graces.over(later), [2, 1]);
        assert!(graces.over(later).is_empty());
        assert!(graces.first().unwrap() > later);
    }
}
