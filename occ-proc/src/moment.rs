//! When something happened, on two clocks.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Moment {
    /// By the clock on the wall, which somebody may set.
    pub wall: SystemTime,
    /// Since the machine was started, the time that it slept included: what is taken from this is how long something took.
    pub boot: Duration,
}

impl Moment {
    /// This moment.
    #[doc(alias = "CLOCK_BOOTTIME")]
    pub fn now() -> Moment {
        let boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
        Moment {
            wall: SystemTime::now(),
            boot: Duration::new(seconds, nanos),
        }
    }

    /// When the clocks began: nothing happens then.
    pub const ZERO: Moment = Moment {
        wall: SystemTime::UNIX_EPOCH,
        boot: Duration::ZERO,
    };

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        self.boot.saturating_sub(earlier.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_is_later_on_both_clocks() {
        let (first, second) = (Moment::now(), Moment::now());
        assert!(second.boot >= first.boot && first.boot > Duration::ZERO);
        assert_eq!(first.since(second), Duration::ZERO);
        assert_eq!(second.since(first), second.boot - first.boot);
    }
}
