//! Ready: a process says one line when it is.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::pass::{Pass, inherited};
use crate::poll::readable;

/// The reading end: waits for lines.
#[derive(Debug)]
pub struct Ready(OwnedFd);

/// The writing end: says lines. Passed to a child, or opened by its address.
#[derive(Debug)]
pub struct Say(Pass);

impl Ready {
    /// Makes the pipe.
    #[must_use]
    pub fn new() -> (Ready, Say) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("pipe");
        (Ready(reader), Say(Pass::new(writer)))
    }

    /// Waits for the next line, whatever it says.
    ///
    /// # Panics
    ///
    /// If none came within `limit`, or nobody is left who could say one.
    #[track_caller]
    pub fn wait(&self, limit: Duration) {
        self.line(limit);
    }

    /// Waits for the next line and returns it without its end: a process can say its pid or its result.
    ///
    /// # Panics
    ///
    /// If none came within `limit`, or nobody is left who could say one.
    #[track_caller]
    pub fn line(&self, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let mut line = Vec::new();
        loop {
            let so_far = || String::from_utf8_lossy(&line).into_owned();
            assert!(
                readable(self.0.as_fd(), deadline),
                "no line within {limit:?}, only {:?}",
                so_far()
            );
            // A byte at a time: what follows the line belongs to the next call.
            let mut byte = [0];
            match rustix::io::read(&self.0, &mut byte).expect("reading a pipe that is readable") {
                0 => panic!(
                    "everybody who could say a line is gone, having said {:?}",
                    so_far()
                ),
                _ if byte == *b"\n" => return so_far(),
                _ => line.push(byte[0]),
            }
        }
    }

    /// Waits for the next line and parses it as the pid it tells.
    ///
    /// # Panics
    ///
    /// As [`line`](Ready::line), or if the line is no pid.
    #[track_caller]
    pub fn pid(&self, limit: Duration) -> u32 {
        let line = self.line(limit);
        line.parse()
            .unwrap_or_else(|_| panic!("expected a pid, got {line:?}"))
    }
}

impl Say {
    /// Lets what `command` starts take this end with [`Say::inherited`]`(key)`.
    pub fn pass(&self, key: &str, command: &mut Command) {
        self.0.to(key, command);
    }

    /// Takes the end that the parent passed under `key`.
    #[must_use]
    #[track_caller]
    pub fn inherited(key: &str) -> Say {
        Say(Pass::new(inherited(key)))
    }

    /// A path by which any process of this user can [`open`](Say::open) this end, while `self` lives: for
    /// processes that inherit no fds.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.0)
    }

    /// Opens the end at `address`.
    #[must_use]
    #[track_caller]
    pub fn open(address: &str) -> Say {
        Say(open(address))
    }

    /// Says that this process is ready.
    pub fn ready(&self) {
        self.line("");
    }

    /// Says `text`, which is a line. Up to 4,095 bytes arrive in one piece, also from several writers.
    #[track_caller]
    pub fn line(&self, text: impl std::fmt::Display) {
        let line = format!("{text}\n");
        let written = rustix::io::write(&self.0, line.as_bytes()).expect("the reader lives");
        assert_eq!(written, line.len(), "a line is written whole");
    }
}

pub(crate) fn address(end: &Pass) -> String {
    format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        end.as_fd().as_raw_fd()
    )
}

#[track_caller]
pub(crate) fn open(address: &str) -> Pass {
    let file = OpenOptions::new().write(true).open(address);
    Pass::new(
        file.unwrap_or_else(|error| panic!("opening {address}: {error}"))
            .into(),
    )
}
