//! How long a call may wait, fixed once when the call begins.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

/// How long a call may wait.
///
/// A public function takes a `Duration` and makes a `Deadline` of it at entry, so that nothing that
/// happens while it waits can stretch the limit.
///
/// ```
/// use std::time::Duration;
///
/// use occ_sck::Deadline;
///
/// let deadline = Deadline::after(Duration::from_secs(60));
/// assert!(!deadline.passed());
/// assert!(deadline.left() <= Some(Duration::from_secs(60)));
/// assert_eq!(Deadline::after(Duration::ZERO), Deadline::Now);
/// assert_eq!(Deadline::from(None), Deadline::Never);
/// assert!(Deadline::Never.no_later_than(Duration::from_secs(1)).left() <= Some(Duration::from_secs(1)));
/// assert_eq!(Deadline::Now.no_later_than(Duration::from_secs(1)), Deadline::Now);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// Do not wait: what can be done at once, or nothing.
    Now,
    /// Wait until this moment.
    At(Instant),
    /// Wait for as long as it takes.
    Never,
}

impl Deadline {
    /// The deadline `limit` from now. A limit too long for the clock to hold is [`Deadline::Never`].
    pub fn after(limit: Duration) -> Deadline {
        if limit.is_zero() {
            return Deadline::Now;
        }
        Instant::now()
            .checked_add(limit)
            .map_or(Deadline::Never, Deadline::At)
    }

    /// What is left: `None` for ever, zero when it has passed.
    pub fn left(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::At(at) => Some(at.saturating_duration_since(Instant::now())),
            Deadline::Never => None,
        }
    }

    /// This deadline, or `limit` from now if that is sooner.
    #[must_use]
    pub fn no_later_than(self, limit: Duration) -> Deadline {
        match (self, Deadline::after(limit)) {
            (Deadline::Now, _) | (_, Deadline::Now) => Deadline::Now,
            (Deadline::At(at), Deadline::At(sooner)) => Deadline::At(at.min(sooner)),
            (Deadline::Never, other) | (other, Deadline::Never) => other,
        }
    }

    /// True once there is nothing left to wait for.
    pub fn passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// What is left in the form that ppoll(2) and epoll_pwait2(2) take; `None` waits for ever.
    pub fn timespec(self) -> Option<Timespec> {
        self.left().map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        })
    }
}

impl From<Option<Duration>> for Deadline {
    fn from(limit: Option<Duration>) -> Deadline {
        limit.map_or(Deadline::Never, Deadline::after)
    }
}
