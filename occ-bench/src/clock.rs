//! A clock that all processes read alike.

use crate::sys;

/// Nanoseconds of `CLOCK_MONOTONIC`, which is one for the whole machine: a time that one process took can be
/// compared with another's.
pub(crate) fn now() -> u64 {
    sys::monotonic_nanos()
}

/// Reads it for nothing: the first time a process reads it takes longer, by the page faults.
pub(crate) fn look() {
    let _ = std::hint::black_box(now());
}

/// Microseconds from `start` to now.
pub(crate) fn micros_since(start: u64) -> f64 {
    micros_between(start, now())
}

/// Microseconds from `start` to `end`.
pub(crate) fn micros_between(start: u64, end: u64) -> f64 {
    end.saturating_sub(start) as f64 / 1_000.0
}

/// How many of `count` there were in a second, done since `start`.
pub(crate) fn rate_since(start: u64, count: usize) -> f64 {
    count as f64 * 1_000_000.0 / micros_since(start)
}
