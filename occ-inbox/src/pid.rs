//! The name of a process.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a process: the same wherever it is sent.
///
/// One that a coordinator has given is never used again for another. That of an inbox that [listens](crate::Inbox::listen) follows
/// from its address, and is that of whoever listens there.
///
/// It is ours, not the kernel's: that one is an `OsPid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid {
    /// The machine; 0 is the one that we are on, and the greatest number is no machine, but an address.
    pub node: u32,
    /// Which system on that machine, of all that it ever ran.
    pub incarnation: u32,
    /// Which process of that system, counted from its start.
    pub serial: u64,
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.node, self.serial)
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_16_bytes_and_shown_short() {
        assert_eq!(size_of::<Pid>(), 16);
        assert_eq!(
            Pid {
                node: 0,
                incarnation: 7,
                serial: 42
            }
            .to_string(),
            "<0.42>"
        );
    }
}
