//! A process that waits for something else than a message.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// A closed gate. It opens when this is dropped, or its owner ends.
#[derive(Debug)]
pub(crate) struct Gate {
    read: OwnedFd,
    _write: OwnedFd,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Gate {
            read,
            _write: write,
        }
    }

    /// Where others find it.
    pub(crate) fn address(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.read.as_raw_fd())
    }
}

/// A place before a gate: taken while the gate is closed.
#[derive(Debug)]
pub(crate) struct Place(File);

impl Place {
    pub(crate) fn before(address: &str) -> Place {
        Place(File::open(address).unwrap())
    }

    /// Waits until the gate opens.
    pub(crate) fn wait(mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
    }
}
