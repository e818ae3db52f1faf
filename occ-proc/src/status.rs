//! How a process ended, as the kernel says it.

use crate::signal::Signal;

/// `si_code` of a process that has ended (sigaction(2)).
const CLD_EXITED: i32 = 1;
const CLD_KILLED: i32 = 2;
const CLD_DUMPED: i32 = 3;

/// What the kernel answered when it was asked how a process ended, not interpreted (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OsStatus {
    /// `si_code`: `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub si_code: i32,
    /// `si_status`: the exit code, or the number of the signal.
    pub si_status: i32,
}

impl OsStatus {
    /// The exit code, 0 to 255, of a process that ended by itself.
    pub fn code(self) -> Option<i32> {
        (self.si_code == CLD_EXITED).then_some(self.si_status)
    }

    /// The signal that ended it.
    pub fn signal(self) -> Option<Signal> {
        match self.si_code {
            CLD_KILLED => Some(Signal::new(self.si_status, false)),
            CLD_DUMPED => Some(Signal::new(self.si_status, true)),
            _ => None,
        }
    }

    /// True for anything but exit code 0.
    pub fn is_abnormal(self) -> bool {
        self.code() != Some(0)
    }
}
