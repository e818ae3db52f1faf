//! The kernel's number for a process.

use std::fmt;

/// The kernel's number for a process: used again for another once this one has been reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OsPid(u32);

impl OsPid {
    /// The process that the kernel calls `number`.
    pub fn new(number: u32) -> OsPid {
        OsPid(number)
    }

    /// The calling process.
    pub fn own() -> OsPid {
        OsPid(
            rustix::process::getpid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs(),
        )
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The number as rustix takes it; `None` for 0 and for what is no pid.
    #[doc(hidden)]
    pub fn to_rustix(self) -> Option<rustix::process::Pid> {
        i32::try_from(self.0)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
    }
}

impl fmt::Display for OsPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
