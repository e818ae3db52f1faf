//! Dead: end of file on a pipe whose only write end the victims held.
//!
//! It tells of many processes at once, whoever their parents are, and needs none of their pids. The kernel
//! closes the fds of a process some microseconds before it may be waited for.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::pass::{Pass, inherited};
use crate::poll::readable;
use crate::ready::{address, open};

/// The test's end: sees when the last holder is gone.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

/// The victims' end. Drop the test's own copy once they hold it, or the end of file never comes.
#[derive(Debug)]
pub struct Hold(Pass);

impl Lifeline {
    /// Makes the pipe.
    #[must_use]
    pub fn new() -> (Lifeline, Hold) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("pipe");
        (Lifeline(reader), Hold(Pass::new(writer)))
    }

    /// Whether anybody still holds the other end.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // Nothing is ever written, so readable means end of file.
        !readable(self.0.as_fd(), Instant::now())
    }

    /// Waits until nobody holds the other end.
    ///
    /// # Panics
    ///
    /// If somebody still does after `limit`.
    #[track_caller]
    pub fn wait_dead(&self, limit: Duration) {
        assert!(
            readable(self.0.as_fd(), Instant::now() + limit),
            "somebody still held the lifeline after {limit:?}"
        );
    }
}

impl Hold {
    /// Lets what `command` starts inherit this end. It, and whatever it starts in turn without closing fds,
    /// holds it without further doing, or takes it with [`Hold::inherited`]`(key)`.
    pub fn pass(&self, key: &str, command: &mut Command) {
        self.0.to(key, command);
    }

    /// Takes the end that the parent passed under `key`: from here on children do not inherit it unasked.
    #[must_use]
    #[track_caller]
    pub fn inherited(key: &str) -> Hold {
        Hold(Pass::new(inherited(key)))
    }

    /// A path by which any process of this user can [`open`](Hold::open) this end, while `self` lives: for
    /// processes that inherit no fds.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.0)
    }

    /// Opens the end at `address`.
    #[must_use]
    #[track_caller]
    pub fn open(address: &str) -> Hold {
        Hold(open(address))
    }

    /// Holds on until this process ends.
    pub fn for_life(self) {
        std::mem::forget(self);
    }
}
